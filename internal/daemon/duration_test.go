package daemon_test

import (
	"testing"
	"time"

	"github.com/freshet/freshet/internal/daemon"
)

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"30d": 30 * day, "1d12h": 36 * time.Hour, "0d": 0, "106751d": 106751 * day, "1d0.5s": day + time.Second/2,
		"30s": 30 * time.Second, "1m30s": 90 * time.Second, "-1s": -time.Second,
	} {
		if got, err := daemon.ParseDuration(text); got != want || err != nil {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "d", "30", "-1d", "1.5d", "1d-1s", "12h1d", "1d1d", "106752d", "106751d24h", "99999999999999999999d", "1 d", "1dx", "xd",
	} {
		if got, err := daemon.ParseDuration(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}
