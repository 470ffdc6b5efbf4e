package telemetry

import (
	"strings"
	"sync"
	"unicode/utf8"
)

const (
	maxPairs   = 1000 // of stream and group, and streams, that have labels of their own
	maxLabel   = 200  // bytes of a label's value
	otherLabel = "other"
)

// bounded bounds the values of the labels stream and group: patterns match
// streams, and servers have groups, that nobody has counted. The first come
// have labels of their own, what is more is "other".
type bounded struct {
	mu     sync.Mutex
	pairs  map[[2]string]bool
	folded map[[2]string]bool // at most maxPairs of those that are "other"
}

func newBounded() *bounded {
	return &bounded{pairs: map[[2]string]bool{}, folded: map[[2]string]bool{}}
}

// pair returns the labels of a group on a stream, or of a stream where group
// is "".
func (b *bounded) pair(stream, group string) (string, string) {
	p := [2]string{label(stream), label(group)}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.pairs[p]:
	case len(b.pairs) < maxPairs:
		b.pairs[p] = true
	default:
		if len(b.folded) < maxPairs {
			b.folded[p] = true
		}
		if group != "" {
			group = otherLabel
		}
		return otherLabel, group
	}
	return p[0], p[1]
}

// label makes a label's value of text that others wrote: Prometheus takes
// UTF-8 alone.
func label(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if len(s) > maxLabel {
		s = strings.ToValidUTF8(s[:maxLabel], "") + "…"
	}
	return s
}
