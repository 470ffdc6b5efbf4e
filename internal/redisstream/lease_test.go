package redisstream_test

import (
	"testing"
	"time"
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
