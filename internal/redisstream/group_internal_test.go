package redisstream

import (
	"log/slog"
	"testing"

	"github.com/freshet/freshet/internal/wire"
)

// What is settled while lists of pending entries are made is not taken for open
// when they come, whichever of them ends first.
func TestSettledWhileListsAreMade(t *testing.T) {
	g := NewGroup(nil, GroupConfig{Group: "g", Consumer: "c", Log: slog.New(slog.DiscardHandler)})
	g.subscribe("s1", false)
	g.subscribe("s2", false)
	entries := []wire.Entry{{Stream: "s1", ID: wire.ID{Ms: 1}}, {Stream: "s1", ID: wire.ID{Ms: 2}}, {Stream: "s2", ID: wire.ID{Ms: 1}}}
	g.handedOut(entries)

	first, second := g.listPending(), g.listPending()
	g.settled(entries[0].Ref())
	first()
	g.settled(entries[2].Ref())
	g.handedOut(entries) // as the second list has them
	second()

	for stream, want := range map[string]wire.ID{"s1": {Ms: 2}, "s2": {}} {
		if _, lowest := g.cursor(stream, Kept{}); lowest != want {
			t.Errorf("%s: the lowest that is open is %v, want %v", stream, lowest, want)
		}
	}
	if g.settledMeanwhile != nil {
		t.Error("what is settled is remembered though no list is made")
	}
}
