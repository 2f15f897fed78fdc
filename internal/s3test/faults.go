package s3test

import (
	"encoding/xml"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
)

// Request is one request, as a Rule sees it.
type Request struct {
	Op   string // S3's name of the operation, for example "UploadPart"; "Other" for what stores don't use
	Key  string // of the object; "" if the request is about the bucket
	Part int    // the part's number, of UploadPart
	N    int    // how many requests of this Op came, with this one; tries are counted singly
}

// Rule says what goes wrong with a request. The proxy asks it about one request at a
// time.
type Rule func(Request) Fault

// Fault is a way for a request to fail. The zero Fault is none.
type Fault struct {
	how    string // for people
	status int    // with code
	code   string
	reset  bool
	hang   bool
	damage bool
	after  bool
}

// InternalError is a 500.
func InternalError() Fault {
	return Fault{how: "InternalError", status: http.StatusInternalServerError, code: "InternalError"}
}

// BadGateway is the 502 of a proxy that got no answer from the server.
func BadGateway() Fault {
	return Fault{how: "BadGateway", status: http.StatusBadGateway, code: "BadGateway"}
}

// SlowDown is a 503, as S3 gives it to who asks too often.
func SlowDown() Fault {
	return Fault{how: "SlowDown", status: http.StatusServiceUnavailable, code: "SlowDown"}
}

// NoSuchUpload is the 404 for a multipart upload that is not there.
func NoSuchUpload() Fault {
	return Fault{how: "NoSuchUpload", status: http.StatusNotFound, code: "NoSuchUpload"}
}

// ErrorBody is a 200 whose body is an error, as CompleteMultipartUpload may answer:
// S3 sends the head before it knows how the work ends.
func ErrorBody() Fault {
	return Fault{how: "ErrorBody", status: http.StatusOK, code: "InternalError"}
}

// Reset breaks the connection. After a GetObject took effect, that is in the middle
// of the object.
func Reset() Fault { return Fault{how: "Reset", reset: true} }

// Hang gives no answer until the client gives up.
func Hang() Fault { return Fault{how: "Hang", hang: true} }

// Damage changes the first byte of the request's body on its way to the server.
func Damage() Fault { return Fault{how: "Damage", damage: true} }

// After is f happening to the answer: the request takes effect first.
func (f Fault) After() Fault {
	f.after = true
	return f
}

// String names the fault.
func (f Fault) String() string {
	if f.after {
		return f.how + " after"
	}
	return f.how
}

// Faults are what may happen to any request: an error, too many requests, and a
// connection that breaks or hangs, each before and after it took effect.
func Faults() []Fault {
	var all []Fault
	for _, f := range []Fault{InternalError(), SlowDown(), Reset(), Hang()} {
		all = append(all, f, f.After())
	}
	return all
}

// Sometimes is each of faults as often, together with probability p per request. The
// seed decides, together with the order of the requests.
func Sometimes(seed uint64, p float64, faults ...Fault) Rule {
	rng := rand.New(rand.NewPCG(seed, 0))
	return func(Request) Fault {
		if rng.Float64() >= p {
			return Fault{}
		}
		return faults[rng.IntN(len(faults))]
	}
}

// Nth is the fault of the n-th request of an operation, from 1 on. Its repetition
// is another request.
func Nth(op string, n int, fault Fault) Rule {
	return func(r Request) Fault {
		if r.Op == op && r.N == n {
			return fault
		}
		return Fault{}
	}
}

// Every is the fault of all requests of an operation.
func Every(op string, fault Fault) Rule {
	return func(r Request) Fault {
		if r.Op == op {
			return fault
		}
		return Fault{}
	}
}

// strike answers a request with a fault. Next is what has it take effect.
func (p *Proxy) strike(w http.ResponseWriter, r *http.Request, request Request, fault Fault, next http.Handler) {
	if fault.damage {
		r.Body = &damagedBody{ReadCloser: r.Body}
		next.ServeHTTP(w, r)
		return
	}
	var body []byte
	if fault.after {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		if request.Op == "GetObject" {
			body = answer.Body.Bytes()
			copyHeader(w.Header(), answer.Header())
		}
	} else if !fault.reset {
		// Without that, the client would see a broken connection instead, and its end
		// would not be noticed.
		_, _ = io.Copy(io.Discard, r.Body)
	}
	switch {
	case fault.hang:
		select {
		case <-r.Context().Done():
		case <-p.closed:
		}
		panic(http.ErrAbortHandler) // closes the connection
	case fault.reset:
		if len(body) > 1 {
			_, _ = w.Write(body[:len(body)/2])
			_ = http.NewResponseController(w).Flush()
		}
		reset(w)
	default:
		answerError(w, r, fault)
	}
}

// damagedBody is a body whose first byte was changed.
type damagedBody struct {
	io.ReadCloser
	done bool
}

func (b *damagedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 && !b.done {
		p[0], b.done = p[0]^1, true
	}
	return n, err
}

func copyHeader(to, from http.Header) {
	for name, values := range from {
		to[name] = values
	}
}

// reset ends the connection with a TCP reset.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // the client has gone already
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// answerError writes an error in S3's form
// (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).
func answerError(w http.ResponseWriter, r *http.Request, fault Fault) {
	body, err := xml.Marshal(struct {
		XMLName   xml.Name `xml:"Error"`
		Code      string
		Message   string
		Resource  string
		RequestID string `xml:"RequestId"`
	}{Code: fault.code, Message: "The proxy of the test says so.", Resource: r.URL.Path, RequestID: "TEST"})
	if err != nil { // there is nothing in it that XML can't have
		panic(err)
	}
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("X-Amz-Request-Id", "TEST")
	w.Header().Set("Content-Length", strconv.Itoa(len(xml.Header)+len(body)))
	w.WriteHeader(fault.status)
	_, _ = fmt.Fprintf(w, "%s%s", xml.Header, body)
}
