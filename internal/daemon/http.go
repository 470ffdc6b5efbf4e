package daemon

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// minToken is how many bytes a token has at least: what `openssl rand -hex 16`
// writes has twice as many.
const minToken = 16

func (c Config) validateHTTP() error {
	switch {
	case c.HTTPAddress == "" && c.HTTPTokenFile != "":
		return c.wrong("http.token_file", "there is no http.address that it is for")
	case c.HTTPAddress != "":
		host, port, err := net.SplitHostPort(c.HTTPAddress)
		if err != nil || port == "" {
			return c.wrong("http.address", "want HOST:PORT, such as 127.0.0.1:9464")
		}
		if c.HTTPTokenFile == "" && !loopback(host) {
			return c.wrong("http.address", fmt.Sprintf("other machines reach %q: give http.token_file too, or take 127.0.0.1:%s", c.HTTPAddress, port))
		}
	}
	if c.Tracing != "" {
		u, err := url.Parse(c.Tracing)
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
			return c.wrong("tracing.endpoint", "want http://HOST:PORT/v1/traces, or https")
		case u.User != nil || u.RawQuery != "":
			return c.wrong("tracing.endpoint", "secrets must not stand in the URL: the collector's go into OTEL_EXPORTER_OTLP_HEADERS")
		}
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// HTTPToken returns what the token's file holds, "" when there is none.
func (c Config) HTTPToken() (string, error) {
	if c.HTTPTokenFile == "" {
		return "", nil
	}
	if err := c.checkMode("http.token_file", c.HTTPTokenFile); err != nil {
		return "", err
	}
	text, err := readBounded(c.HTTPTokenFile)
	if err != nil {
		return "", c.wrong("http.token_file", reason(err))
	}
	token := strings.TrimSpace(string(text))
	if len(token) < minToken || strings.ContainsAny(token, " \t\r\n") {
		return "", c.wrong("http.token_file", fmt.Sprintf("want one word of at least %d bytes", minToken))
	}
	return token, nil
}
