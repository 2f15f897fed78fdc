package api

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"reprise/recording"
)

// codesOf reads the codes out of recording's source, so that a new one can't be
// forgotten here.
func codesOf(t *testing.T) []recording.Code {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../recording/error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []recording.Code
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Code") {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		codes = append(codes, recording.Code(text))
		return true
	})
	return codes
}

func TestEveryCodeHasAStatus(t *testing.T) {
	t.Parallel()
	want := map[recording.Code]int{
		"invalid_request": 400, "invalid_metadata": 400, "unauthenticated": 401, "forbidden": 403, "account_disabled": 403, "not_found": 404,
		"method_not_allowed": 405, "timeout": 408, "conflict": 409, "offset_mismatch": 409, "upload_taken_over": 409,
		"client_id_conflict": 409, "upload_gone": 410, "unsupported_version": 412, "too_large": 413,
		"invalid_content_type": 415, "unsupported_type": 415, "not_audio": 415, "invalid_range": 416, "checksum_mismatch": 460,
		"rate_limited": 429, "too_many_uploads": 429, "daily_quota_exceeded": 429, "storage_quota_exceeded": 413,
		"internal": 500, "unavailable": 503, "graph_unavailable": 503, "graph_timeout": 503, "storage_full": 507,
	}
	codes := codesOf(t)
	if len(codes) != len(want) || len(kinds) != len(want) {
		t.Errorf("recording has %d codes, the map %d, this test %d", len(codes), len(kinds), len(want))
	}
	for _, code := range codes {
		if got := Status(code); got != want[code] || kinds[code].title == "" {
			t.Errorf("%s: status %d, want %d; title %q", code, got, want[code], kinds[code].title)
		}
	}
	if got := Status("unheard_of"); got != http.StatusInternalServerError {
		t.Errorf("an unknown code has status %d", got)
	}
}

func TestWriteIsExact(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		err    error
		want   string
		header map[string]string
	}{
		{
			name: "not found", err: fmt.Errorf("read: %w", recording.ErrNotFound),
			want: `{"type":"/docs#not_found","title":"Not found","status":404,"detail":"There is nothing here, or it is not yours.","code":"not_found"}`,
		},
		{
			name: "unauthenticated", err: recording.Errorf(recording.CodeUnauthenticated, "No token."),
			want:   `{"type":"/docs#unauthenticated","title":"Not authenticated","status":401,"detail":"No token.","code":"unauthenticated"}`,
			header: map[string]string{"WWW-Authenticate": `Bearer realm="reprise"`},
		},
		{
			name: "unavailable", err: recording.Wrap(recording.CodeUnavailable, errors.New("hunter2"), "Try again."),
			want:   `{"type":"/docs#unavailable","title":"Unavailable","status":503,"detail":"Try again.","code":"unavailable"}`,
			header: map[string]string{"Retry-After": "5"},
		},
		{
			name: "storage full", err: recording.Errorf(recording.CodeStorageFull, "No room."),
			want: `{"type":"/docs#storage_full","title":"Storage full","status":507,"detail":"No room.","code":"storage_full"}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			NewProblems(slog.New(slog.DiscardHandler)).Write(w, httptest.NewRequest("GET", "/", nil), tt.err)
			if got := w.Body.String(); got != tt.want+"\n" || w.Code != Status(recording.CodeOf(tt.err)) {
				t.Errorf("status %d\n got %s\nwant %s", w.Code, got, tt.want)
			}
			for _, name := range []string{"WWW-Authenticate", "Retry-After"} {
				if got := w.Header().Get(name); got != tt.header[name] {
					t.Errorf("%s: %q", name, got)
				}
			}
			for name, want := range map[string]string{"Content-Type": problemType, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: %q", name, got)
				}
			}
		})
	}
}

func TestWriteHidesWhatIsInternal(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		errors.New("hunter2"),
		recording.Wrap(recording.CodeInternal, errors.New("hunter2"), "hunter2"),
		recording.Errorf("unheard_of", "hunter2"),
	} {
		w := httptest.NewRecorder()
		NewProblems(slog.New(slog.DiscardHandler)).Write(w, httptest.NewRequest("GET", "/", nil), err)
		p := wantProblem(t, w, recording.CodeInternal)
		if p.ID == "" || strings.Contains(w.Body.String(), "hunter2") {
			t.Errorf("%v: %s", err, w.Body)
		}
	}
}

func TestWriteKeepsAChallenge(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	challenge := `Bearer realm="reprise", error="invalid_token"`
	w.Header().Set("WWW-Authenticate", challenge)
	NewProblems(slog.New(slog.DiscardHandler)).Write(w, httptest.NewRequest("GET", "/", nil), recording.Errorf(recording.CodeUnauthenticated, "Expired."))
	if got := w.Header()["Www-Authenticate"]; len(got) != 1 || got[0] != challenge {
		t.Errorf("WWW-Authenticate %q", got)
	}
}
