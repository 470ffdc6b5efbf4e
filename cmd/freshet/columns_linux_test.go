package main

import (
	"strconv"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/redistest"
)

// TestTablesAtEightyColumns: who is called at night sees every figure that
// matters in the smallest terminal, and all of them in a pipe.
func TestTablesAtEightyColumns(t *testing.T) {
	server := redistest.Start(t)
	t.Setenv("REDIS_URL", server.URL())
	t.Setenv("NO_COLOR", "1")
	const (
		stream   = "crm:sync:role:role_permissions_changed"
		group    = "customer-relations-copy"
		consumer = "customer-relations-7c9f4d6b8-x2x9q"
	)
	for n := range 30 {
		server.Do("XADD", stream, strconv.Itoa(1764842400000+n)+"-0", "eventType", "role_permissions_changed")
	}
	server.Do("XGROUP", "CREATE", stream, group, "0")
	server.Do("XREADGROUP", "GROUP", group, consumer, "COUNT", "17", "STREAMS", stream, ">")
	for n := range 4 {
		id := strconv.Itoa(1764842300000+n) + "-0"
		server.Do("XADD", "{"+stream+"}:dlq:"+group, id, "eventType", "role_permissions_changed", "freshet-stream", stream, "freshet-id", id,
			"freshet-group", group, "freshet-consumer", consumer, "freshet-attempts", "8", "freshet-reason", "max_attempts",
			"freshet-error", "save the role: dial tcp 10.0.0.4:5432: connect: connection refused",
			"freshet-first-failed", "2025-12-04T09:00:00.000Z", "freshet-last-failed", "2025-12-04T10:00:00.000Z")
	}

	for _, test := range []struct {
		command []string
		columns []string // in this order
		cells   []string
		piped   []string
	}{
		{[]string{"streams"}, []string{"STREAM", "LENGTH", "OLDEST", "HELD BACK BY"}, []string{"_changed", "30", " d ago"}, []string{stream, "NEWEST", "SIZE", "IN/S"}},
		{[]string{"groups"}, []string{"GROUP", "STREAM", "LAG", "BEHIND", "PENDING", "CONSUMERS"}, []string{group, "_changed", "13", " d ", "17", "1 live"}, []string{stream, group, "DEAD LETTERS", "LOST", "4, last"}},
		{[]string{"consumers"}, []string{"CONSUMER", "GROUP", "STREAM", "PENDING", "LAST SEEN", "STATE"}, []string{"-x2x9q", "-copy", "_changed", "17", "live"}, []string{stream, group, consumer}},
		{[]string{"pending", stream, group}, []string{"ID", "CONSUMER", "DELIVERIES", "IDLE", "PUBLISHED", "STATE"}, []string{"1764842400000-0", "-x2x9q", " d ago", "pending"}, []string{consumer}},
		{[]string{"lag", "--max", "100"}, []string{"GROUP", "STREAM", "LAG", "BEHIND", "STATE"}, []string{group, "permissions_changed", "13", " d ", "ok"}, []string{stream, group}},
		{[]string{"dlq", "ls"}, []string{"COUNT", "GROUP", "STREAM", "EXAMPLE", "ERROR"}, []string{"4", "-copy", "_changed", "1764842300003-0", "save the role"}, []string{stream, group, "FIRST SEEN", "LAST SEEN", "2025-12-04 10:00:00Z", "connection refused"}},
	} {
		tty, written := terminal(t, 80)
		if code := run(t.Context(), test.command, nil, tty, tty); code != exitOK {
			t.Fatalf("%v: exit code %d\n%s", test.command, code, written())
		}
		table := written()
		lines := strings.Split(strings.ReplaceAll(table, "\r\n", "\n"), "\n")
		for len(lines) > 0 && strings.HasPrefix(lines[0], "no room for ") {
			lines = lines[1:]
		}
		if len(lines) < 2 {
			t.Fatalf("%v: no table\n%s", test.command, table)
		}
		hasInOrder(t, lines[0], test.columns)
		hasInOrder(t, lines[1], test.cells)
		for _, line := range lines {
			if n := len([]rune(line)); n > 80 {
				t.Errorf("%v: %d columns: %q", test.command, n, line)
			}
		}
		for _, all := range []string{freshetOutput(t, test.command...), wideOn(t, test.command)} {
			for _, want := range test.piped {
				if !strings.Contains(all, want) {
					t.Errorf("%v: no %q in\n%s", test.command, want, all)
				}
			}
		}
	}
}

// wideOn is what a command shows in a narrow terminal with -o wide.
func wideOn(t *testing.T, command []string) string {
	t.Helper()
	tty, written := terminal(t, 80)
	if code := run(t.Context(), append(append([]string{}, command...), "-o", "wide"), nil, tty, tty); code != exitOK {
		t.Fatalf("%v: exit code %d\n%s", command, code, written())
	}
	return written()
}

func hasInOrder(t *testing.T, line string, words []string) {
	t.Helper()
	rest := line
	for _, word := range words {
		_, after, found := strings.Cut(rest, word)
		if !found {
			t.Errorf("no %q in %q, or not in order", word, line)
			return
		}
		rest = after
	}
}

func TestColumnsThatDoNotFit(t *testing.T) {
	header := []string{"GROUP", "STREAM", "LAG", "RETRIED", "LOST"}
	for _, test := range []struct {
		widths   []int
		terminal int
		want     []int
		hidden   string
	}{
		{[]int{8, 26, 7, 7, 4}, 80, []int{8, 26, 7, 7, 4}, ""},
		{[]int{40, 40, 7, 7, 4}, 80, []int{27, 27, 7, 7, 4}, ""}, // 8 between them
		{[]int{8, 90, 7, 7, 4}, 80, []int{8, 46, 7, 7, 4}, ""},
		{[]int{40, 40, 7, 7, 4}, 60, []int{22, 21, 7, 7, 4}, "RETRIED"},
		{[]int{40, 40, 19, 7, 4}, 50, []int{14, 13, 19, 7, 4}, "RETRIED LOST"}, // a figure is never shortened
		{[]int{40, 40, 7, 7, 4}, 10, []int{10, 10, 7, 7, 4}, "RETRIED LOST"},   // the line is cut
	} {
		got, hidden := fitColumns(header, test.widths, lesserColumns, test.terminal)
		var out []string
		for i, h := range hidden {
			if h {
				out = append(out, header[i])
			}
		}
		for i := range got {
			if got[i] != test.want[i] {
				t.Errorf("%v at %d: %v, want %v", test.widths, test.terminal, got, test.want)
				break
			}
		}
		if strings.Join(out, " ") != test.hidden {
			t.Errorf("%v at %d: left out %q, want %q", test.widths, test.terminal, out, test.hidden)
		}
	}
}
