package redisstream

import (
	"fmt"
	"net"
	"strconv"
)

// Target is what a configuration connects to, without its secrets.
type Target struct {
	Hosts    []string // host:port, or the path of a Unix socket
	Sentinel bool     // Hosts are Sentinels
	TLS      bool
	Exposed  bool   // commands, passwords included, leave this machine unencrypted
	Remote   bool   // some host is not this machine
	User     string // that is asked for; "" is the default user

	address       address
	ca, cert, key string // files
}

// TargetOf reads a configuration. It connects to nothing.
func TargetOf(cfg Config) (Target, error) {
	a, err := parseURL(cfg.URL)
	if err != nil {
		return Target{}, err
	}
	return targetOf(a, cfg), nil
}

func targetOf(a address, cfg Config) Target {
	plain := a
	plain.tls = false
	return Target{
		Hosts: a.hosts, Sentinel: a.master != "", TLS: a.tls, Exposed: a.exposed(), Remote: plain.exposed(), User: a.user,
		address: a, ca: cfg.CAFile, cert: cfg.CertFile, key: cfg.KeyFile,
	}
}

// RedisCLI returns the words by which redis-cli reaches a server: that of
// addr, host:port, or the configuration's own where addr is "". The password
// is not among them; redis-cli takes it from REDISCLI_AUTH.
func (t Target) RedisCLI(addr string) []string {
	words := []string{"redis-cli"}
	host, port, err := net.SplitHostPort(addr)
	switch {
	case err == nil:
		words = append(words, "-h", host, "-p", port)
	case t.address.unix:
		words = append(words, "-s", t.Hosts[0])
	case !t.Sentinel:
		if host, port, _ = net.SplitHostPort(t.Hosts[0]); host != "localhost" && host != "127.0.0.1" || port != "6379" {
			words = append(words, "-h", host, "-p", port)
		}
	}
	if t.TLS {
		words = append(words, "--tls")
		for _, file := range []struct{ flag, name string }{{"--cacert", t.ca}, {"--cert", t.cert}, {"--key", t.key}} {
			if file.name != "" {
				words = append(words, file.flag, file.name)
			}
		}
	}
	if t.User != "" && t.User != "default" {
		words = append(words, "--user", t.User)
	}
	if t.address.db != 0 {
		words = append(words, "-n", strconv.Itoa(t.address.db))
	}
	return words
}

// String names the server as a person would: never with a secret.
func (t Target) String() string {
	if t.Sentinel {
		return fmt.Sprintf("master %s of the Sentinels at %s", t.address.master, t.Hosts[0])
	}
	return t.Hosts[0]
}
