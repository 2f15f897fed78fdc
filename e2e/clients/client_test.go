package clients

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// tusCase says what upload.mjs does; the names are those of tus-js-client.
type tusCase struct {
	Endpoint string            `json:"endpoint"`
	Token    string            `json:"token"`
	File     string            `json:"file"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Source   string            `json:"source,omitempty"` // "file", "buffer" or "stream"

	ChunkSize                int    `json:"chunkSize,omitempty"`
	Retries                  int    `json:"retries,omitempty"` // without progress in between
	UploadURL                string `json:"uploadUrl,omitempty"`
	UploadDataDuringCreation bool   `json:"uploadDataDuringCreation,omitempty"`
	UploadLengthDeferred     bool   `json:"uploadLengthDeferred,omitempty"`
	ParallelUploads          int    `json:"parallelUploads,omitempty"`
	Storage                  string `json:"storage,omitempty"`      // a file that keeps the URLs of unfinished uploads
	AbortAfterMs             int    `json:"abortAfterMs,omitempty"` // of sending
}

// said is a line of upload.mjs.
type said struct {
	Answer *struct {
		Method    string
		URL       string // of the upload
		Status    int
		Offset    *int64 `json:",omitempty"`
		Recording string `json:",omitempty"`
	} `json:",omitempty"`
	Progress *int64                `json:",omitempty"`
	Success  *struct{ URL string } `json:",omitempty"`
	Failure  *struct {
		Message string
		Status  int
		Body    string
	} `json:",omitempty"`
	Aborted *struct{ URL string } `json:",omitempty"`
}

// tusClient is a process of upload.mjs.
type tusClient struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  *bufio.Scanner
	stderr bytes.Buffer
	said   []said // so far
}

// startClient starts a tus-js-client of the user.
func (u user) startClient(c tusCase) *tusClient {
	u.t.Helper()
	c.Endpoint, c.Token = u.s.line+"/files/", u.token
	text, err := json.Marshal(c)
	if err != nil {
		u.t.Fatal(err)
	}
	p := &tusClient{t: u.t, cmd: exec.Command("node", "upload.mjs")}
	p.cmd.Env = append(os.Environ(), "CASE="+string(text))
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		u.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	p.lines = bufio.NewScanner(out)
	guard := time.AfterFunc(2*patience, p.kill)
	u.t.Cleanup(func() { guard.Stop(); p.kill() })
	return p
}

func (p *tusClient) kill() { _ = p.cmd.Process.Kill() } // an error means that it has ended

// next returns the next line; false is the end of the process.
func (p *tusClient) next() (said, bool) {
	p.t.Helper()
	if !p.lines.Scan() {
		err := p.cmd.Wait()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			p.t.Fatal(err)
		}
		if p.stderr.Len() > 0 {
			p.t.Errorf("the client said: %s", &p.stderr)
		}
		return said{}, false
	}
	var s said
	if err := json.Unmarshal(p.lines.Bytes(), &s); err != nil {
		p.t.Fatalf("the client said %q: %v", p.lines.Text(), err)
	}
	p.said = append(p.said, s)
	return s, true
}

// until reads until the client has had so many bytes accepted.
func (p *tusClient) until(bytes int64) {
	p.t.Helper()
	for {
		s, ok := p.next()
		if !ok {
			p.t.Fatalf("the client ended before %d bytes: %s", bytes, p)
		}
		if s.Progress != nil && *s.Progress >= bytes {
			return
		}
	}
}

// end reads to the end of the process and returns how the upload ended. It checks
// that no acknowledged offset went down.
func (p *tusClient) end() said {
	p.t.Helper()
	for {
		if _, ok := p.next(); !ok {
			break
		}
	}
	last := map[string]int64{} // by the upload's URL
	for _, s := range p.said {
		if s.Answer == nil || s.Answer.Offset == nil || s.Answer.Status >= 300 {
			continue
		}
		if *s.Answer.Offset < last[s.Answer.URL] {
			p.t.Errorf("an acknowledged offset went down from %d to %d: %s", last[s.Answer.URL], *s.Answer.Offset, p)
		}
		last[s.Answer.URL] = *s.Answer.Offset
	}
	i := slices.IndexFunc(p.said, func(s said) bool { return s.Success != nil || s.Failure != nil || s.Aborted != nil })
	if i < 0 {
		p.t.Fatalf("the client does not say how it ended: %s", p)
	}
	return p.said[i]
}

// mustSucceed waits for the end and returns the upload's URL.
func (p *tusClient) mustSucceed() (url string) {
	p.t.Helper()
	last := p.end()
	if last.Success == nil {
		p.t.Fatalf("the client did not succeed: %s", p)
	}
	return last.Success.URL
}

// recording returns the id that the creation's answer carried.
func (p *tusClient) recording() string {
	p.t.Helper()
	for _, s := range p.said {
		if s.Answer != nil && s.Answer.Recording != "" {
			return s.Answer.Recording
		}
	}
	p.t.Fatalf("no answer carried Reprise-Recording: %s", p)
	return ""
}

// count returns how many answers of a method with this status there were; 0
// stands for any status.
func (p *tusClient) count(method string, status int) int {
	n := 0
	for _, s := range p.said {
		if s.Answer != nil && s.Answer.Method == method && (status == 0 || s.Answer.Status == status) {
			n++
		}
	}
	return n
}

// String is what the client has said, for messages.
func (p *tusClient) String() string {
	var b strings.Builder
	for _, s := range p.said[max(0, len(p.said)-20):] {
		line, _ := json.Marshal(s) // it came as JSON
		b.WriteString("\n\t")
		b.Write(line)
	}
	return b.String()
}

// makeAudio runs ffmpeg, whose last argument becomes the file of this name in a
// new folder, and returns the file's path.
func makeAudio(t *testing.T, name string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	args = append(append([]string{"-nostdin", "-v", "error", "-y"}, args...), path)
	if out, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return path
}

// speech is the file of real speech that every audio in here is made from.
const speech = "../../testdata/speech.flac"

// makeBigWAV makes 8 seconds of speech large: 1.4 MB.
func makeBigWAV(t *testing.T) string {
	t.Helper()
	return makeAudio(t, "speech.wav", "-t", "8", "-i", speech, "-ar", "44100", "-ac", "2")
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func sha256Hex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
