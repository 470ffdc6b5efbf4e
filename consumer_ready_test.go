package freshet_test

import (
	"strings"
	"testing"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
)

// TestReady: a consumer tells a readiness probe when it cannot work, and why.
func TestReady(t *testing.T) {
	bus, server := start(t)
	c := bus.Consumer(quick("g"))
	onUser(c, func(*freshet.Event[events.UserCreated]) error { return nil })
	if err := c.Ready(); err == nil || !strings.Contains(err.Error(), "not started") {
		t.Errorf("before Run: %v", err)
	}
	running := runConsumer(t, c)
	eventually(t, "ready", func() bool { return c.Ready() == nil })
	server.Do("CONFIG", "SET", "min-replicas-to-write", "1")
	var err error
	eventually(t, "not ready", func() bool { err = c.Ready(); return err != nil })
	if !strings.Contains(err.Error(), "group g: reading fails since") || !strings.Contains(err.Error(), "NOREPLICAS") {
		t.Errorf("refused: %v", err)
	}
	server.Do("CONFIG", "SET", "min-replicas-to-write", "0")
	eventually(t, "ready again", func() bool { return c.Ready() == nil })
	if err := running.stop(); err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("after Run: %v", err)
	}
}
