package speech_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"reprise/internal/aiserver"
	"reprise/processing/provider"
	"reprise/processing/speech"
)

// writeWAV writes a file of noise, one channel, 16 kHz, 16 bit.
func writeWAV(t *testing.T, length time.Duration) string {
	t.Helper()
	samples := uint32(length.Seconds() * 16000)
	var b bytes.Buffer
	b.WriteString("RIFF")
	for _, part := range []any{
		36 + 2*samples, []byte("WAVEfmt "), uint32(16), uint16(1), uint16(1), uint32(16000), uint32(32000), uint16(2), uint16(16), []byte("data"), 2 * samples,
	} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	for i := range samples {
		b.Write([]byte{byte(i * 7), byte(i % 3)})
	}
	path := filepath.Join(t.TempDir(), "the title of somebody's recording.wav")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newHTTP(t *testing.T, s *aiserver.Server, o provider.Options) *speech.HTTP {
	t.Helper()
	o.Name, o.BaseURL, o.Key = "transcription", s.URL, "sk-secret"
	s.RequireKey(o.Key)
	c, err := provider.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return speech.NewHTTP(c, "whisper-1")
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	s := aiserver.New(t)
	var heard aiserver.Audio
	s.Transcribe(func(a aiserver.Audio) (aiserver.Transcription, error) {
		heard = a
		return aiserver.Speech(a)
	})
	path := writeWAV(t, 12*time.Second)
	var engine speech.Engine = newHTTP(t, s, provider.Options{})
	got, err := engine.Transcribe(t.Context(), speech.Piece{Path: path, Duration: 12 * time.Second, Language: "en-GB", Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	sent, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if heard.Model != "whisper-1" || heard.Language != "en" || heard.Duration != 12*time.Second || !bytes.Equal(heard.WAV, sent) {
		t.Errorf("the service got model %q, language %q, %s", heard.Model, heard.Language, heard.Duration)
	}
	if got.Language != "en-GB" || got.Provider != "http" || got.Model != "whisper-1" || len(got.Segments) != 3 {
		t.Errorf("got %+v", got)
	}
	first := got.Segments[0]
	if first.Text != "My grandmother Anna was born in Prague in the summer" || len(first.Words) != 10 || first.Words[1].Text != "grandmother" ||
		first.Words[1].StartMs != 500 || first.Words[1].EndMs != 900 {
		t.Errorf("the first segment is %+v", first)
	}
	for _, r := range s.Requests() {
		if r.Key != "k" || r.Authorization != "Bearer sk-secret" {
			t.Errorf("the request was %+v", r)
		}
	}

	s.Transcribe(aiserver.Spanish)
	got, err = engine.Transcribe(t.Context(), speech.Piece{Path: path, Duration: 12 * time.Second, Language: "en", Model: "whisper-2", Key: "another"})
	if err != nil || got.Language != "es" || got.Model != "whisper-2" || !strings.Contains(got.Text(), "Anoche soñé") {
		t.Errorf("in another language: %+v, %v", got, err)
	}
}

// Only the form's fields leave the machine, and the same question is the same bytes.
func TestHTTPForm(t *testing.T) {
	t.Parallel()
	var bodies []string
	var form *multipart.Form
	spy := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		_, parameters, err2 := mime.ParseMediaType(r.Header.Get("Content-Type"))
		f, err3 := multipart.NewReader(bytes.NewReader(body), parameters["boundary"]).ReadForm(1 << 20)
		if err := errors.Join(err, err2, err3); err != nil || r.ContentLength != int64(len(body)) {
			t.Errorf("%v, or Content-Length is %d of %d", err, r.ContentLength, len(body))
		}
		bodies, form = append(bodies, string(body)), f
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"text":""}`)
	})
	engine := newSpied(t, spy)
	path := writeWAV(t, time.Second)
	for _, key := range []string{"a", "a", "b"} {
		if _, err := engine.Transcribe(t.Context(), speech.Piece{Path: path, Duration: time.Second, Key: key}); err != nil {
			t.Fatal(err)
		}
	}
	if bodies[0] != bodies[1] || bodies[0] == bodies[2] {
		t.Error("the same question was sent in other bytes, or another one in the same")
	}
	if strings.Contains(bodies[0], "somebody") {
		t.Error("the file's name left the machine")
	}
	want := []string{"model", "response_format", "temperature", "timestamp_granularities[]"}
	var names []string
	for name := range form.Value {
		names = append(names, name)
	}
	if slices.Sort(names); !slices.Equal(names, want) || !slices.Equal(form.Value["timestamp_granularities[]"], []string{"word", "segment"}) {
		t.Errorf("the form has %v, want %v", form.Value, want)
	}
}

// newSpied returns an engine whose service is the handler.
func newSpied(t *testing.T, h http.Handler) *speech.HTTP {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := provider.New(provider.Options{Name: "transcription", BaseURL: s.URL + "/v1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return speech.NewHTTP(c, "m")
}

// Whatever a service does, the class of the error says what to do next, and one piece
// is billed once.
func TestHTTPFaults(t *testing.T) {
	t.Parallel()
	path := writeWAV(t, 2*time.Second)
	for name, tt := range map[string]struct {
		fault aiserver.Fault
		want  string
	}{
		"429":            {aiserver.TooMany(time.Minute), "outage"},
		"503":            {aiserver.RetryAfter(503, "30"), "outage"},
		"hang":           {aiserver.Hang(), "outage"},
		"stall":          {aiserver.Stall(), "outage"},
		"not found":      {aiserver.Status(404), "outage"},
		"redirect":       {aiserver.Redirect("http://127.0.0.1:1/v1/audio/transcriptions"), "outage"},
		"too large":      {aiserver.Status(413), "refused"},
		"not this model": {aiserver.Refuse(404, "model_not_found", "The model `mine` does not exist"), "refused"},
		"cut":            {aiserver.Cut(), "unusable"},
		"garbage":        {aiserver.Garbage(), "unusable"},
		"page":           {aiserver.Page(), "unusable"},
		"wrong schema":   {aiserver.WrongSchema(), "unusable"},
		"only text":      {aiserver.Reply("application/json", `{"text":"hello"}`), "unusable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := aiserver.New(t)
			s.Script(tt.fault)
			now := time.Now()
			clock := func() time.Time { return now }
			o := provider.Options{Now: clock}
			if name == "hang" || name == "stall" {
				o.TryTimeout = 300 * time.Millisecond
			}
			engine := newHTTP(t, s, o)
			piece := speech.Piece{Path: path, Duration: 2 * time.Second, Model: "mine", Key: "k"}
			_, err := engine.Transcribe(t.Context(), piece)
			got, wait := class(err)
			if got != tt.want || strings.Contains(fmt.Sprint(err), "sk-secret") {
				t.Fatalf("got %s: %v; want %s", got, err, tt.want)
			}
			now = now.Add(wait)
			if _, err := engine.Transcribe(t.Context(), piece); err != nil || s.BilledOf("k") != 1 {
				t.Errorf("asked again: %v, billed %d times", err, s.BilledOf("k"))
			}
		})
	}
	engine := newHTTP(t, aiserver.New(t), provider.Options{})
	if _, err := engine.Transcribe(t.Context(), speech.Piece{Path: "nowhere.wav"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that isn't there: %v", err)
	}
}

// class says what to do after an error, and after how long.
func class(err error) (string, time.Duration) {
	var outage *provider.OutageError
	switch {
	case errors.As(err, &outage):
		return "outage", outage.RetryAfter
	case errors.As(err, new(*provider.RefusedError)):
		return "refused", 0
	case errors.As(err, new(*provider.ReplyError)):
		return "unusable", 0
	}
	return "other", 0
}
