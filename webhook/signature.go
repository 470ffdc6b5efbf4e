package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of Standard Webhooks.
const (
	headerID        = "webhook-id"
	headerTimestamp = "webhook-timestamp"
	headerSignature = "webhook-signature"
)

// tolerance is how far the clocks of the two sides may be apart, and how long
// a request that was recorded can be sent again.
const tolerance = 5 * time.Minute

// Secret is a key that target and receiver share: "whsec_" and 24 to 64 bytes
// in base64; the prefix may be missing. It does not print.
type Secret string

const secretPrefix = "whsec_"

// NewSecret makes a secret of 32 random bytes.
func NewSecret() Secret {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return Secret(secretPrefix + base64.StdEncoding.EncodeToString(key))
}

func (s Secret) key() ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(s), secretPrefix))
	if err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New("a secret is whsec_ and 24 to 64 bytes in base64; NewSecret makes one")
	}
	return key, nil
}

const redacted = "[redacted]"

// String hides the secret.
func (Secret) String() string { return redacted }

// Format hides the secret, whatever the verb.
func (Secret) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// LogValue hides the secret from logs.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the secret from JSON and the like.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// signer sets the headers of a request. It is a function, and not the keys,
// so that printing what holds it does not print them.
type signer func(header http.Header, id string, now time.Time, body []byte)

func newSigner(secrets []Secret) (signer, error) {
	keys, err := keysOf(secrets)
	if err != nil {
		return nil, err
	}
	return func(header http.Header, id string, now time.Time, body []byte) {
		timestamp := strconv.FormatInt(now.Unix(), 10)
		signatures := make([]string, len(keys))
		for i, key := range keys {
			signatures[i] = "v1," + base64.StdEncoding.EncodeToString(signature(key, id, timestamp, body))
		}
		header.Set(headerID, id)
		header.Set(headerTimestamp, timestamp)
		header.Set(headerSignature, strings.Join(signatures, " "))
	}, nil
}

func keysOf(secrets []Secret) ([][]byte, error) {
	if len(secrets) == 0 {
		return nil, errors.New("one is required")
	}
	var keys [][]byte
	for _, s := range secrets {
		key, err := s.key()
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func signature(key []byte, id, timestamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.", id, timestamp)
	mac.Write(body)
	return mac.Sum(nil)
}

// ErrNotVerified is returned by [Verify] for a request to refuse, with 401.
var ErrNotVerified = errors.New("webhook: not verified")

// Verify checks that a request was signed with one of the secrets, less than
// five minutes ago. body is the request's, byte for byte. A request that is
// repeated within that time verifies again: handle each webhook-id once.
func Verify(header http.Header, body []byte, secrets ...Secret) error {
	keys, err := keysOf(secrets)
	if err != nil {
		return fmt.Errorf("webhook: secrets: %w", err)
	}
	id, timestamp := header.Get(headerID), header.Get(headerTimestamp)
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || id == "" {
		return fmt.Errorf("%w: no %s or %s", ErrNotVerified, headerID, headerTimestamp)
	}
	if age := time.Since(time.Unix(seconds, 0)); age.Abs() > tolerance {
		return fmt.Errorf("%w: signed more than %v ago, or after now", ErrNotVerified, tolerance)
	}
	wanted := make([][]byte, len(keys))
	for i, key := range keys {
		wanted[i] = signature(key, id, timestamp, body)
	}
	for given := range strings.FieldsSeq(header.Get(headerSignature)) {
		text, isV1 := strings.CutPrefix(given, "v1,")
		mac, err := base64.StdEncoding.DecodeString(text)
		if !isV1 || err != nil {
			continue // another version's
		}
		for _, want := range wanted {
			if hmac.Equal(mac, want) {
				return nil
			}
		}
	}
	return fmt.Errorf("%w: no signature by a known secret", ErrNotVerified)
}
