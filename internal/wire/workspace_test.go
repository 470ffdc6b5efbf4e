package wire

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/freshet/freshet/events"
)

func TestLookupRemembersNothingWrong(t *testing.T) {
	var streams, names []string
	for _, typ := range events.Catalogue() {
		streams = append(streams, typ.Stream, typ.Stream+":acme", "hr:sync:role:role_updated")
		names = append(append(names, typ.Name, "unknown"), typ.Aliases...)
	}
	w := new(workspace)
	for range 20_000 {
		stream, name := streams[rand.IntN(len(streams))], names[rand.IntN(len(names))]
		for range 2 {
			if got, want := w.lookup(stream, name), events.Lookup(stream, name); got != want {
				t.Fatalf("%s on %s: %v, want %v", name, stream, got, want)
			}
		}
	}
}

func TestTenantsAreRememberedNotConfused(t *testing.T) {
	w := new(workspace)
	for range 2 {
		for _, tenant := range []string{"acme", "acme", "acm", "", "acme*", "acme", "null", "acme2", ".."} {
			got, want := w.checkTenantID(tenant), events.ValidTenant(tenant)
			if (got == nil) != (want == nil) || want != nil && got.Error() != want.Error() {
				t.Errorf("%q: %v, want %v", tenant, got, want)
			}
		}
	}
}

func TestEnvelopesAreAllocatedTogetherUnlessLong(t *testing.T) {
	w := new(workspace)
	var kept *events.Envelope
	for _, tt := range []struct {
		size    int
		refusal *Refusal
		want    float64
	}{{Longest, nil, 2}, {Longest + 1, nil, 2 * Together}, {0, &Refusal{}, 2 * Together}} {
		got := testing.AllocsPerRun(10, func() {
			for range 2 * Together {
				kept = w.envelope(tt.size, tt.refusal)
				if kept.Stream != "" {
					t.Fatal("used before")
				}
				kept.Stream = "used"
			}
		})
		if got != tt.want {
			t.Errorf("%d bytes, %v: %v allocations, want %v", tt.size, tt.refusal, got, tt.want)
		}
	}
	runtime.KeepAlive(kept)
}
