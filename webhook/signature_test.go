package webhook_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet/freshet/webhook"
)

// The example of the Standard Webhooks' own libraries.
func TestKnownSignature(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Unix(1614265330, 0)))
		header := http.Header{}
		header.Set("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
		header.Set("webhook-timestamp", "1614265330")
		header.Set("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
		for _, s := range []webhook.Secret{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"} {
			if err := webhook.Verify(header, []byte(`{"test": 2432232314}`), s); err != nil {
				t.Error(err)
			}
		}
	})
}

// signed returns a request that was sent with the secrets.
func signed(t *testing.T, secrets ...webhook.Secret) received {
	t.Helper()
	r := receive(t, nil)
	to := target(t, r.URL, func(c *webhook.Config) { c.Secrets = secrets })
	if err := to.Handle(t.Context(), delivery()); err != nil {
		t.Fatal(err)
	}
	return r.all()[0]
}

func TestRotation(t *testing.T) {
	older, newer, other := webhook.NewSecret(), webhook.NewSecret(), webhook.NewSecret()
	both := signed(t, newer, older)
	for _, known := range [][]webhook.Secret{{older}, {newer}, {other, newer}} {
		if err := webhook.Verify(both.header, both.body, known...); err != nil {
			t.Error(err)
		}
	}
	if err := webhook.Verify(both.header, both.body, other); !errors.Is(err, webhook.ErrNotVerified) {
		t.Errorf("with another secret: %v", err)
	}
}

func TestForgery(t *testing.T) {
	genuine := signed(t, secret)
	for name, change := range map[string]func(http.Header, []byte) []byte{
		"body":  func(_ http.Header, b []byte) []byte { return append(b, ' ') },
		"id":    func(h http.Header, b []byte) []byte { h.Set("webhook-id", "msg_1"); return b },
		"no id": func(h http.Header, b []byte) []byte { h.Del("webhook-id"); return b },
		"time": func(h http.Header, b []byte) []byte {
			h.Set("webhook-timestamp", fmt.Sprint(time.Now().Unix()-1))
			return b
		},
		"no time":         func(h http.Header, b []byte) []byte { h.Del("webhook-timestamp"); return b },
		"time is no time": func(h http.Header, b []byte) []byte { h.Set("webhook-timestamp", "now"); return b },
		"first moment":    func(h http.Header, b []byte) []byte { h.Set("webhook-timestamp", "-9223372036854775808"); return b },
		"last moment":     func(h http.Header, b []byte) []byte { h.Set("webhook-timestamp", "9223372036854775807"); return b },
		"no signature":    func(h http.Header, b []byte) []byte { h.Del("webhook-signature"); return b },
		"empty":           func(h http.Header, b []byte) []byte { h.Set("webhook-signature", "v1,"); return b },
		"version": func(h http.Header, b []byte) []byte {
			h.Set("webhook-signature", strings.Replace(h.Get("webhook-signature"), "v1,", "v2,", 1))
			return b
		},
	} {
		header := genuine.header.Clone()
		body := change(header, bytes.Clone(genuine.body))
		if err := webhook.Verify(header, body, secret); !errors.Is(err, webhook.ErrNotVerified) {
			t.Errorf("%s changed: %v", name, err)
		}
	}
}

func TestTolerance(t *testing.T) {
	genuine := signed(t, secret)
	at := func(offset time.Duration) (err error) {
		synctest.Test(t, func(t *testing.T) { // the bubble's clock begins in 2000
			seconds, _ := time.ParseDuration(genuine.header.Get("webhook-timestamp") + "s")
			time.Sleep(time.Until(time.Unix(0, 0).Add(seconds + offset)))
			err = webhook.Verify(genuine.header, genuine.body, secret)
		})
		return err
	}
	for _, offset := range []time.Duration{-5 * time.Minute, 0, 5 * time.Minute} {
		if err := at(offset); err != nil {
			t.Errorf("%v: %v", offset, err)
		}
	}
	for _, offset := range []time.Duration{-5*time.Minute - time.Second, 5*time.Minute + time.Second} {
		if err := at(offset); !errors.Is(err, webhook.ErrNotVerified) {
			t.Errorf("%v: %v", offset, err)
		}
	}
}

func TestSecretsThatAreRefused(t *testing.T) {
	for _, secrets := range [][]webhook.Secret{
		nil, {""}, {"whsec_"}, {"hunter2"}, {"whsec_aHVudGVyMg=="}, {"whsec_ not base64 hunter2 !"}, {secret, "hunter2"},
		{webhook.Secret("whsec_" + strings.Repeat("hunter22", 20))},
	} {
		_, err := webhook.New(webhook.Config{URL: "https://example.com", Secrets: secrets})
		verify := webhook.Verify(http.Header{}, nil, secrets...)
		if err == nil || verify == nil || errors.Is(verify, webhook.ErrNotVerified) {
			t.Errorf("%d secrets: %v, %v", len(secrets), err, verify)
		}
		if strings.Contains(fmt.Sprint(err, verify), "hunter2") {
			t.Errorf("the error has the secret: %v", err)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	key := strings.TrimPrefix(fmt.Sprintf("%d", []byte("hunter2hunter2hunter2hunter2")), "[")[:20]
	const canary = "whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg=="
	cfg := webhook.Config{URL: "https://example.com/path?token=hunter2", Secrets: []webhook.Secret{canary}}
	to, err := webhook.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.URL = ""
	var out bytes.Buffer
	for _, v := range []any{cfg, &cfg, cfg.Secrets, cfg.Secrets[0], &cfg.Secrets[0], to, map[string]any{"t": to}, struct{ T *webhook.Target }{to}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%t"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("", "v", v)
		if text, err := json.Marshal(v); err == nil {
			out.Write(text)
		}
	}
	out.WriteString(cfg.Secrets[0].String())
	for _, leak := range []string{"hunter2", "aHVudGVy", key, "68756e746572"} {
		if i := strings.Index(strings.ToLower(out.String()), strings.ToLower(leak)); i >= 0 {
			t.Errorf("%q is printed: %s", leak, out.String()[max(0, i-50):min(out.Len(), i+50)])
		}
	}
	if !strings.Contains(out.String(), "https://example.com\n") {
		t.Error("the target's host is not printed")
	}
}
