package inspect

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Verdict says in a sentence or two how the bus is: the worst that was found
// and what mends it, or that all is well.
func (d *Diagnosis) Verdict() string {
	if d.Healthy() {
		return d.well()
	}
	if len(d.Findings) == 0 {
		return "The server was not reached."
	}
	worst := d.Findings[0]
	text := worst.Summary + "."
	switch {
	case worst.Command != "":
		text += " Run: " + worst.Command
	case worst.Advice != "":
		text += " " + worst.Advice + "."
	}
	return text + d.others()
}

// well says what there is, where nothing is wrong with it.
func (d *Diagnosis) well() string {
	if d.Snapshot == nil || len(d.Snapshot.Streams) == 0 {
		return "Healthy: there are no streams of the suite yet."
	}
	var entries int64
	groups := map[string]bool{}
	var todo work
	for _, s := range d.Snapshot.Streams {
		entries += max(s.Length, 0)
		for _, g := range s.Groups {
			groups[g.Name] = true
		}
		if w := workOf(s.Groups...); !w.oldest.IsZero() && (todo.oldest.IsZero() || w.oldest.Before(todo.oldest)) {
			todo.oldest = w.oldest
		}
	}
	text := fmt.Sprintf("Healthy: %s on %s, read by %s", countOf(entries, "event"), countOf(int64(len(d.Snapshot.Streams)), "stream"), countOf(int64(len(groups)), "group"))
	if todo.oldest.IsZero() {
		return text + "; all are settled."
	}
	return fmt.Sprintf("%s; the oldest that is not settled is %s old.", text, span(d.At.Sub(todo.oldest)))
}

// others counts the findings behind the worst that somebody has to act on.
func (d *Diagnosis) others() string {
	counts := map[Severity]int{}
	for _, f := range d.Findings[1:] {
		counts[f.Severity]++
	}
	var parts []string
	if n := counts[Critical]; n > 0 {
		parts = append(parts, fmt.Sprintf("%d more critical", n))
	}
	if n := counts[Warning]; n > 0 {
		parts = append(parts, countOf(int64(n), "warning"))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// countOf is a number of things: "1 event", "1,204 events".
func countOf(n int64, thing string) string {
	plurals := thing + "s"
	if stem, ok := strings.CutSuffix(thing, "y"); ok {
		plurals = stem + "ies"
	}
	return thousands(n) + " " + plural(n, thing, plurals)
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// thousands writes a number as people read it: 1,204.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return sign + digits
}

// span is a duration in its two greatest units: "3 h 12 min".
func span(d time.Duration) string {
	units := []struct {
		name string
		of   time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute}, {"s", time.Second}}
	for n, unit := range units {
		if d < unit.of {
			continue
		}
		text := fmt.Sprintf("%d %s", d/unit.of, unit.name)
		if n+1 < len(units) {
			if rest := d % unit.of / units[n+1].of; rest > 0 {
				text += fmt.Sprintf(" %d %s", rest, units[n+1].name)
			}
		}
		return text
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}
