package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/freshet/freshet"
)

// Config describes a target. URL and Secrets are required.
type Config struct {
	// URL to post to: https, an absolute URL with a host name or a public
	// address, without user and password.
	URL string

	// Secrets sign each request. Where they are to change, give the new one
	// and the old one until the receiver knows the new one.
	Secrets []Secret

	// Timeout of one request, from the first packet to the last byte of the
	// answer. It must be below the consumer's HandlerTimeout. Default: 10 s.
	Timeout time.Duration

	// RootCAs sign the target's certificate. Default: the system's.
	RootCAs *x509.CertPool

	// AllowPrivate allows addresses of the machine itself and of private
	// networks: for an intranet, where whoever sets URL may reach these
	// anyway. Link-local addresses, such as those of a cloud's metadata, stay
	// refused.
	AllowPrivate bool

	// AllowInsecure allows http: the payload can be read on the way.
	AllowInsecure bool
}

const (
	defaultTimeout  = 10 * time.Second
	longestConnect  = 5 * time.Second // name lookup and TCP; then as much for TLS
	longestWait     = time.Hour       // that Retry-After may ask for
	mostOfAnAnswer  = 64 << 10        // bytes of its body; as much of its headers
	idleConnections = 16              // kept; as many as a consumer has handlers by default
)

// Target posts events to one URL. It is safe for concurrent use. Whatever
// way it is printed, the URL's host is all that shows.
type Target struct {
	url    string
	host   string // with scheme, for messages
	sign   signer
	client *http.Client
	resume atomic.Int64 // Unix time in ns before which the target wants nothing
}

// New makes a target. It refuses a URL that can only be wrong; it does not
// connect.
func New(cfg Config) (*Target, error) {
	u, err := checkURL(cfg.URL, cfg.AllowInsecure, cfg.AllowPrivate)
	if err != nil {
		return nil, fmt.Errorf("webhook: URL: %w", err)
	}
	sign, err := newSigner(cfg.Secrets)
	if err != nil {
		return nil, fmt.Errorf("webhook: Secrets: %w", err)
	}
	if cfg.Timeout < 0 {
		return nil, errors.New("webhook: Timeout: must not be negative")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	dialer := &net.Dialer{Timeout: longestConnect, Control: control(cfg.AllowPrivate)}
	return &Target{
		url:  u.String(),
		host: u.Scheme + "://" + u.Host,
		sign: sign,
		client: &http.Client{
			Timeout:       cfg.Timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{ // Proxy is not set: none
				DialContext:            dialer.DialContext,
				TLSClientConfig:        &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12},
				TLSHandshakeTimeout:    longestConnect,
				ForceAttemptHTTP2:      true,
				DisableCompression:     true,
				MaxResponseHeaderBytes: mostOfAnAnswer,
				MaxIdleConnsPerHost:    idleConnections,
				IdleConnTimeout:        time.Minute,
			},
		},
	}, nil
}

// Close closes the connections that are idle.
func (t *Target) Close() { t.client.CloseIdleConnections() }

// Handle posts one event and returns nil when the target has taken it. It is
// a [freshet.Handler]; the kind of its error says what the consumer does.
func (t *Target) Handle(ctx context.Context, d *freshet.Delivery) error {
	if wait := time.Until(time.Unix(0, t.resume.Load())); wait > 0 {
		return t.later(errors.New("it asked for fewer requests"), wait)
	}
	request, err := t.request(ctx, d)
	if err != nil {
		return freshet.Permanent(fmt.Errorf("webhook %s: %s/%s: %w", t.host, d.Stream, d.ID, err))
	}
	var connected atomic.Bool
	request = request.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	}))
	response, err := t.client.Do(request)
	switch {
	case err != nil && connected.Load():
		return t.failed(noAnswer(err))
	case err != nil:
		return freshet.Unavailable(t.failed(unreachable(err)))
	}
	defer response.Body.Close()
	// A connection is used again only when its answer was read.
	_, _ = io.CopyN(io.Discard, response.Body, mostOfAnAnswer)
	return t.outcome(response)
}

func (t *Target) request(ctx context.Context, d *freshet.Delivery) (*http.Request, error) {
	body, err := encode(d)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("no request can be made of its URL")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "freshet")
	// The receiver knows repetitions: the client may send the request again
	// when a connection turns out to be closed. nil is not sent.
	request.Header["Idempotency-Key"] = nil
	t.sign(request.Header, messageID(d.Envelope), time.Now(), body)
	return request, nil
}

func (t *Target) outcome(response *http.Response) error {
	status := response.StatusCode
	err := t.failed(fmt.Errorf("status %d", status))
	wait, asked := retryAfter(response.Header.Get("Retry-After"))
	switch {
	case status >= 200 && status < 300:
		return nil
	case asked && (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable):
		t.pause(wait)
		return t.later(fmt.Errorf("status %d", status), wait)
	case status == http.StatusTooManyRequests:
		return freshet.Unavailable(err)
	case status < 400 || status >= 500:
		return err
	}
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly,
		http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
		http.StatusProxyAuthRequired, http.StatusGone:
		return err
	}
	return freshet.Permanent(err)
}

// pause keeps back all requests, not only those of one event.
func (t *Target) pause(wait time.Duration) {
	until := time.Now().Add(wait).UnixNano()
	for {
		current := t.resume.Load()
		if until <= current || t.resume.CompareAndSwap(current, until) {
			return
		}
	}
}

// later is the error while the target wants nothing: of no event, so that no
// attempt counts.
func (t *Target) later(err error, wait time.Duration) error {
	err = fmt.Errorf("webhook %s: %w, next request in %v", t.host, err, wait.Round(time.Millisecond))
	return freshet.Unavailable(freshet.RetryAfter(err, wait))
}

// retryAfter reads the header: seconds or a date.
func retryAfter(value string) (time.Duration, bool) {
	seconds, err := strconv.ParseUint(value, 10, 31)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return min(time.Duration(seconds)*time.Second, longestWait), true
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return min(max(0, time.Until(date)), longestWait), true
}

func (t *Target) failed(err error) error { return fmt.Errorf("webhook %s: %w", t.host, err) }

// unreachable is why there is no connection. The client's own error has the
// URL, of which path and parameters may be secret.
func unreachable(err error) error {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		err = e.Err
	}
	if isTimeout(err) {
		return hidden{"cannot be reached: no connection in time", err}
	}
	return fmt.Errorf("cannot be reached: %w", err)
}

// noAnswer is what became of a request that was sent. The client's own error
// may quote what the target said.
func noAnswer(err error) error {
	if isTimeout(err) {
		return hidden{"no answer in time", err}
	}
	return hidden{"the connection broke, or the answer is not HTTP", err}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &e) && e.Timeout()
}

// hidden stands for an error whose text must not be shown.
type hidden struct {
	text string
	err  error
}

func (h hidden) Error() string { return h.text }
func (h hidden) Unwrap() error { return h.err }

// Format prints the URL's scheme and host, whatever the verb.
func (t *Target) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, t.host) }

// LogValue is what a log gets.
func (t *Target) LogValue() slog.Value { return slog.StringValue(t.host) }
