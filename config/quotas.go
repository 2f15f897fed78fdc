package config

import (
	"net/netip"
	"strings"
	"time"
)

func (q *Quotas) check(p *Problems) {
	for _, network := range q.TrustedProxies {
		if _, ok := parseNetwork(network); !ok {
			p.add("REPRISE_TRUSTED_PROXIES", "%q is not a network such as 10.0.0.0/8, or an address", network)
		}
	}
	for name, n := range map[string]int{
		"REPRISE_MAX_CONNECTIONS": q.MaxConnections, "REPRISE_ADDRESS_CONNECTIONS": q.AddressConnections,
		"REPRISE_ADDRESS_RATE": q.AddressRate, "REPRISE_ADDRESS_BURST": q.AddressBurst,
		"REPRISE_USER_RATE": q.UserRate, "REPRISE_USER_BURST": q.UserBurst,
		"REPRISE_USER_UPLOADS_AT_ONCE": q.UserUploadsAtOnce, "REPRISE_USER_OPEN_UPLOADS": q.UserOpenUploads,
		"REPRISE_USER_TOKENS_PER_DAY": int(q.UserTokensPerDay),
		"REPRISE_USER_SOCKETS":        q.UserSockets, "REPRISE_MAX_SOCKETS": q.MaxSockets,
	} {
		if n < 0 {
			p.add(name, "it must not be negative; 0 is no limit")
		}
	}
	for name, d := range map[string]time.Duration{
		"REPRISE_USER_DECODED_PER_DAY": q.UserDecodedPerDay, "REPRISE_USER_TRANSCRIBED_PER_DAY": q.UserTranscribedPerDay,
	} {
		if d < 0 || d > 0 && d < time.Second {
			p.add(name, "it must be at least 1s, or 0 for no limit")
		}
	}
}

// ProxyNetworks returns TrustedProxies as networks. The Config has passed Check.
func (q Quotas) ProxyNetworks() []netip.Prefix {
	var list []netip.Prefix
	for _, text := range q.TrustedProxies {
		if network, ok := parseNetwork(text); ok {
			list = append(list, network)
		}
	}
	return list
}

func parseNetwork(text string) (network netip.Prefix, ok bool) {
	text = strings.TrimSpace(text)
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	network, err := netip.ParsePrefix(text)
	return network.Masked(), err == nil
}
