package redisstream

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// address is a parsed URL. Errors about a URL never quote it: any part of a
// mistyped URL may be the password.
type address struct {
	hosts      []string // host:port, or the path of a Unix socket
	unix       bool
	tls        bool
	cluster    bool
	master     string // name of the Sentinel master set
	user, pass string
	db         int
}

var errScheme = errors.New("redis URL: must begin with redis://, rediss://, redis+sentinel://, rediss+sentinel:// or unix://")

// parseURL reads the forms of docs/operations.md:
//
//	redis://user:password@host:6379/0          one server, or a cluster's entry point
//	redis://host1:6379,host2:6379              a cluster
//	redis://host:6379?cluster=true             a cluster, by one of its nodes
//	redis+sentinel://host1:26379,host2/name/0  the master set "name", by its Sentinels
//	unix://user:password@/run/redis.sock?db=0
//
// rediss:// and rediss+sentinel:// are the same over TLS.
func parseURL(s string) (address, error) {
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		return address{}, errScheme
	}
	var a address
	sentinel := false
	port := "6379"
	switch scheme {
	case "redis":
	case "rediss":
		a.tls = true
	case "redis+sentinel", "rediss+sentinel":
		sentinel, a.tls, port = true, scheme[:6] == "rediss", "26379"
	case "unix":
		a.unix = true
	default:
		return address{}, errScheme
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	hosts := authority
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		if err := a.parseUser(authority[:i]); err != nil {
			return address{}, err
		}
		hosts = authority[i+1:]
	}
	if err := a.parseQuery(query); err != nil {
		return address{}, err
	}
	if a.unix {
		if hosts != "" || path == "" {
			return address{}, errors.New("redis URL: unix:// takes an absolute path, e.g. unix:///run/redis.sock")
		}
		a.hosts = []string{"/" + path}
		return a, nil
	}
	for i, h := range strings.Split(hosts, ",") {
		hostPort, err := parseHost(h, port)
		if err != nil {
			return address{}, fmt.Errorf("redis URL: host %d: %w", i+1, err)
		}
		a.hosts = append(a.hosts, hostPort)
	}
	if sentinel {
		a.master, path, _ = strings.Cut(path, "/")
		if a.master == "" {
			return address{}, errors.New("redis URL: no master name after the Sentinels' hosts, e.g. redis+sentinel://host:26379/mymaster")
		}
	}
	if path != "" {
		if err := a.parseDB(path); err != nil {
			return address{}, err
		}
	}
	a.cluster = !sentinel && (a.cluster || len(a.hosts) > 1)
	if a.cluster && a.db != 0 {
		return address{}, errors.New("redis URL: a cluster has only database 0")
	}
	return a, nil
}

func (a *address) parseUser(s string) error {
	user, pass, _ := strings.Cut(s, ":")
	var err1, err2 error
	a.user, err1 = url.PathUnescape(user)
	a.pass, err2 = url.PathUnescape(pass)
	if err1 != nil || err2 != nil {
		return errors.New("redis URL: bad percent-encoding in user or password; a literal % is written %25")
	}
	return nil
}

func (a *address) parseQuery(s string) error {
	if s == "" {
		return nil
	}
	for option := range strings.SplitSeq(s, "&") {
		switch name, value, _ := strings.Cut(option, "="); {
		case name == "db" && a.unix:
			if err := a.parseDB(value); err != nil {
				return err
			}
		case name == "cluster" && value == "true" && !a.unix:
			a.cluster = true
		default:
			return errors.New("redis URL: unknown option after ?; known are cluster=true and, for unix://, db=N (in a user name or password, ? is written %3F)")
		}
	}
	return nil
}

func (a *address) parseDB(s string) error {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return errors.New("redis URL: the database after the host is not a number (in a user name or password, / is written %2F)")
	}
	a.db = int(n)
	return nil
}

func parseHost(s, defaultPort string) (string, error) {
	host, port := s, defaultPort
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		host, port = s[:i], s[i+1:]
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
		if _, err := netip.ParseAddr(host); err != nil {
			return "", errors.New("no IP address between [ and ]")
		}
	} else if strings.ContainsAny(host, ":[] \t\r\n") {
		return "", errors.New("not a host name (an IPv6 address is written in [ ])")
	}
	if host == "" {
		host = "localhost"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", errors.New("the port is not a number from 1 to 65535")
	}
	return net.JoinHostPort(host, port), nil
}

// exposed tells whether commands, passwords included, leave this machine
// unencrypted.
func (a *address) exposed() bool {
	if a.tls || a.unix {
		return false
	}
	for _, h := range a.hosts {
		if host, _, _ := net.SplitHostPort(h); !isLoopback(host) {
			return true
		}
	}
	return false
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
