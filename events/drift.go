package events

import (
	"slices"
	"strings"
)

// Covered tells whether a key is one of those that [Streams] covers.
func Covered(key string) bool {
	return slices.Contains(ExplicitStreams(), key) || strings.Contains(key, ":sync:") || BaseStream(key) != key ||
		within(key, creditStream) || within(key, assignmentStream) || within(key, interAppStream)
}

// NearestStream returns the stream of the catalogue that a key is, or most
// likely is meant to be: a misspelling, or a name that single publishers use.
// It returns "" for a key that has nothing to do with the catalogue.
func NearestStream(key string) string {
	base := BaseStream(key)
	app, _, _ := strings.Cut(base, ":")
	var names []string
	for _, t := range catalogue {
		names = append(names, strings.Replace(t.Stream, "{app}", app, 1))
	}
	if slices.Contains(names, base) || Covered(base) && !strings.Contains(base, ":sync:") {
		return key
	}
	if len(base) > 200 {
		return ""
	}
	best, least := "", len(base)
	for _, name := range names {
		if plainKey(name) == plainKey(base) {
			return name
		}
		if d := edits(strings.ToLower(base), strings.ToLower(name)); d < least {
			best, least = name, d
		}
	}
	// What begins like a stream of the catalogue is taken for one; anything else
	// may be somebody else's stream.
	if strings.Contains(base, ":sync:") || least <= 2 && len(base) >= 8 {
		return best
	}
	return ""
}

// plainKey leaves out how words are parted and capitalized.
func plainKey(key string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(":._-/ ", r) {
			return -1
		}
		return r
	}, strings.ToLower(key))
}
