package client

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Share is a share of a whole, above 0 and below 1; 0 is none. Its text is a
// percentage, "40%", or a fraction, "0.4".
type Share float64

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Share) UnmarshalText(text []byte) error {
	number, percent := strings.CutSuffix(string(text), "%")
	f, err := strconv.ParseFloat(number, 64)
	if percent {
		f /= 100
	}
	if err != nil || !(f > 0 && f < 1) {
		return fmt.Errorf("%q is not a share between 0%% and 100%%, such as 40%%", text)
	}
	*s = Share(f)
	return nil
}

// complete checks the options and puts defaults where nothing is.
func (o *Options) complete() error {
	if o.Server == "" {
		o.Server = DefaultServer
	}
	if o.Parallel == 0 {
		o.Parallel = 1
	}
	if o.ChunkBytes == 0 {
		o.ChunkBytes = defaultChunkBytes
	}
	if o.RetryFor == 0 {
		o.RetryFor = defaultRetryFor
	}
	o.pace = o.pace.orDefaults()
	switch {
	case o.Title != "" && len(o.Files) > 1:
		return usagef("a title is for one file; there are %d", len(o.Files))
	case o.Parallel < 1 || o.Parallel > maxParallel:
		return usagef("parallel is 1 to %d files at once", maxParallel)
	case o.ChunkBytes < 0:
		return usagef("a chunk has at least 1 byte")
	case o.MaxBytesPerSecond < 0:
		return usagef("the rate can't be negative")
	case o.RetryFor < 0:
		return usagef("the time to go on trying can't be negative")
	case o.CutAt < 0 || o.CutAt >= 1:
		return usagef("the connection can be cut between 0%% and 100%%")
	case o.Token != "" && o.TokenFile != "":
		return usagef("give a token or a token file, not both")
	}
	base, err := parseServer(o.Server)
	if err != nil {
		return err
	}
	return o.findToken(base)
}

// parseServer reads the server's URL.
func parseServer(text string) (*url.URL, error) {
	base, err := url.Parse(text)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, usagef("the server must be a URL such as %s or https://audio.example.com", DefaultServer)
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, usagef("the server's URL has no user, query or fragment")
	}
	return base, nil
}

// findToken fills Token. None at all is no error: the server will say that it
// needs one.
func (o *Options) findToken(base *url.URL) error {
	if o.Token != "" {
		o.Token = strings.TrimSpace(o.Token)
		return checkToken(o.Token)
	}
	path := o.TokenFile
	if path == "" {
		if !onThisMachine(base.Hostname()) {
			return nil
		}
		path = filepath.Join(".reprise", "token")
	}
	content, err := os.ReadFile(path)
	if err != nil {
		if o.TokenFile == "" && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return usagef("the token file can't be read: %v", err)
	}
	o.Token = strings.TrimSpace(string(content))
	return checkToken(o.Token)
}

// checkToken refuses what can't be sent in a header; it doesn't quote it.
func checkToken(token string) error {
	for _, c := range []byte(token) {
		if c <= ' ' || c >= 0x7f {
			return usagef("the token has characters that no token has")
		}
	}
	return nil
}

func onThisMachine(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
