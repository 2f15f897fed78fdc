package config_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTrustedProxies(t *testing.T) {
	t.Parallel()
	c, err := load(t, needed("REPRISE_TRUSTED_PROXIES=10.1.2.3/8,fd00::/8, 192.0.2.1,::1"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, network := range c.ProxyNetworks() {
		got = append(got, network.String())
	}
	if diff := cmp.Diff([]string{"10.0.0.0/8", "fd00::/8", "192.0.2.1/32", "::1/128"}, got); diff != "" {
		t.Error(diff)
	}
	if !c.ProxyNetworks()[0].Contains(netip.MustParseAddr("10.200.0.1")) {
		t.Error("an address of the network is not in it")
	}
}

func TestQuotasAreChecked(t *testing.T) {
	t.Parallel()
	_, err := load(t, needed("REPRISE_TRUSTED_PROXIES=10.0.0.0/8,proxy.example.com", "REPRISE_USER_RATE=-1", "REPRISE_USER_DECODED_PER_DAY=5ms"))
	if err == nil {
		t.Fatal("it passes")
	}
	for _, want := range []string{
		`REPRISE_TRUSTED_PROXIES: "proxy.example.com" is not a network such as 10.0.0.0/8, or an address`,
		"REPRISE_USER_RATE: it must not be negative; 0 is no limit",
		"REPRISE_USER_DECODED_PER_DAY: it must be at least 1s, or 0 for no limit",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
	if _, err := load(t, needed("REPRISE_USER_RATE=0", "REPRISE_USER_DECODED_PER_DAY=0", "REPRISE_USER_STORED_BYTES=0")); err != nil {
		t.Errorf("no limits: %v", err)
	}
}
