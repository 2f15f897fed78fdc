package provider_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"reprise/internal/aiserver"
	"reprise/processing/provider"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret = "sk-secret-0123456789abcdef"
	spoken = "what only the two of us know"
)

// clock is one that tests turn.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// logBuffer is a log that may be written to at the same time.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newClient returns a client of the server, without waits between its tries.
func newClient(t *testing.T, s *aiserver.Server, change func(*provider.Options)) *provider.Client {
	t.Helper()
	o := provider.Options{Name: "analysis", BaseURL: s.URL, Key: secret, TryTimeout: 30 * time.Second}
	if change != nil {
		change(&o)
	}
	c, err := provider.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.WithoutWaits()
	return c
}

type chatAnswer struct {
	Choices []struct {
		Message struct{ Content string }
	}
}

// ask asks a question in words, with an Idempotency-Key.
func ask(ctx context.Context, c *provider.Client, key string) (string, error) {
	var a chatAnswer
	err := c.PostJSON(ctx, provider.Request{Path: "chat/completions", Key: key},
		map[string]any{"model": "m", "messages": []map[string]string{{"role": "user", "content": spoken}}}, &a)
	if err != nil {
		return "", err
	}
	return a.Choices[0].Message.Content, nil
}

// Every fault ends in the class of error that says what to do next, after no more
// tries than make sense, and nothing of the key or of what was said is in the error or
// in the log.
func TestFaults(t *testing.T) {
	t.Parallel()
	const outage, refused, unusable, none = "outage", "refused", "unusable", ""
	elsewhere := aiserver.New(t)
	tests := map[string]struct {
		fault aiserver.Fault // of every request
		want  string
		tries int
	}{
		"none":                      {nil, none, 1},
		"408":                       {aiserver.Status(408), outage, 3},
		"429":                       {aiserver.Status(429), outage, 3},
		"429 for long":              {aiserver.TooMany(time.Minute), outage, 1},
		"500":                       {aiserver.Status(500), outage, 3},
		"501":                       {aiserver.Status(501), outage, 1},
		"502":                       {aiserver.Status(502), outage, 3},
		"503":                       {aiserver.Status(503), outage, 3},
		"503 for long":              {aiserver.RetryAfter(503, "120"), outage, 1},
		"504":                       {aiserver.Status(504), outage, 3},
		"a wrong key":               {aiserver.Refuse(401, "invalid_api_key", "Incorrect API key provided: "+secret), outage, 1},
		"no credit":                 {aiserver.Status(402), outage, 1},
		"a forbidden model":         {aiserver.Refuse(403, "model_not_found", "Project does not have access to model m"), outage, 1},
		"a wrong path":              {aiserver.Status(404), outage, 1},
		"409":                       {aiserver.Status(409), outage, 1},
		"418":                       {aiserver.Status(418), outage, 1},
		"400":                       {aiserver.Refuse(400, secret, "I can't answer: "+spoken), refused, 1},
		"413":                       {aiserver.Status(413), refused, 1},
		"415":                       {aiserver.Status(415), refused, 1},
		"422":                       {aiserver.Status(422), refused, 1},
		"a cut answer":              {aiserver.Cut(), unusable, 1},
		"garbage":                   {aiserver.Garbage(), unusable, 1},
		"a page":                    {aiserver.Page(), unusable, 1},
		"a page called JSON":        {aiserver.Reply("application/json", "<html>"+spoken), unusable, 1},
		"nothing":                   {aiserver.Reply("application/json", ""), unusable, 1},
		"no type":                   {aiserver.Reply("", "{}"), unusable, 1},
		"another schema":            {aiserver.WrongSchema(), unusable, 1},
		"a broken connection":       {aiserver.Reset(), outage, 3},
		"no HTTP":                   {aiserver.Raw("SSH-2.0-" + spoken + "\r\n"), outage, 3},
		"an endless header":         {aiserver.Raw("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20)), outage, 3},
		"a redirect elsewhere":      {aiserver.Redirect(elsewhere.URL + "/chat/completions"), outage, 1},
		"a redirect with a key":     {aiserver.Redirect("http://user:" + secret + "@127.0.0.1:1/"), outage, 1},
		"a redirect without a host": {aiserver.Redirect("/v1/elsewhere"), outage, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := aiserver.New(t)
			s.RequireKey(secret)
			s.Always(tt.fault)
			log := &logBuffer{}
			c := newClient(t, s, func(o *provider.Options) { o.Log = slog.New(slog.NewJSONHandler(log, nil)) })
			_, err := ask(t.Context(), c, "k")
			if got := class(err); got != tt.want {
				t.Errorf("got %q (%v), want %q", got, err, tt.want)
			}
			if got := len(s.Requests()); got != tt.tries {
				t.Errorf("%d tries, want %d", got, tt.tries)
			}
			if got := s.BilledOf("k"); got > 1 || s.Billed() > got {
				t.Errorf("billed %d times, %d of them with the key", s.Billed(), got)
			}
			if (err != nil) != strings.Contains(log.String(), `"component":"provider","provider":"analysis"`) && tt.want != unusable {
				t.Errorf("the log has %q", log)
			}
			for _, text := range []string{log.String(), errText(err)} {
				for _, private := range []string{secret, spoken, "Bearer"} {
					if strings.Contains(text, private) {
						t.Errorf("%q has %q", text, private)
					}
				}
			}
		})
	}
	t.Cleanup(func() {
		if n := len(elsewhere.Requests()); n > 0 {
			t.Errorf("%d requests to another host", n)
		}
	})
}

func class(err error) string {
	var outage *provider.OutageError
	var refused *provider.RefusedError
	var reply *provider.ReplyError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &outage) && outage.RetryAfter > 0:
		return "outage"
	case errors.As(err, &refused):
		return "refused"
	case errors.As(err, &reply):
		return "unusable"
	}
	return "other"
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A try that brings nothing in time is not tried again at once, and the same is true
// of an answer that stops in its middle.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]aiserver.Fault{"hang": aiserver.Hang(), "stall": aiserver.Stall()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := aiserver.New(t)
			s.Always(fault)
			c := newClient(t, s, func(o *provider.Options) { o.TryTimeout = 200 * time.Millisecond })
			if _, err := ask(t.Context(), c, "k"); class(err) != "outage" {
				t.Errorf("a try got %v, want an outage", err)
			}
			if n := len(s.Requests()); n != 1 {
				t.Errorf("%d tries, want 1", n)
			}
			c = newClient(t, s, func(o *provider.Options) { o.Timeout = 200 * time.Millisecond })
			if _, err := ask(t.Context(), c, "k"); class(err) != "outage" {
				t.Errorf("all tries together got %v, want an outage", err)
			}
		})
	}
}

