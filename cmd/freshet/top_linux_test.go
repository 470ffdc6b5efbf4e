package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/redistest"
)

const topStream = "crm:sync:user:user_created"

// topRun is a freshet top on a terminal of its own.
type topRun struct {
	*process
	*screen
	pty, tty *os.File
	before   *unix.Termios
}

func startTop(t *testing.T, server *redistest.Server, wide, high int, args ...string) *topRun {
	t.Helper()
	pty, tty := pseudoTerminal(t, uint16(wide), uint16(high))
	t.Cleanup(func() { tty.Close() })
	before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	r := &topRun{process: &process{cmd: exec.Command("freshet", append([]string{"top", "--interval", "250ms"}, args...)...)}, pty: pty, tty: tty, before: before}
	r.cmd.Env = append(os.Environ(), "TERM=vt100", "REDIS_URL="+server.URL())
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = tty, tty, tty
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill() // fails when it has ended
		_ = r.cmd.Wait()
	})
	r.screen = newScreen(t, pty, wide, high)
	return r
}

func (r *topRun) press(t *testing.T, keys string) {
	t.Helper()
	if _, err := r.pty.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// shows waits until the screen has all the texts.
func (r *topRun) shows(t *testing.T, texts ...string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("wanted %q; the screen:\n%s%v", texts, r.screen, r.unknown())
		}
	}()
	eventually(t, strings.Join(texts, " and "), func() bool {
		now := r.String()
		for _, text := range texts {
			if !strings.Contains(now, text) {
				return false
			}
		}
		return true
	})
}

// lacks waits until the screen does not have the text any more.
func (r *topRun) lacks(t *testing.T, text string) {
	t.Helper()
	eventually(t, "no "+text, func() bool { return !strings.Contains(r.String(), text) })
}

