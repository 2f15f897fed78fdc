package hostile

import (
	"context"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// attack is a request that must be refused and change nothing.
type attack struct {
	method, path string
	lines        []string
	body         string
	codes        []string // those that may be answered; "" is an answer of net/http's own
}

// badNumbers are no offsets and no lengths.
func badNumbers() []string {
	return []string{
		"-1", "+5", "-0", "5 5", "0x10", "1e3", "1e30", "5.0", "5,5", "5;a=1", `"5"`, "NaN", "1_0", "five", "",
		"9223372036854775808", "18446744073709551621", strings.Repeat("9", 5000), "\u0665", "\uff15", "5\u00a0", "\xff",
	}
}

func each(name string, values []string) [][]string {
	var lists [][]string
	for _, v := range values {
		lists = append(lists, []string{name + ": " + v})
	}
	return append(lists, []string{name + ": " + values[0], name + ": " + values[0]})
}

// with makes an attack of each list of header lines, on top of what makes the request
// a good one.
func (x *target) with(method, path, body string, good []string, bad [][]string, codes ...string) []attack {
	var list []attack
	for _, lines := range bad {
		name, _, _ := strings.Cut(lines[0], ":")
		kept := slices.DeleteFunc(x.asAlice(good...), func(line string) bool { return has([]string{line}, name) })
		list = append(list, attack{method, path, append(kept, lines...), body, codes})
	}
	return list
}

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// attacks on an upload of 1000 bytes at 64, one of unknown length, and a ready recording.
func (x *target) attacks(half, deferred, recording string) []attack {
	const files = "/files/"
	v1 := "Tus-Resumable: 1.0.0"
	create := []string{v1, "Upload-Length: 1000"}
	chunk := []string{v1, "Content-Type: application/offset+octet-stream", "Upload-Offset: 64"}
	draft := []string{"Upload-Draft-Interop-Version: 6", "Upload-Complete: ?0", "Upload-Length: 1000"}
	var all []attack
	add := func(more []attack) { all = append(all, more...) }

	add(x.with(http.MethodPost, files, "", create, each("Upload-Length", badNumbers()), "invalid_request"))
	add(x.with(http.MethodPost, files, "", create, [][]string{{"Upload-Length: 9223372036854775807"}}, "too_large"))
	add(x.with(http.MethodPost, files, "", draft, each("Upload-Length", badNumbers()), "invalid_request"))
	add(x.with(http.MethodPatch, half, "x", chunk, each("Upload-Offset", badNumbers()), "invalid_request"))
	add(x.with(http.MethodPatch, half, "x", chunk, [][]string{{"Upload-Offset: 63"}, {"Upload-Offset: 65"}, {"Upload-Offset: 9223372036854775807"}}, "offset_mismatch"))
	deferring := append(chunk[:2:2], "Upload-Offset: 0")
	add(x.with(http.MethodPatch, deferred, "x", deferring, each("Upload-Length", badNumbers()), "invalid_request"))
	add(x.with(http.MethodPatch, deferred, "x", deferring, [][]string{{"Upload-Length: 9223372036854775807"}}, "too_large"))
	add(x.with(http.MethodPatch, half, "x", chunk, [][]string{{"Upload-Length: 65"}, {"Upload-Length: 1001"}}, "invalid_request"))
	add(x.with(http.MethodPatch, half, strings.Repeat("x", 937), chunk, [][]string{{v1}}, "too_large"))
	add(x.with(http.MethodHead, half, "", []string{v1}, each("Upload-Offset", []string{"-1", "+5"}), ""))
	add(x.with(http.MethodPost, files, "", []string{v1}, each("Upload-Defer-Length", []string{"0", "2", "-1", "+1", "01", "true", "1,1", "\uff11", ""}), "invalid_request"))
	add(x.with(http.MethodPost, files, "", create, [][]string{{"Upload-Defer-Length: 1"}}, "invalid_request"))

	versions := []string{"0.2.2", "1.0", "1.0.0, 1.0.0", "v1.0.0", "\u0661.0.0", "-1", strings.Repeat("1", 9000), ""}
	add(x.with(http.MethodPost, files, "", create, each("Tus-Resumable", versions), "unsupported_version"))
	add(x.with(http.MethodDelete, half, "", []string{v1}, each("Tus-Resumable", versions), "unsupported_version"))
	add(x.with(http.MethodPost, files, "", create, [][]string{{v1, v1}}, "invalid_request"))

	var metadata [][]string
	for _, value := range []string{
		"title " + encoded("a\rb"), "title " + encoded("a\nb"), "title " + encoded("a\x00b"), "title " + encoded("a\u0085b"), "x " + encoded("\x1b[2J"),
		"filename " + encoded("a\r\nSet-Cookie: x=y"), "title " + encoded("\xff\xfe"), "title " + encoded(strings.Repeat("x", 201)),
		"filename " + encoded(strings.Repeat("\u00e9", 128)), "title !!!", "title YQ", "title YR==", "title YQ== YQ==", ",", "title YQ==,", "title YQ==,title Yg==",
		"tïtle YQ==", "\xff YQ==", "title \uff39\uff31==", "x " + encoded(strings.Repeat("x", 4096)), strings.Repeat("k,", 3000) + "k",
		"storyId " + encoded("../1"), "recordedAt " + encoded("1e30"), "language " + encoded("../../en"), "sha256 " + encoded("-1"), "clientId " + encoded(""),
		"filetype " + encoded("///"),
	} {
		metadata = append(metadata, []string{"Upload-Metadata: " + value})
	}
	metadata = append(metadata, []string{"Upload-Metadata: title YQ==", "Upload-Metadata: title Yg=="})
	add(x.with(http.MethodPost, files, "", create, metadata, "invalid_metadata"))
	add(x.with(http.MethodPost, files, "", draft, metadata, "invalid_metadata"))
	add(x.with(http.MethodPost, files, "", create, [][]string{{"Upload-Metadata: filetype " + encoded("text/html")}}, "unsupported_type"))

	unknown := "/files/01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c"
	add(x.with(http.MethodPost, files, "", []string{v1}, each("Upload-Concat", []string{
		"", "final", "final;", "Final;" + unknown, "final;/files/../../etc/passwd", "final;" + unknown + "%00", "final;javascript:1", "final;http://evil.example/x",
		"final;" + unknown + " " + unknown, "final;" + unknown + "," + half, "final;-1", "partial,partial", "part\u00efal", "final;" + strings.Repeat(unknown+" ", 129),
	}), "invalid_request"))
	add(x.with(http.MethodPost, files, "", []string{v1}, [][]string{{"Upload-Concat: final;" + unknown}, {"Upload-Concat: final;http://evil.example" + unknown}}, "not_found"))
	add(x.with(http.MethodPost, files, "", []string{v1}, [][]string{{"Upload-Concat: final;" + half}}, "invalid_request"))
	add(x.with(http.MethodPost, files, "", create, [][]string{{"Upload-Concat: final;" + half}}, "invalid_request"))

	add(x.with(http.MethodPatch, half, "x", chunk, each("Upload-Checksum", []string{
		"", "sha1", "sha1 ", "sha1 !!!", "sha1 YQ==", "sha1  " + encoded(strings.Repeat("x", 20)), "SHA1 " + encoded(strings.Repeat("x", 20)),
		"sha512 " + encoded(strings.Repeat("x", 64)), "sh\u00e41 YQ==", "crc32c " + strings.Repeat("A", 20000),
	}), "invalid_request"))
	add(x.with(http.MethodPatch, half, "x", chunk, [][]string{{"Upload-Checksum: md5 " + encoded(strings.Repeat("x", 16))}}, "checksum_mismatch"))
	types := []string{"", "application/octet-stream", "application/offset+octet-stream; a=b", "application/offset+octet-stre\u00e4m", "*/*", strings.Repeat("a", 9000)}
	add(x.with(http.MethodPatch, half, "x", chunk, each("Content-Type", types), "invalid_content_type", "invalid_request"))

	// Bodies whose end nobody knows are net/http's to refuse; 501 is what RFC 9112, 6.1, wants for a coding that is not known.
	add(x.with(http.MethodPatch, half, "x", chunk, each("Content-Length", []string{"-1", "+1", "1e3", "0x1", "9223372036854775808", "1, 2", "\uff11", "1 1"})[:8], ""))
	add(x.with(http.MethodPatch, half, "x", chunk, [][]string{{"Content-Length: 1", "Content-Length: 2"}}, ""))
	add(x.with(http.MethodPatch, half, "1\r\nx\r\n0\r\n\r\n", chunk, each("Transfer-Encoding", []string{"gzip", "chunked, chunked", "identity, chunked", "\x0bchunked", "xchunked"}), ""))
	add(x.with(http.MethodPatch, half, "-1\r\nx\r\n0\r\n\r\n", chunk, [][]string{{"Transfer-Encoding: chunked"}}, "invalid_request", "unavailable", ""))

	add(x.with(http.MethodPost, files, "", draft, each("Upload-Complete", []string{"", "?2", "1", "true", "?1?1", "?1;a", "??1", "\uff1f1", "-1", strings.Repeat("?1", 4000)}), "invalid_request"))
	add(x.with(http.MethodPost, files, "", draft, each("Upload-Draft-Interop-Version", []string{"2", "7", "-1", "+6", "06", "6;a", "1e30", "\uff16", strings.Repeat("6", 9000)}), "unsupported_version", "invalid_request"))
	add(x.with(http.MethodPost, files, "", draft, [][]string{{"Upload-Draft-Interop-Version: 6", v1}, {"Upload-Draft-Interop-Version: 3"}}, "invalid_request"))
	add(x.with(http.MethodPatch, half, "x", []string{"Upload-Draft-Interop-Version: 6", "Content-Type: application/partial-upload", "Upload-Offset: 64"},
		[][]string{{"Upload-Complete: ?1"}, {"Upload-Complete: yes"}}, "invalid_request"))
	add(x.with(http.MethodPost, files, "", draft, each("Content-Disposition", []string{`attachment; filename="a`, `attachment; filename=a; filename=b`, ";", "=", "\u00e4;b"}), "invalid_request"))
	add(x.with(http.MethodPost, files, "", draft, [][]string{
		{"Content-Disposition: attachment; filename*=UTF-8''a%0d%0ab"}, {"Content-Disposition: attachment; filename*=UTF-8''a%00b"},
		{`Content-Disposition: attachment; filename="` + strings.Repeat("x", 256) + `"`}, {"Content-Disposition: attachment; filename=\"\xff\""},
	}, "invalid_metadata", "invalid_request"))
	add(x.with(http.MethodPost, files, "", draft, [][]string{{"Content-Type: text/html"}, {"Content-Type: image/svg+xml"}}, "unsupported_type"))

	for _, path := range []string{files, half, "/v1/me", "/v1/recordings", "/v1/events", "/", "/docs", "/nothing"} {
		for _, method := range []string{http.MethodPost, http.MethodGet} {
			add(x.with(method, path, "", create, [][]string{{"X-HTTP-Method-Override: DELETE"}, {"x-http-method-override: "}}, "invalid_request"))
		}
	}

	tokens := []string{
		"", "Bearer", "Bearer a b", "Basic " + encoded("alice:x"), "Bearer " + strings.Repeat("a", 9000), "Bearer " + x.token + "x", "Bearer \u00e4", "Bearer \xff",
		"Bearer\t" + x.token, "Bearer " + x.token + ", Bearer " + x.token, x.token, "Bearer " + x.token[:strings.LastIndex(x.token, ".")+1],
		"Bearer eyJhbGciOiJub25lIn0." + strings.Split(x.token, ".")[1] + ".",
	}
	for _, path := range []string{half, "/v1/me", "/v1/recordings/" + recording + "/audio"} {
		for _, lines := range append(each("Authorization", tokens), []string{"Authorization: Bearer " + x.token, "Authorization: Bearer " + x.token}) {
			method := http.MethodGet
			if path == half {
				method = http.MethodDelete
			}
			all = append(all, attack{method, path, append(lines, v1), "", []string{"unauthenticated"}})
		}
	}

	audio := "/v1/recordings/" + recording + "/audio?format=original"
	add(x.with(http.MethodGet, audio, "", nil, each("Range", []string{
		"bytes=-", "bytes=5-4", "bytes=a-b", "bytes=0x0-", "bytes=+1-2", "bytes=99999999999999999999-", "bytes=-99999999999999999999",
		"bytes=9223372036854775807-", "bytes=--5", "bytes=\u0661-", "0-5", "items=0-5",
	})[:12], "invalid_range"))
	add(x.with(http.MethodGet, audio, "", nil, [][]string{{`If-Match: "x"`}, {"If-Match: " + strings.Repeat(`"x",`, 1000)}}, ""))
	for _, path := range []string{"/v1/recordings/" + recording + "/audio?format=../x", "/v1/recordings?limit=-1", "/v1/recordings?limit=1e30", "/v1/recordings?limit=9223372036854775808", "/v1/recordings?cursor=%00", "/v1/recordings/" + recording + "/events?since=-1"} {
		all = append(all, attack{http.MethodGet, path, x.asAlice(), "", []string{"invalid_request"}})
	}
	for _, path := range []string{"/v1/recordings/%00", "/v1/recordings/..%2f..%2fetc", "/v1/recordings/" + strings.ToUpper(recording) + "x", "/files/%2e%2e%2fx", "/files/\u00e4", "/files/" + strings.Repeat("a", 20000)} {
		all = append(all, attack{http.MethodGet, path, x.asAlice(v1), "", []string{"not_found", "invalid_request", "method_not_allowed"}})
	}
	for _, host := range [][]string{{"Host: a", "Host: b"}, {"Host: a b"}, {"Host: \xff\x01"}} {
		all = append(all, attack{http.MethodPost, files, x.asAlice(append(create, host...)...), "", []string{""}})
	}
	for _, line := range []string{"Upload-Length\x00: 5", "Upload-Metadata: a\x00b", "Upload Length: 5", ": 5"} {
		all = append(all, attack{http.MethodPost, files, x.asAlice(append(create, line)...), "", []string{""}})
	}
	all = append(all, attack{http.MethodPost, files, x.asAlice(append(create, "X-Large: "+strings.Repeat("x", 64<<10))...), "", []string{""}})
	return all
}

// Whatever stands in a header, a request is refused with a code of its own, nothing
// is created or changed, and the server goes on.
func TestHostileProtocol(t *testing.T) {
	t.Parallel()
	x := newTarget(t)
	half := x.create("Upload-Length: 1000")
	if r := x.send(http.MethodPatch, half, x.asAlice("Tus-Resumable: 1.0.0", "Content-Type: application/offset+octet-stream", "Upload-Offset: 0"), wav()[:64]); r.status != http.StatusNoContent {
		t.Fatal(r)
	}
	deferred := x.create("Upload-Defer-Length: 1")
	recording := x.ready()
	attacks := x.attacks(half, deferred, recording)
	before := x.ledger()
	for i, a := range attacks {
		r := x.send(a.method, a.path, a.lines, a.body)
		shown := a.lines[max(0, len(a.lines)-3):]
		refused := 400 <= r.status && r.status < 500 || r.status == http.StatusNotImplemented && has(a.lines, "Transfer-Encoding") && r.code() == ""
		if !refused || a.method != http.MethodHead && !slices.Contains(a.codes, r.code()) {
			t.Errorf("attack %d: %s %.100s %.200q: want it refused with %q, got %v", i, a.method, a.path, shown, a.codes, r)
		}
		if now := x.ledger(); now != before {
			t.Fatalf("attack %d: %s %.100s %.200q has changed the ledger: %v", i, a.method, a.path, shown, r)
		}
	}
	t.Logf("%d attacks", len(attacks))
	// Nothing of it has hurt: the upload goes on where it was.
	if r := x.send(http.MethodHead, half, x.asAlice("Tus-Resumable: 1.0.0"), ""); r.header.Get("Upload-Offset") != "64" {
		t.Errorf("the upload is at %v", r)
	}
}

// hostileName is a file name that wants to be a path, a header, and another kind of file.
const hostileName = "../..\\" + `";x=` + "\u202egpj.\u2066exe\u00e4'%.wav"

// ready uploads a recording with a hostile name and waits until it is ready.
func (x *target) ready() (recording string) {
	x.t.Helper()
	file := wav()
	r := x.send(http.MethodPost, "/files/", x.asAlice("Tus-Resumable: 1.0.0", "Upload-Length: "+strconv.Itoa(len(file)),
		"Upload-Metadata: filename "+encoded(hostileName)+",title "+encoded("\u200f\u05e9\u05dc\u05d5\u05dd <script>")+",filetype "+encoded("audio/x-evil"),
		"Content-Type: application/offset+octet-stream", "Host: evil.example", "X-Forwarded-Host: evil.example", "Forwarded: host=evil.example", "Origin: null"), file)
	recording = r.header.Get("Reprise-Recording")
	if r.status != http.StatusCreated || !strings.HasPrefix(r.header.Get("Location"), x.url+"/files/") || r.header.Get("Access-Control-Allow-Origin") != "" {
		x.t.Fatalf("create: %v", r)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		var state string
		if err := x.db.QueryRow(context.Background(), "SELECT state FROM recordings WHERE id = $1", recording).Scan(&state); err != nil {
			x.t.Fatal(err)
		}
		if state == "ready" {
			return recording
		}
		if time.Now().After(deadline) {
			x.t.Fatalf("the recording is %s", state)
		}
	}
}

// What is served keeps its type, can't be opened as a page, and has a name that is
// only a name.
func TestHostileNameIsServedSafely(t *testing.T) {
	t.Parallel()
	x := newTarget(t)
	recording := x.ready()
	for query, want := range map[string][2]string{
		"/audio?format=original": {"audio/wav", `attachment; filename="_..__;x=gpj.exe_'_.wav"; filename*=UTF-8''_.._%22%3Bx%3Dgpj.exe%C3%A4%27%25.wav`},
		"/audio?format=aac":      {"audio/mp4", ""}, "/audio?format=opus": {"audio/ogg", ""}, "/peaks": {"application/json", ""}, "/peaks?format=dat": {"application/octet-stream", ""},
	} {
		r := x.send(http.MethodGet, "/v1/recordings/"+recording+query, x.asAlice(), "")
		h := r.header
		if r.status != http.StatusOK || h.Get("Content-Type") != want[0] || h.Get("X-Content-Type-Options") != "nosniff" ||
			h.Get("Content-Security-Policy") != "default-src 'none'; frame-ancestors 'none'; sandbox" {
			t.Errorf("%s: %d %v", query, r.status, h)
		}
		if got := h.Get("Content-Disposition"); want[1] != "" && got != want[1] {
			t.Errorf("%s is called\n%s, want\n%s", query, got, want[1])
		}
		for name, values := range h {
			if text := strings.Join(values, " "); strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' }) {
				t.Errorf("%s: %s is %q", query, name, text)
			}
		}
	}
	for _, path := range []string{"/", "/assets/app.js", "/nothing", "/docs", "/openapi.json", "/v1/me", "/v1/nothing", "/v1/events", "/files/", "/files/x", "/v1/recordings/" + recording} {
		h := x.send(http.MethodGet, path, x.asAlice("Tus-Resumable: 1.0.0"), "").header
		if h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") ||
			!strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("GET %s: %v", path, h)
		}
	}
}
