package limits

import (
	"net/http"
	"net/netip"
	"testing"
)

func TestClientOf(t *testing.T) {
	t.Parallel()
	proxies := Proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, tt := range map[string]struct {
		peer      string
		forwarded []string
		want      string
	}{
		"direct":                       {"192.0.2.1:5000", nil, "192.0.2.1"},
		"direct, spoofed":              {"192.0.2.1:5000", []string{"203.0.113.9"}, "192.0.2.1"},
		"IPv4 in IPv6":                 {"[::ffff:192.0.2.1]:5000", nil, "192.0.2.1"},
		"by a proxy":                   {"10.1.1.1:80", []string{"192.0.2.1"}, "192.0.2.1"},
		"by a proxy over IPv6":         {"[fd00::1]:80", []string{"2001:db8::7"}, "2001:db8::7"},
		"by two":                       {"10.1.1.1:80", []string{"192.0.2.1, 10.2.2.2"}, "192.0.2.1"},
		"by two, a header each":        {"10.1.1.1:80", []string{"192.0.2.1", "10.2.2.2"}, "192.0.2.1"},
		"spoofed before the proxy":     {"10.1.1.1:80", []string{"203.0.113.9, 192.0.2.1"}, "192.0.2.1"},
		"spoofed as a proxy":           {"10.1.1.1:80", []string{"203.0.113.9, 10.9.9.9, 192.0.2.1"}, "192.0.2.1"},
		"spoofed in a header":          {"10.1.1.1:80", []string{"10.9.9.9", "192.0.2.1"}, "192.0.2.1"},
		"with a port":                  {"10.1.1.1:80", []string{"192.0.2.1:4711"}, "192.0.2.1"},
		"with a zone":                  {"10.1.1.1:80", []string{"fe80::1%eth0"}, "fe80::1"},
		"only proxies":                 {"10.1.1.1:80", []string{"10.2.2.2, 10.3.3.3"}, "10.2.2.2"},
		"nothing said":                 {"10.1.1.1:80", nil, "10.1.1.1"},
		"nonsense":                     {"10.1.1.1:80", []string{"unknown"}, "10.1.1.1"},
		"nonsense before":              {"10.1.1.1:80", []string{"'; DROP TABLE, 192.0.2.1"}, "192.0.2.1"},
		"empty":                        {"10.1.1.1:80", []string{""}, "10.1.1.1"},
		"nonsense behind a real proxy": {"10.1.1.1:80", []string{"192.0.2.1, _hidden, 10.2.2.2"}, "10.2.2.2"},
	} {
		r := &http.Request{RemoteAddr: tt.peer, Header: http.Header{"X-Forwarded-For": tt.forwarded}}
		if got := proxies.ClientOf(r); got.String() != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}

func FuzzClientOf(f *testing.F) {
	proxies := Proxies{netip.MustParsePrefix("10.0.0.0/8")}
	for _, seed := range []string{"", "192.0.2.1", "10.0.0.1, 192.0.2.1", "[2001:db8::1]:80", "a,b,,", "fe80::1%25eth0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		// Whatever comes before what the proxy has written changes nothing.
		r := &http.Request{RemoteAddr: "10.1.1.1:80", Header: http.Header{"X-Forwarded-For": {header, "192.0.2.1"}}}
		if got := proxies.ClientOf(r); got.String() != "192.0.2.1" {
			t.Errorf("got %s", got)
		}
		r.Header = http.Header{"X-Forwarded-For": {header}}
		if got := proxies.ClientOf(r); got.Zone() != "" || !got.IsValid() {
			t.Errorf("got %s", got)
		}
	})
}

func TestNetworkOf(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::",
	} {
		if got := networkOf(netip.MustParseAddr(addr)); got.String() != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
	}
}