// Who cancels a question gets to know that, and nothing is held against the service.
func TestCancelled(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]aiserver.Fault{"hang": aiserver.Hang(), "stall": aiserver.Stall()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := aiserver.New(t)
			ctx, cancel := context.WithCancel(t.Context())
			s.Always(func(w http.ResponseWriter, r *http.Request, work *aiserver.Work) {
				cancel()
				fault(w, r, work)
			})
			c := newClient(t, s, nil)
			if _, err := ask(ctx, c, "k"); !errors.Is(err, context.Canceled) || class(err) != "other" {
				t.Errorf("got %v, want context.Canceled by itself", err)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	s := aiserver.New(t)
	c := newClient(t, s, func(o *provider.Options) { o.BaseURL = "http://127.0.0.1:1/v1" })
	if _, err := ask(t.Context(), c, "k"); class(err) != "outage" || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v, want an outage because the connection was refused", err)
	}
}

// A service that has done the work and whose answers get lost bills it once, if it
// knows the key; the retries get the same answer.
func TestBilledOnce(t *testing.T) {
	t.Parallel()
	faults := []aiserver.Fault{aiserver.Reset(), aiserver.Reset(), aiserver.Reset(), aiserver.Cut(), aiserver.Status(503), aiserver.Reset(), nil}
	s := aiserver.New(t)
	s.Script(faults...)
	c := newClient(t, s, nil)
	answer := ""
	for answer == "" {
		var err error
		if answer, err = ask(t.Context(), c, "k"); err != nil && class(err) == "other" {
			t.Fatal(err)
		}
	}
	if got := s.BilledOf("k"); got != 1 || len(s.Requests()) != len(faults) {
		t.Errorf("billed %d times after %d requests, want once after %d", got, len(s.Requests()), len(faults))
	}
	again, err := ask(t.Context(), c, "k")
	if err != nil || again != answer || s.Billed() != 1 {
		t.Errorf("the same question got %q, %v and was billed %d times, want %q once", again, err, s.Billed(), answer)
	}
	if _, err := ask(t.Context(), c, ""); err != nil || s.Billed() != 2 {
		t.Errorf("a question without a key: %v, billed %d times in all, want 2", err, s.Billed())
	}
}

