package aiserver_test

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"reprise/internal/aiserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// post sends a body without any of the client's code.
func post(t *testing.T, s *aiserver.Server, path, contentType, body string, header map[string]string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	for name, value := range header {
		req.Header.Set(name, value)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func TestChat(t *testing.T) {
	t.Parallel()
	s := aiserver.New(t)
	question := `{"model":"m","messages":[{"role":"system","content":"Describe."},
		{"role":"user","content":"{\"segments\":[{\"i\":0,\"text\":\"Yes.\"},{\"i\":1,\"text\":\"I was born in Prague.\"}]}"}],
		"response_format":{"type":"json_schema","json_schema":{"name":"a","strict":true,"schema":{"type":"object","required":["quotes"],
		"properties":{"quotes":{"type":"array","items":{"type":"string"}},"label":{"type":"string","enum":["mixed"]},"weight":{"type":"number"},"n":{"type":["integer","null"]}}}}}}`
	status, body := post(t, s, "/chat/completions", "application/json", question, map[string]string{"Idempotency-Key": "k"})
	var answer struct {
		Choices []struct{ Message struct{ Content string } }
		Usage   struct {
			Total int `json:"total_tokens"`
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != 200 || len(answer.Choices) != 1 || answer.Usage.Total == 0 {
		t.Fatalf("%d, %v: %s", status, err, body)
	}
	if diff := cmp.Diff(`{"label":"mixed","n":0,"quotes":["I was born in Prague."],"weight":0.5}`, answer.Choices[0].Message.Content); diff != "" {
		t.Error(diff)
	}
	// A key is billed once, and gets the same answer.
	s.Chat(func(aiserver.Chat) (string, error) { return "another", nil })
	if _, again := post(t, s, "/chat/completions", "application/json", question, map[string]string{"Idempotency-Key": "k"}); again != body || s.BilledOf("k") != 1 {
		t.Errorf("the key's second answer is %s, billed %d times", again, s.BilledOf("k"))
	}
	for range 2 {
		post(t, s, "/chat/completions", "application/json", question, nil)
	}
	if s.Billed() != 3 {
		t.Errorf("billed %d times, want once for the key and twice without one", s.Billed())
	}
}

// What a real service does not take, the stand-in does not take, nor bill.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := aiserver.New(t)
	s.RequireKey("right")
	right := map[string]string{"Authorization": "Bearer right"}
	for name, tt := range map[string]struct {
		path, contentType, body string
		header                  map[string]string
		want                    int
	}{
		"no key":               {"/chat/completions", "application/json", `{"model":"m","messages":[{"role":"user"}]}`, nil, 401},
		"a wrong key":          {"/chat/completions", "application/json", `{}`, map[string]string{"Authorization": "Bearer wrong"}, 401},
		"no model":             {"/chat/completions", "application/json", `{"messages":[{"role":"user"}]}`, right, 400},
		"no messages":          {"/chat/completions", "application/json", `{"model":"m"}`, right, 400},
		"no JSON":              {"/chat/completions", "application/json", `{`, right, 400},
		"a form to the chat":   {"/chat/completions", "text/plain", `{"model":"m","messages":[{"role":"user"}]}`, right, 400},
		"a schema without one": {"/chat/completions", "application/json", `{"model":"m","messages":[{"role":"user"}],"response_format":{"type":"json_schema"}}`, right, 400},
		"JSON to the audio":    {"/audio/transcriptions", "application/json", `{}`, right, 400},
		"another path":         {"/audio/speech", "application/json", `{}`, right, 404},
	} {
		if status, body := post(t, s, tt.path, tt.contentType, tt.body, tt.header); status != tt.want || !json.Valid([]byte(body)) {
			t.Errorf("%s: got %d %s, want %d", name, status, body, tt.want)
		}
	}
	if s.Billed() != 0 {
		t.Errorf("billed %d times", s.Billed())
	}
}

func TestForms(t *testing.T) {
	t.Parallel()
	s := aiserver.New(t)
	second := "RIFF\x24\x7d\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data\x00\x7d\x00\x00" + strings.Repeat("\x00", 32000)
	for name, tt := range map[string]struct {
		field, value, wav string
		want              int
	}{
		"all right": {"language", "en", second, 200}, "no model": {"model", "", second, 400}, "another format": {"response_format", "json", second, 400},
		"a temperature": {"temperature", "1", second, 400}, "a tag for a language": {"language", "en-GB", second, 400},
		"no sound": {"language", "en", "ID3", 400}, "a cut file": {"language", "en", second[:1000], 400},
	} {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		fields := map[string]string{"model": "m", "response_format": "verbose_json", "temperature": "0", "timestamp_granularities[]": "word"}
		fields[tt.field] = tt.value
		for field, value := range fields {
			_ = w.WriteField(field, value)
		}
		file, err := w.CreateFormFile("file", "a.wav")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(file, tt.wav)
		_ = w.Close()
		status, body := post(t, s, "/audio/transcriptions", w.FormDataContentType(), b.String(), nil)
		if status != tt.want || status == 200 && !strings.Contains(body, `"words":[{"end":0.4,"start":0,"word":"My"}`) {
			t.Errorf("%s: got %d %s, want %d", name, status, body, tt.want)
		}
	}
	if s.Billed() != 1 {
		t.Errorf("billed %d times, want once", s.Billed())
	}
}
