package webhook

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
)

// checkURL refuses a URL whose target cannot be right, whatever names resolve
// to. Its errors do not have the URL, which may hold a secret.
func checkURL(text string, allowInsecure, allowPrivate bool) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("not a URL")
	case u.Scheme != "https" && (u.Scheme != "http" || !allowInsecure):
		return nil, errors.New("must begin with https://")
	case u.User != nil:
		return nil, errors.New("must not have a user or a password")
	case u.Fragment != "":
		return nil, errors.New("must not have a fragment")
	}
	if port, err := strconv.Atoi(u.Port()); u.Port() != "" && (err != nil || port < 1 || port > 65535) {
		return nil, errors.New("the port must be from 1 to 65535")
	}
	return u, checkHost(u.Hostname(), allowPrivate)
}

func checkHost(host string, allowPrivate bool) error {
	if ip, err := netip.ParseAddr(host); err == nil {
		return checkAddress(ip, allowPrivate)
	}
	if host == "" || strings.ContainsFunc(host, notInName) {
		return errors.New("the host must be a name of letters, digits, hyphens and full stops, or an IP address")
	}
	// Resolvers take 127.1, 2130706433 and 0x7f.1 for addresses.
	labels := strings.Split(strings.ToLower(strings.TrimSuffix(host, ".")), ".")
	last := labels[len(labels)-1]
	if strings.HasPrefix(last, "0x") || strings.Trim(last, "0123456789") == "" {
		return errors.New("the host is neither a name nor an IP address in its usual form")
	}
	if last == "localhost" && !allowPrivate {
		return errPrivate
	}
	return nil
}

func notInName(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	return !letter && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
}

// control is run between the resolution of a name and the connection, for
// each address that is tried: a name cannot resolve to one thing when it is
// checked and to another when it is used.
func control(allowPrivate bool) func(network, address string, c syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return checkAddress(to.Addr(), allowPrivate)
	}
}

var (
	errPrivate     = errors.New("an address of the machine itself or of a private network is not allowed")
	errUnreachable = errors.New("the address is not one of the public internet")
)

func checkAddress(ip netip.Addr, allowPrivate bool) error {
	if ip.Zone() != "" {
		return errUnreachable
	}
	ip = ip.Unmap()
	switch {
	case ip.IsLoopback(), ip.IsPrivate(), sharedSpace.Contains(ip):
		if allowPrivate {
			return nil
		}
		return errPrivate
	case ip.Is4() && !in(special4, ip), ip.Is6() && global6.Contains(ip) && !in(special6, ip):
		return nil
	}
	return fmt.Errorf("%w: %s", errUnreachable, ip)
}

// Of the special-purpose registries of IANA, what netip does not know. For
// IPv6 what is assigned to the internet is the shorter list: it leaves out
// ::/96, 64:ff9b::/96 and the like, which carry an IPv4 address.
var (
	sharedSpace = netip.MustParsePrefix("100.64.0.0/10") // carriers, and overlay networks
	special4    = prefixes(
		"0.0.0.0/8",
		"169.254.0.0/16", // link-local, the metadata of clouds
		"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
		"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"224.0.0.0/4", "240.0.0.0/4",
	)
	global6  = netip.MustParsePrefix("2000::/3")
	special6 = prefixes(
		"2001::/23", // Teredo among them, which carries an IPv4 address
		"2001:db8::/32",
		"2002::/16", // 6to4, the same
		"3fff::/20",
	)
)

func prefixes(list ...string) (all []netip.Prefix) {
	for _, p := range list {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

func in(list []netip.Prefix, ip netip.Addr) bool {
	for _, p := range list {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