// A user's wish for a model that isn't there is refused; the operator's is an outage.
func TestModelOfAUser(t *testing.T) {
	t.Parallel()
	for name, complaint := range map[string]string{
		"OpenAI":   `{"error":{"message":"The model ` + "`org/big`" + ` does not exist or you do not have access to it.","code":"model_not_found"}}`,
		"Ollama":   `{"error":{"message":"model \"org/big\" not found, try pulling it first","type":"not_found_error"}}`,
		"speaches": `{"detail":"Model 'org/big' is not installed locally."}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := aiserver.New(t)
			s.Always(func(w http.ResponseWriter, _ *http.Request, _ *aiserver.Work) {
				w.WriteHeader(http.StatusNotFound)
				_, _ = io.WriteString(w, complaint)
			})
			c := newClient(t, s, nil)
			for model, want := range map[string]string{"org/big": "refused", "": "outage", "org/other": "outage"} {
				err := newClient(t, s, nil).PostJSON(t.Context(), provider.Request{Path: "chat/completions", Model: model},
					map[string]any{"model": "m", "messages": []map[string]string{{"role": "user"}}}, &struct{}{})
				if got := class(err); got != want {
					t.Errorf("model %q: got %q (%v), want %q", model, got, err, want)
				}
			}
			if c.BreakerState() != "closed" {
				t.Error("another client's breaker is open")
			}
		})
	}
}

// A gigabyte is cut off, without being held and without being waited for.
func TestGigabyte(t *testing.T) { // alone: it looks at the memory of the process
	s := aiserver.New(t)
	sent := make(chan int64, 1)
	s.Always(func(w http.ResponseWriter, r *http.Request, work *aiserver.Work) {
		counting := &countingWriter{ResponseWriter: w}
		defer func() { sent <- counting.n }()
		aiserver.Gigabyte()(counting, r, work)
	})
	c := newClient(t, s, nil)
	held := heapDuring(func() {
		if _, err := ask(t.Context(), c, "k"); class(err) != "unusable" {
			t.Errorf("got %v, want an unusable answer", err)
		}
	})
	if n := <-sent; n > 64<<20 {
		t.Errorf("%d MiB were sent", n>>20)
	}
	if held > 128<<20 {
		t.Errorf("%d MiB were allocated", held>>20)
	}
}

type countingWriter struct {
	http.ResponseWriter
	n int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.n += int64(n)
	return n, err
}

// The question is opened again for every try, and closed.
func TestBodyIsSentAgain(t *testing.T) {
	t.Parallel()
	s := aiserver.New(t)
	s.Script(aiserver.Status(500), aiserver.Reset(), nil)
	c := newClient(t, s, nil)
	path := filepath.Join(t.TempDir(), "question")
	question := `{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("a", 1<<20) + `"}]}`
	if err := os.WriteFile(path, []byte(question), 0o600); err != nil {
		t.Fatal(err)
	}
	var opened []*os.File
	_, err := c.Post(t.Context(), provider.Request{
		Path: "chat/completions", ContentType: "application/json", Length: int64(len(question)), Key: "k",
		Body: func() (io.ReadCloser, error) {
			f, err := os.Open(path)
			opened = append(opened, f)
			return f, err
		},
	})
	if err != nil || s.Billed() != 1 {
		t.Errorf("got %v, billed %d times", err, s.Billed())
	}
	if len(opened) < 3 {
		t.Errorf("opened %d times, want one for each try", len(opened))
	}
	for _, f := range opened {
		if f.Close() == nil {
			t.Error("a file was left open")
		}
	}
	_, err = c.Post(t.Context(), provider.Request{Path: "x", Body: func() (io.ReadCloser, error) { return nil, os.ErrNotExist }})
	if !errors.Is(err, os.ErrNotExist) || class(err) != "other" {
		t.Errorf("a question that can't be read got %v", err)
	}
}