// quit presses q and checks that the terminal is as it was.
func (r *topRun) quit(t *testing.T) {
	t.Helper()
	r.press(t, "q")
	if code := r.exit(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	after, err := unix.IoctlGetTermios(int(r.tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if *after != *r.before {
		t.Errorf("the terminal is left as %+v, was %+v", *after, *r.before)
	}
	r.tty.Close()
	<-r.drained
	raw := r.written()
	for _, pair := range [][2]string{{"\x1b[?1049h", "\x1b[?1049l"}, {"\x1b[?25l", "\x1b[?25h"}, {"\x1b[?2004h", "\x1b[?2004l"}} {
		if strings.LastIndex(raw, pair[0]) > strings.LastIndex(raw, pair[1]) {
			t.Errorf("%q was not taken back", pair[0])
		}
	}
	if strange := r.unknown(); len(strange) > 0 {
		t.Errorf("the terminal got what it does not know: %v", strange)
	}
}

func TestTop(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	first := ""
	for i := range 5 {
		id := server.Do("XADD", topStream, "*", "eventType", "user_created", "tenantId", "acme", "data", fmt.Sprintf(`{"userId":"u-%d","email":"ada@example.com"}`, i)).(string)
		if i == 0 {
			first = id
		}
	}
	server.Do("XGROUP", "CREATE", topStream, "readers", "0")
	server.Do("XREADGROUP", "GROUP", "readers", "worker-1", "COUNT", "2", "STREAMS", topStream, ">")
	server.Do("XADD", "crm:sync:role:role_created", "*", "a", "b")
	r := startTop(t, server, 100, 30)

	// The stream that nobody reads is the worst.
	r.shows(t, "2 streams, 1 groups, 1 live", "lag 3 | pending 2", ">! crm:sync:role:role_created", topStream, "Run: ")
	row := func(name string) string {
		for line := range strings.Lines(r.String()) {
			if strings.Contains(line, name) && strings.Contains(line, "readers") {
				return strings.Join(strings.Fields(strings.TrimLeft(line, "> !~")), " ")
			}
		}
		return ""
	}
	eventually(t, "rates, lag, age, pending, dead letters and consumers of the group", func() bool {
		got := row(topStream)
		return strings.HasPrefix(got, topStream+" readers 0 0 3 ") && strings.Contains(got, " s 2 ") && strings.HasSuffix(got, " s 0 0 0 1")
	})

	// From a stream to an entry, of which personal data is masked.
	r.press(t, "/user_cr\r")
	r.shows(t, "/user_cr  1 of 2")
	r.lacks(t, "role_created  ")
	r.press(t, "\r")
	r.shows(t, "length 5", "held back by readers: pending")
	r.press(t, "\r")
	r.shows(t, "readers on "+topStream, "all of them", "worker-1", "live")
	r.press(t, "\x1b[B\r") // down
	r.shows(t, "pending at worker-1 of readers", first, "DELIVERIES")
	r.press(t, "\r")
	r.shows(t, "entry "+first, "personal data masked", `"email":"a***@example.com"`, "pending at worker-1")
	if strings.Contains(r.written(), "ada@example.com") {
		t.Error("personal data on the screen")
	}
	for _, key := range []string{"\x7f", "\x1b", "\x1b[D"} { // backspace, escape, left
		r.press(t, key)
		r.lacks(t, map[string]string{"\x7f": "entry " + first, "\x1b": "DELIVERIES", "\x1b[D": "all of them"}[key])
	}
	r.press(t, "\x7f")
	r.shows(t, "groups by stream, worst first  /user_cr  1 of 2")
	r.press(t, "\x1b")
	r.shows(t, "role_created", topStream)

	r.press(t, "s")
	r.shows(t, "lag first", ">  "+topStream)
	r.press(t, "d")
	r.shows(t, "what the doctor found", "WARNING   refused")
	r.press(t, "?")
	r.shows(t, "help", "this help", "BEHIND", "quit")
	r.press(t, "?")
	r.lacks(t, "this help")

	// Paused, nothing changes until it is asked for.
	r.press(t, "p")
	r.shows(t, "PAUSED")
	server.Do("XREADGROUP", "GROUP", "readers", "worker-1", "STREAMS", topStream, ">")
	r.press(t, "r")
	r.shows(t, "PAUSED", "lag 0 | pending 5")
	r.press(t, "p")
	r.shows(t, "every 250ms")

	// It fits what it is given, and has more to say where there is room.
	r.lacks(t, "LENGTH")
	r.size(160, 45)
	resize(t, r.pty, 160, 45)
	r.shows(t, "LENGTH", "RETRIED", "Enter open")
	r.size(60, 12)
	resize(t, r.pty, 60, 12)
	r.shows(t, "2 streams", "…_created", "Enter open")
	r.quit(t)
}

func TestTopWithoutTheServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Do("XADD", topStream, "*", "a", "b")
	server.Do("XGROUP", "CREATE", topStream, "readers", "0")
	r := startTop(t, server, 80, 24)
	r.shows(t, "1 streams, 1 groups", "lag 1 ")

	// A server that hangs holds no key up, and what is shown is marked as old.
	server.Stop()
	r.shows(t, "OLD: ", topStream)
	r.press(t, "?")
	r.shows(t, "this help")
	r.press(t, "\x1b")
	r.lacks(t, "this help")
	server.Cont()
	r.lacks(t, "OLD: ")

	server.Kill()
	r.shows(t, "CONNECTION LOST", "What is shown is", topStream, "readers")
	r.press(t, "\r")
	r.shows(t, "length 1")
	server.Restart()
	server.Do("XADD", topStream, "*", "a", "b")
	server.Do("XADD", topStream, "*", "a", "b")
	server.Do("XGROUP", "CREATE", topStream, "readers", "0")
	r.lacks(t, "CONNECTION LOST")
	r.shows(t, "length 2", "lag 2 ")
	r.quit(t)
}

func TestTopNamesAreText(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const codes = "\x1b[2J\x1b[1;1HGOTCHA\r\n\u202e\x9b2J"
	stream := "crm:sync:" + codes
	server.Do("XADD", stream, "*", codes, codes, "data", codes)
	server.Do("XGROUP", "CREATE", stream, "g"+codes, "0")
	server.Do("XREADGROUP", "GROUP", "g"+codes, "c"+codes, "STREAMS", stream, ">")
	r := startTop(t, server, 200, 40)
	for _, shown := range []string{"1 streams", "held back by", "all of them", "pending at", "entry "} {
		r.shows(t, shown, `\x1b[2J\x1b[1;1HGOTCHA\x0d\x0a\u202e\x9b2J`)
		if line := r.line(0); !strings.HasPrefix(line, "freshet top") || strings.Contains(r.String(), "\nGOTCHA") {
			t.Fatalf("a name moved the cursor:\n%s", r.screen)
		}
		r.press(t, "\r")
	}
	r.press(t, "d")
	r.shows(t, "what the doctor found")
	if raw := r.written(); strings.Contains(raw, "\x1b[1;1HGOTCHA") || strings.Contains(raw, "\u202e") || strings.Contains(raw, "\x9b2J") {
		t.Error("a name reached the terminal as it is")
	}
	r.quit(t)
}

func TestTopEndsOnASignal(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := startTop(t, server, 80, 24)
	r.shows(t, "There are no streams.")
	r.signal(t, syscall.SIGTERM)
	if code := r.exit(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if after, err := unix.IoctlGetTermios(int(r.tty.Fd()), unix.TCGETS); err != nil || *after != *r.before {
		t.Errorf("the terminal is left as %+v (%v), was %+v", after, err, *r.before)
	}
}

func TestTopWithoutColors(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Do("XADD", topStream, "*", "a", "b")
	colors := func(env string) bool {
		pty, tty := pseudoTerminal(t, 80, 24)
		r := &topRun{process: &process{cmd: exec.Command("freshet", "top")}, pty: pty, tty: tty}
		r.cmd.Env = append(os.Environ(), "TERM=xterm-256color", "REDIS_URL="+server.URL(), env)
		r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = tty, tty, tty
		r.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		if err := r.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		r.screen = newScreen(t, pty, 80, 24)
		eventually(t, "the stream is shown", func() bool { return strings.Contains(r.String(), "nobody reads it") })
		r.press(t, "q")
		if code := r.exit(t); code != exitOK {
			t.Errorf("exit code %d", code)
		}
		tty.Close()
		<-r.drained
		return regexp.MustCompile(`\x1b\[([0-9]+;)*31(;[0-9]+)*m`).MatchString(r.written())
	}
	if !colors("COLORTERM=") {
		t.Error("no colors on a terminal that has some")
	}
	if colors("NO_COLOR=1") {
		t.Error("colors in spite of NO_COLOR")
	}
}

func TestTopWantsATerminal(t *testing.T) {
	server := redistest.Start(t)
	t.Setenv("REDIS_URL", server.URL())
	tests := map[string]struct {
		terminal bool
		term     string
		args     []string
		want     string
	}{
		"a pipe":        {false, "xterm", nil, "needs a terminal"},
		"a dumb one":    {true, "dumb", nil, "TERM is dumb"},
		"JSON":          {true, "xterm", []string{"-o", "json"}, "groups --watch -o json"},
		"too often":     {true, "xterm", []string{"--interval", "1ms"}, "--interval: at least"},
		"not a time":    {true, "xterm", []string{"--interval", "soon"}, "--interval"},
		"no such flags": {true, "xterm", []string{"--sort"}, "--sort"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TERM", test.term)
			var stdout, stderr strings.Builder
			args := append([]string{"top"}, test.args...)
			code := 0
			if test.terminal {
				tty, _ := terminal(t, 100)
				defer tty.Close()
				code = run(t.Context(), args, tty, tty, &stderr)
			} else {
				code = run(t.Context(), args, strings.NewReader(""), &stdout, &stderr)
			}
			if code != exitUsage || !strings.Contains(stderr.String(), test.want) || stdout.Len() > 0 {
				t.Errorf("exit code %d: %s%s", code, stderr.String(), stdout.String())
			}
		})
	}
}
