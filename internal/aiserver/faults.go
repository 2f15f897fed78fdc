package aiserver

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Fault is a way in which a request ends.
type Fault func(w http.ResponseWriter, r *http.Request, work *Work)

// Work is what a fault keeps from the client.
type Work struct {
	answer  func() []byte
	closing chan struct{}
}

// Answer makes the answer, and bills it.
func (w *Work) Answer() []byte { return w.answer() }

// Status answers with a status that is no success, before any work is done.
func Status(status int) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ *Work) {
		complain(w, status, "server_error", "", "The server had an error: "+r.Header.Get("Authorization"))
	}
}

// Refuse answers with a status, OpenAI's code for what is wrong and its message.
func Refuse(status int, code, message string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ *Work) {
		complain(w, status, "invalid_request_error", code, message)
	}
}

// RetryAfter answers with a status, and says when to ask again: the value of the
// header, in seconds or as a date.
func RetryAfter(status int, value string) Fault {
	return func(w http.ResponseWriter, r *http.Request, work *Work) {
		w.Header().Set("Retry-After", value)
		Status(status)(w, r, work)
	}
}

// TooMany answers 429, to be asked again after that time.
func TooMany(wait time.Duration) Fault {
	return RetryAfter(http.StatusTooManyRequests, fmt.Sprint(int(wait/time.Second)))
}

// Hang never answers.
func Hang() Fault {
	return func(_ http.ResponseWriter, r *http.Request, work *Work) {
		select {
		case <-r.Context().Done():
		case <-work.closing:
		}
		panic(http.ErrAbortHandler)
	}
}

// Cut does and bills the work, and breaks the connection in the middle of the answer.
func Cut() Fault {
	return func(w http.ResponseWriter, _ *http.Request, work *Work) {
		text := work.Answer()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		_, _ = w.Write(text[:len(text)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// Stall does and bills the work, and never sends the second half of the answer.
func Stall() Fault {
	return func(w http.ResponseWriter, r *http.Request, work *Work) {
		text := work.Answer()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		_, _ = w.Write(text[:len(text)/2])
		_ = http.NewResponseController(w).Flush()
		Hang()(w, r, work)
	}
}

// Reset does and bills the work, and resets the connection instead of answering.
func Reset() Fault {
	return func(w http.ResponseWriter, _ *http.Request, work *Work) {
		work.Answer()
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err) // HTTP/1.1 over TCP
		}
		if tcp, isTCP := conn.(*net.TCPConn); isTCP {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
}

// Raw sends bytes instead of an answer, which need not be HTTP, and closes.
func Raw(text string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ *Work) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err) // HTTP/1.1 over TCP
		}
		_, _ = io.WriteString(conn, text)
		_ = conn.Close()
	}
}

// Reply sends a success with this body.
func Reply(contentType, body string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ *Work) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body)
	}
}

// Garbage says it is JSON and is not.
func Garbage() Fault { return Reply("application/json", "\x00\xff{]") }

// Page answers with a web page, as portals and proxies do.
func Page() Fault { return Reply("text/html; charset=utf-8", "<html>Sign in to the network</html>") }

// WrongSchema answers with JSON that is something else.
func WrongSchema() Fault {
	return Reply("application/json", `{"object":"list","data":[1,2,3],"text":7,"segments":"none","choices":{}}`)
}

// Gigabyte sends a success that goes on for a gigabyte of JSON.
func Gigabyte() Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ *Work) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"text":"`)
		block := []byte(strings.Repeat("la ", 1<<15))
		for sent := 0; sent < 1<<30; sent += len(block) {
			if _, err := w.Write(block); err != nil {
				panic(http.ErrAbortHandler) // the client has had enough
			}
		}
		_, _ = io.WriteString(w, `"}`)
	}
}

// Redirect sends the client to another URL, with the question.
func Redirect(url string) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ *Work) {
		http.Redirect(w, r, url, http.StatusTemporaryRedirect)
	}
}
