package auth

import (
	"net/http"
	"strings"
	"testing"

	"reprise/recording"
)

func FuzzBearerToken(f *testing.F) {
	for _, seed := range []string{
		"", " ", "Bearer", "Bearer ", "Bearer x", "bearer  a.b.c ", "Bearer a b", "Bearer a,b", "Bearer\ta", "Basic eDp5", "Bearer é", "BearerX",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		token, present, err := bearerToken(http.Header{"Authorization": {value}})
		if !present {
			t.Fatalf("%q: taken for no header", value)
		}
		if err != nil {
			if token != "" || recording.CodeOf(err) != recording.CodeUnauthenticated {
				t.Fatalf("%q: token %q with error %v", value, token, err)
			}
			return
		}
		if token == "" || len(token) > maxTokenBytes || !strings.HasSuffix(strings.TrimRight(value, " "), " "+token) {
			t.Fatalf("%q: token is %q", value, token)
		}
		if scheme, _, _ := strings.Cut(value, " "); !strings.EqualFold(scheme, "bearer") {
			t.Fatalf("%q: its scheme was accepted", value)
		}
		if strings.ContainsAny(token, " ,;\t\r\n\x00") {
			t.Fatalf("%q: token is %q", value, token)
		}
	})
}
