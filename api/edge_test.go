package api

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"reprise/recording"
)

func TestMethodOverrideIsRefused(t *testing.T) {
	t.Parallel()
	problems := NewProblems(slog.New(slog.DiscardHandler))
	reached := 0
	h := SecureHeaders(RefuseMethodOverride(problems, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ })))
	for _, tt := range []struct {
		method, name string
		values       []string
		refused      bool
	}{
		{http.MethodPost, "X-HTTP-Method-Override", []string{"DELETE"}, true},
		{http.MethodGet, "x-http-method-override", []string{"GET"}, true},
		{http.MethodPatch, "X-Http-Method-Override", []string{""}, true},
		{http.MethodHead, "X-HTTP-Method-Override", []string{"PUT", "PATCH"}, true},
		{http.MethodPost, "X-Other", []string{"DELETE"}, false},
	} {
		r := httptest.NewRequest(tt.method, "/v1/me", strings.NewReader("{}"))
		for _, v := range tt.values {
			r.Header.Add(tt.name, v)
		}
		w, before := httptest.NewRecorder(), reached
		h.ServeHTTP(w, r)
		if tt.refused {
			if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), string(recording.CodeInvalidRequest)) || reached != before {
				t.Errorf("%s with %s %q: %d %s", tt.method, tt.name, tt.values, w.Code, w.Body)
			}
		} else if reached != before+1 {
			t.Errorf("%s with %s %q did not get through", tt.method, tt.name, tt.values)
		}
	}
}

// What a handler says itself goes before what every answer says.
func TestSecureHeaders(t *testing.T) {
	t.Parallel()
	h := SecureHeaders(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/page" {
			w.Header().Set("Content-Security-Policy", docsPolicy)
		}
		_, _ = io.WriteString(w, "<script>")
	}))
	for path, policy := range map[string]string{"/page": docsPolicy, "/other": edgePolicy} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		for name, want := range map[string]string{
			"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff",
			"Cross-Origin-Resource-Policy": "same-origin", "Referrer-Policy": "no-referrer",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
}
