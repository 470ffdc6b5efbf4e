package webhook_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/freshet/freshet/webhook"
)

func TestURLsThatAreRefused(t *testing.T) {
	const hidden = "hunter2"
	for _, url := range []string{
		"", "example.com", "//example.com/", "https:", "https:///path", "https:example.com", "https://example.com:0/", "https://example.com:99999/",
		"http://example.com/", "file:///etc/passwd", "gopher://example.com/", "javascript:alert(1)", "unix:///run/x",
		"https://user:" + hidden + "@example.com/", "https://" + hidden + "@example.com/", "https://@example.com/",
		"https://example.com/#" + hidden, "https://exa mple.com/", "https://%31%32%37.0.0.1/", "https://example.com:x" + hidden + "/",
		"https://169.254.169.254/latest/meta-data/", "https://[::ffff:169.254.169.254]/", "https://[fe80::1]/", "https://[fe80::1%25eth0]/",
		"https://127.0.0.1/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[::127.0.0.1]/", "https://0.0.0.0/", "https://[::]/",
		"https://2130706433/", "https://127.1/", "https://0x7f.1/", "https://0x7f000001/", "https://0177.0.0.1/", "https://127.0.0.1./", "https://1.2.3.4.5/",
		"https://localhost/", "https://localhost./", "https://LOCALHOST/", "https://x.localhost/", "https://./",
		"https://127。0。0。1/", "https://１２７.0.0.1/",
	} {
		_, err := webhook.New(webhook.Config{URL: url, Secrets: []webhook.Secret{secret}})
		if err == nil || strings.Contains(err.Error(), hidden) {
			t.Errorf("%s: %v", url, err)
		}
	}
	for _, url := range []string{
		"https://example.com", "https://example.com./x?y=z", "https://a_b.example.com:8443/", "https://8.8.8.8/", "https://[2606:4700::1111]/", "https://xn--bcher-kva.example/",
	} {
		if _, err := webhook.New(webhook.Config{URL: url, Secrets: []webhook.Secret{secret}}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	const (
		public  = "public"
		private = "private" // only with AllowPrivate
		never   = "never"
	)
	for address, want := range map[string]string{
		"1.1.1.1": public, "100.63.255.255": public, "100.128.0.0": public, "172.32.0.1": public, "192.0.1.1": public, "223.255.255.255": public, "198.20.0.0": public,
		"2606:4700::1111": public, "2a00::1": public, "::ffff:1.1.1.1": public,
		"127.0.0.1": private, "127.255.255.254": private, "10.0.0.1": private, "172.16.0.1": private, "192.168.255.255": private, "100.64.0.1": private,
		"100.127.255.255": private, "::1": private, "fc00::1": private, "fd00:ec2::254": private, "::ffff:10.0.0.1": private, "::ffff:127.0.0.1": private,
		"0.0.0.0": never, "0.1.2.3": never, "169.254.169.254": never, "192.0.0.1": never, "192.0.2.1": never, "198.18.0.1": never, "198.19.255.255": never,
		"203.0.113.1": never, "224.0.0.1": never, "239.1.1.1": never, "240.0.0.1": never, "255.255.255.255": never, "192.88.99.1": never,
		"::": never, "::7f00:1": never, "64:ff9b::7f00:1": never, "64:ff9b:1::1": never, "2002:7f00:1::": never, "2001::1": never, "2001:db8::1": never,
		"fe80::1": never, "fec0::1": never, "ff02::1": never, "::ffff:169.254.169.254": never, "100::1": never,
	} {
		host := address
		if netip.MustParseAddr(address).Is6() {
			host = "[" + address + "]"
		}
		for _, allow := range []bool{false, true} {
			_, err := webhook.New(webhook.Config{URL: "https://" + host + "/", Secrets: []webhook.Secret{secret}, AllowPrivate: allow})
			if allowed := want == public || want == private && allow; allowed != (err == nil) {
				t.Errorf("%s, AllowPrivate %t: %v", address, allow, err)
			}
		}
	}
}

// A name can resolve to whatever its owner likes, at any time: what counts is
// the address that is dialled.
func TestNameOfAPrivateAddress(t *testing.T) {
	r := receive(t, nil)
	_, port, _ := strings.Cut(strings.TrimPrefix(r.URL, "http://"), ":")
	name := nameOfLoopback(t)
	to := target(t, "http://"+name+":"+port, func(c *webhook.Config) { c.AllowPrivate = false })
	err := to.Handle(t.Context(), delivery())
	if kind(err) != "unavailable" || !strings.Contains(err.Error(), "not allowed") || len(r.all()) > 0 {
		t.Errorf("%v after %d requests", err, len(r.all()))
	}
	if err := target(t, "http://"+name+":"+port).Handle(t.Context(), delivery()); err != nil {
		t.Errorf("with AllowPrivate: %v", err)
	}
}

// nameOfLoopback has every name resolve to 127.0.0.1, and returns one.
func nameOfLoopback(t *testing.T) string {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var answering sync.WaitGroup
	answering.Go(func() {
		query := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(query)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(loopbackIs(query[:n]), from)
		}
	})
	usual := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = usual
		server.Close()
		answering.Wait()
	})
	return "webhooks.example.com"
}

// loopbackIs answers a DNS query (RFC 1035, section 4) for an IPv4 address
// with 127.0.0.1, and others with nothing.
func loopbackIs(query []byte) []byte {
	end := 12 // of the header; then labels, each after its length
	for query[end] > 0 {
		end += 1 + int(query[end])
	}
	end += 5 // the empty label, type and class
	reply := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, query[12:end]...)
	if kind := query[end-3]; kind == 1 {
		reply[7] = 1
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1)
	}
	return reply
}
