package redisstream_test

import (
	"testing"
	"time"

	"github.com/freshet/freshet/internal/redisstream"
)

func TestLeaseHasOneOwnerAndAGrowingToken(t *testing.T) {
	c, server := start(t)
	ctx := t.Context()
	acquire := func(owner string, ttl time.Duration) (int64, bool) {
		t.Helper()
		token, ok, err := c.AcquireLease(ctx, "g", owner, ttl)
		if err != nil {
			t.Fatal(err)
		}
		return token, ok
	}
	renew := func(token int64) bool {
		t.Helper()
		ok, err := c.RenewLease(ctx, "g", token, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}

	first, ok := acquire("a", time.Minute)
	if !ok || first == 0 {
		t.Fatalf("free lease: %d, %t", first, ok)
	}
	if _, ok := acquire("b", time.Minute); ok {
		t.Error("b took a's lease")
	}
	if again, ok := acquire("a", 20*time.Millisecond); !ok || again != first {
		t.Errorf("a again: %d, %t, want %d", again, ok, first)
	}
	eventually(t, "the lease runs out", func() bool { return server.Do("EXISTS", "freshet:{g}:active") == int64(0) })
	if renew(first) {
		t.Error("renewed a lease that ran out")
	}
	second, ok := acquire("b", time.Minute)
	if !ok || second <= first {
		t.Errorf("b: %d, %t, want more than %d", second, ok, first)
	}
	if renew(first) || !renew(second) {
		t.Error("renewed for the earlier owner, or not for the present one")
	}
	if err := c.ReleaseLease(ctx, "g", first); err != nil || server.Do("HGET", "freshet:{g}:active", "owner") != "b" {
		t.Errorf("the earlier owner released the present one's lease, or %v", err)
	}
	if err := c.ReleaseLease(ctx, "g", second); err != nil {
		t.Fatal(err)
	}
	if third, ok := acquire("a", time.Minute); !ok || third <= second {
		t.Errorf("after release: %d, %t, want more than %d", third, ok, second)
	}
	if other, ok, err := c.AcquireLease(ctx, "another group", "b", time.Minute); !ok || other == 0 || err != nil {
		t.Errorf("another group's lease: %d, %t, %v", other, ok, err)
	}
}

// When all keys are lost, an owner that has not noticed must not go on beside
// the next one.
func TestLeaseTokensGrowWhereTheLastOneWasLost(t *testing.T) {
	c, server := start(t)
	before, _, err := c.AcquireLease(t.Context(), "g", "a", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	server.Do("FLUSHALL")
	time.Sleep(2 * time.Millisecond) // tokens are as fine as the clock that they follow
	after, ok, err := c.AcquireLease(t.Context(), "g", "b", time.Minute)
	if !ok || err != nil || after <= before {
		t.Errorf("token %d, %t, %v, want more than %d", after, ok, err, before)
	}
	if ok, err := c.RenewLease(t.Context(), "g", before, time.Minute); ok || err != nil {
		t.Errorf("the earlier owner renewed: %t, %v", ok, err)
	}
}

func TestSettingThatStandsIsReadFromAServerOutOfMemory(t *testing.T) {
	c, server := start(t)
	setting := func(value string, replace bool) (string, error) {
		return c.Setting(t.Context(), "g", "tenants", value, replace)
	}
	if _, err := setting("a", false); err != nil {
		t.Fatal(err)
	}
	server.Do("CONFIG", "SET", "maxmemory", "1")
	for _, replace := range []bool{false, true} {
		if got, err := setting("a", replace); err != nil || got != "a" {
			t.Errorf("replace %t: got %q, %v", replace, got, err)
		}
	}
	if got, err := setting("b", false); err != nil || got != "a" {
		t.Errorf("another value: got %q, %v", got, err)
	}
	if _, err := setting("b", true); redisstream.ClassOf(err) != redisstream.OutOfMemory {
		t.Errorf("replaced by another: %v", err)
	}
	if _, err := c.Setting(t.Context(), "h", "tenants", "a", false); redisstream.ClassOf(err) != redisstream.OutOfMemory {
		t.Errorf("a new setting: %v", err)
	}
}

func TestSettingBelongsToTheFirstUnlessReplaced(t *testing.T) {
	c, _ := start(t)
	for _, step := range []struct {
		name, value string
		replace     bool
		want        string
	}{
		{"tenants", "a,b", false, "a,b"},
		{"tenants", "c", false, "a,b"},
		{"other", "x", false, "x"},
		{"tenants", "c", true, "c"},
		{"tenants", "a,b", false, "c"},
	} {
		got, err := c.Setting(t.Context(), "g", step.name, step.value, step.replace)
		if err != nil || got != step.want {
			t.Errorf("%+v: got %q, %v", step, got, err)
		}
	}
}
