package limits

import (
	"net/http"
	"net/netip"
	"strings"
)

// Proxies are the networks of the proxies whose X-Forwarded-For is believed.
type Proxies []netip.Prefix

// Contains reports whether addr is that of a proxy.
func (p Proxies) Contains(addr netip.Addr) bool {
	for _, network := range p {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// ClientOf returns the address that a request comes from. It is that of the
// connection, unless that is a proxy's: each proxy adds to the right of
// X-Forwarded-For who has spoken to it, so the client is the first address from the
// right that is none of a proxy. What is further left the client may have written
// itself.
func (p Proxies) ClientOf(r *http.Request) netip.Addr {
	client := parseAddr(r.RemoteAddr)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && p.Contains(client); i-- {
		hop := parseAddr(strings.TrimSpace(hops[i]))
		if !hop.IsValid() {
			break // a proxy that says nothing of use speaks for itself
		}
		client = hop
	}
	return client
}

// parseAddr reads an address with or without a port; what is none is the zero Addr.
func parseAddr(text string) netip.Addr {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		withPort, err := netip.ParseAddrPort(text)
		if err != nil {
			return netip.Addr{}
		}
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone("")
}

// networkOf returns what counts as one client: an address, and of IPv6 the /64 that a
// household or a phone is given.
func networkOf(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return addr
	}
	network, err := addr.Prefix(64)
	if err != nil { // only with a number of bits that IPv6 doesn't have
		return addr
	}
	return network.Addr()
}
