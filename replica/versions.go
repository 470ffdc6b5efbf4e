package replica

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/freshet/freshet/events"
)

// version orders events about one row: by event time, then by identity. The
// zero version means that no event said it.
type version struct {
	micros   int64 // since 1970
	identity string
}

func versionOf(env *events.Envelope) version {
	return version{env.Time.UnixMicro(), env.Identity}
}

func (v version) compare(o version) int {
	if c := cmp.Compare(v.micros, o.micros); c != 0 {
		return c
	}
	return cmp.Compare(v.identity, o.identity)
}

func (v version) isZero() bool { return v == version{} }

func (v version) time() string {
	t := time.UnixMicro(v.micros).UTC()
	if v.micros%1000 == 0 {
		return milliseconds(t)
	}
	return t.Format(time.RFC3339Nano)
}

// String returns the version as it stands in updated_from.
func (v version) String() string { return v.identity + " @ " + v.time() }

func parseVersion(s string) (version, error) {
	i := strings.LastIndex(s, " @ ")
	if i < 0 {
		return version{}, fmt.Errorf("updated_from is not identity @ time")
	}
	return newVersion(s[i+len(" @ "):], s[:i])
}

func newVersion(at, identity string) (version, error) {
	t, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		return version{}, fmt.Errorf("time of a version: %w", err)
	}
	return version{t.UnixMicro(), identity}, nil
}

// A row's versions are stored as a JSON array of strings, newest first, each
// for the columns that one event wrote last:
//
//	["3f"]                                              all by updated_from
//	["3b", "4 2025-12-04T10:00:00.000Z evt_1764842400000"]  one by an older event
//
// The number is a bit set in hexadecimal: bit 0 is the first column of the
// table that is not key. Columns that no event mentioned are in none.

// encodeVersions returns the stored form, given the version of each column
// and the newest of the row.
func encodeVersions(columns []version, newest version) string {
	type group struct {
		version version
		set     uint64
	}
	groups := make([]group, 1, 4)
	groups[0].version = newest
next:
	for i, v := range columns {
		if v.isZero() {
			continue
		}
		for g := range groups {
			if groups[g].version == v {
				groups[g].set |= 1 << i
				continue next
			}
		}
		groups = append(groups, group{v, 1 << i})
	}
	if len(groups) == 1 {
		return `["` + strconv.FormatUint(groups[0].set, 16) + `"]`
	}
	slices.SortFunc(groups, func(a, b group) int { return b.version.compare(a.version) })
	b := []byte{'['}
	for i, g := range groups {
		if i > 0 {
			b = append(b, ',')
		}
		line := strconv.FormatUint(g.set, 16)
		if i > 0 {
			line += " " + g.version.time() + " " + g.version.identity
		}
		b = appendQuoted(b, line)
	}
	return string(append(b, ']'))
}

// appendQuoted appends s as a JSON string, in the form of encoding/json.
func appendQuoted(b []byte, s string) []byte {
	plain := func(c rune) bool {
		return ' ' <= c && c < utf8.RuneSelf && !strings.ContainsRune(`"\<>&`, c)
	}
	if strings.IndexFunc(s, func(c rune) bool { return !plain(c) }) < 0 {
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	}
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings always have a JSON form
	}
	return append(b, text...)
}

// decodeVersions sets the versions of columns from the stored form.
func decodeVersions(text string, newest version, columns []version) error {
	lines, err := splitVersions(text)
	if err != nil {
		return fmt.Errorf("versions: %w", err)
	}
	for _, line := range lines {
		bits, event, older := strings.Cut(line, " ")
		set, err := strconv.ParseUint(bits, 16, len(columns))
		if err != nil {
			return fmt.Errorf("versions: %w", err)
		}
		v := newest
		if older {
			at, identity, _ := strings.Cut(event, " ")
			if v, err = newVersion(at, identity); err != nil {
				return fmt.Errorf("versions: %w", err)
			}
		}
		for i := range columns {
			if set&(1<<i) != 0 {
				columns[i] = v
			}
		}
	}
	return nil
}

// splitVersions opens the array. Without escapes, quotes are only around its
// strings.
func splitVersions(text string) (lines []string, err error) {
	inner, opened := strings.CutPrefix(text, `["`)
	inner, closed := strings.CutSuffix(inner, `"]`)
	if opened && closed && !strings.Contains(inner, `\`) {
		return strings.Split(inner, `","`), nil
	}
	err = json.Unmarshal([]byte(text), &lines)
	return lines, err
}
