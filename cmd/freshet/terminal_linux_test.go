package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/redistest"
)

// terminal returns a pseudo-terminal and what has been written to it, which is
// complete once the terminal is closed.
func terminal(t *testing.T, columns uint16) (tty *os.File, written func() string) {
	t.Helper()
	pty, tty := pseudoTerminal(t, columns, 40)
	var text strings.Builder
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(&text, pty) }) // ends with an error when the terminal is closed
	return tty, func() string {
		tty.Close()
		reading.Wait()
		return text.String()
	}
}

// pseudoTerminal returns both ends of one: pty is the side of the user.
func pseudoTerminal(t *testing.T, columns, rows uint16) (pty, tty *os.File) {
	t.Helper()
	pty, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(pty.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(pty.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	resize(t, pty, columns, rows)
	t.Cleanup(func() { pty.Close() })
	return pty, tty
}

func resize(t *testing.T, pty *os.File, columns, rows uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(pty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		t.Fatal(err)
	}
}

// onTerminal runs a command on a terminal of 100 columns.
func onTerminal(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	tty, written := terminal(t, 100)
	if code := run(t.Context(), args, strings.NewReader(stdin), tty, tty); code != exitOK {
		t.Fatalf("freshet %s: exit code %d\n%s", strings.Join(args, " "), code, written())
	}
	return written()
}

func TestTailOnATerminal(t *testing.T) {
	server := redistest.Start(t)
	t.Setenv("REDIS_URL", server.URL())
	t.Setenv("TERM", "xterm")
	freshetOutput(t, "publish", "user_created", "--tenant", "00000000-0000-0000-0000-000000000001",
		"--data", `{"userId":"u-1","email":"ada@example.com","createdAt":"2025-12-04T10:00:00Z"}`)

	jsonl := onTerminal(t, "", "tail", "--from", "0", "--exit-at-end", "-o", "jsonl")
	if !strings.Contains(jsonl, "a***@example.com") {
		t.Errorf("personal data on a terminal:\n%s", jsonl)
	}
	if revealed := onTerminal(t, "", "tail", "--from", "0", "--exit-at-end", "-o", "jsonl", "--reveal"); !strings.Contains(revealed, "ada@example.com") {
		t.Errorf("--reveal does not:\n%s", revealed)
	}

	table := onTerminal(t, "", "tail", "--from", "0", "--exit-at-end")
	if !strings.Contains(table, "\x1b[1mTIME") || !strings.Contains(table, "00000000…") {
		t.Errorf("no style, or whole UUIDs:\n%q", table)
	}
	for line := range strings.Lines(table) {
		if n := len([]rune(strings.TrimRight(line, "\r\n"))); n > 100+len("\x1b[1m\x1b[0m") {
			t.Errorf("%d columns: %q", n, line)
		}
	}

	t.Setenv("NO_COLOR", "1")
	if plain := onTerminal(t, "", "tail", "--from", "0", "--exit-at-end"); strings.Contains(plain, "\x1b") {
		t.Errorf("style in spite of NO_COLOR:\n%q", plain)
	}
}

func TestPublishLinesOnATerminal(t *testing.T) {
	server := redistest.Start(t)
	var lines strings.Builder
	for n := range 1200 {
		fmt.Fprintf(&lines, `{"userId":"u-%d","email":"ada@example.com","createdAt":"2025-12-04T10:00:00Z"}`+"\n", n)
	}
	got := onTerminal(t, lines.String(), "publish", "user_created", "--tenant", "acme", "--data", "-", "--redis", server.URL())
	if !strings.Contains(got, "publishing") || !strings.Contains(got, "published 1200 of 1200 events") {
		t.Errorf("no progress, or no summary:\n%s", got)
	}
	if n := server.Do("XLEN", "crm:sync:user:user_created"); n != int64(1200) {
		t.Errorf("%v events, want 1200", n)
	}
}

// A name that is too long does not push the other columns off the terminal.
func TestTableFitsTheTerminal(t *testing.T) {
	server := redistest.Start(t)
	t.Setenv("REDIS_URL", server.URL())
	t.Setenv("NO_COLOR", "1")
	long := "crm:sync:" + strings.Repeat("a", 60) + ":updated"
	server.Do("XGROUP", "CREATE", long, "billing", "0", "MKSTREAM")
	server.Do("XGROUP", "CREATECONSUMER", long, "billing", "billing-1")
	table := onTerminal(t, "", "consumers", long)
	for _, want := range []string{"billing-1", "STATE", "live", "crm:sync:aaa", "aaa:updated"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %s in\n%s", want, table)
		}
	}
	for line := range strings.Lines(table) {
		if n := len([]rune(strings.TrimRight(line, "\r\n"))); n > 100 {
			t.Errorf("%d columns: %q", n, line)
		}
	}
	if wide := onTerminal(t, "", "consumers", long, "-o", "wide"); !strings.Contains(wide, long) {
		t.Errorf("-o wide shortens\n%s", wide)
	}
}
