package redisstream

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/internal/wire"
)

// setAside puts something aside and returns its token.
func setAside(a *aside, stream string) string {
	reply := string(a.put(found{entries: []wire.Entry{{Stream: stream}}}))
	_, token, _ := strings.Cut(reply, "\r\n")
	return strings.TrimSuffix(token, "\r\n")
}

// What a call is to take is there until it ends, and what none can take is not.
func TestWhatIsSetAsideStaysAsLongAsItsCall(t *testing.T) {
	a := newAside()
	there := func(want int) {
		t.Helper()
		if len(a.found) != want {
			t.Errorf("%d are set aside, want %d", len(a.found), want)
		}
	}
	takes := func(token, stream string) {
		t.Helper()
		f, ok := a.take(token)
		if !ok || f.entries[0].Stream != stream {
			t.Errorf("taken: %v, %v, want what is of %s", ok, f, stream)
		}
		if _, ok := a.take(token); ok {
			t.Error("taken twice")
		}
	}
	setAside(a, "nobody's")
	there(0)

	first := a.begin()
	one := setAside(a, "first")
	second := a.begin()
	two, three := setAside(a, "second"), setAside(a, "first, or the second")
	takes(two, "second")
	a.end(second)
	there(2) // the first may take both
	takes(one, "first")
	third := a.begin()
	a.end(first)
	there(0)
	if _, ok := a.take(three); ok {
		t.Error("taken after the calls that it may have been for")
	}
	four := setAside(a, "third")
	takes(four, "third")
	setAside(a, "given up")
	there(1)
	a.end(third)
	there(0)
	if len(a.calls) > 0 {
		t.Errorf("%d calls are under way", len(a.calls))
	}
}

// Of what looks like a token only those that were made are taken.
func TestTokensAreThoseThatWereMade(t *testing.T) {
	a, other := newAside(), newAside()
	defer a.end(a.begin())
	defer other.end(other.begin())
	token := setAside(a, "s")
	for _, no := range []string{
		"", "0", a.prefix, a.prefix + "1", a.prefix + "x", a.prefix + "-1", token + "1", token + "\r\n", strings.ToUpper(token),
		strings.TrimPrefix(token, "\x00"), setAside(other, "s"), a.prefix + "18446744073709551616", a.prefix + "18446744073709551615",
	} {
		if _, ok := a.take(no); ok {
			t.Errorf("%q is taken for a token", no)
		}
	}
	if _, ok := a.take(token); !ok {
		t.Error("the token is none")
	}
}

func TestCallsAtOnceTakeTheirOwn(t *testing.T) {
	a := newAside()
	var calls sync.WaitGroup
	for i := range 50 {
		calls.Go(func() {
			for j := range 100 {
				call := a.begin()
				token := setAside(a, fmt.Sprint(i, j))
				if f, ok := a.take(token); !ok || f.entries[0].Stream != fmt.Sprint(i, j) {
					t.Errorf("call %d of %d: %v %v", j, i, ok, f)
				}
				setAside(a, "given up")
				a.end(call)
			}
		})
	}
	calls.Wait()
	if len(a.found) > 0 || len(a.calls) > 0 {
		t.Errorf("%d are set aside, %d calls are under way", len(a.found), len(a.calls))
	}
}

// A read that is given up leaves nothing behind, and nothing of it gets to
// those that come after it.
func TestReadsThatAreGivenUp(t *testing.T) {
	server := redistest.Start(t)
	c, err := Open(t.Context(), Config{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	add := func(stream string) wire.ID {
		added := c.AddBatch(t.Context(), []Addition{{Stream: stream, Fields: userCreated(0, 10).Fields.List()}})[0]
		if added.Err != nil {
			t.Error(added.Err)
		}
		return added.ID
	}
	ctx, giveUp := context.WithCancel(t.Context())
	var reads sync.WaitGroup
	for range 8 {
		reads.Go(func() {
			if entries, _, err := c.ReadAfter(ctx, []Position{{Stream: "late"}}, 10, time.Minute); err == nil {
				t.Errorf("%d entries of a read that was given up", len(entries))
			}
		})
	}
	waitFor(t, func() bool { return calls(c.aside) == 8 })
	giveUp()
	reads.Wait()
	add("late") // what they waited for
	want := add("s")
	for range 100 {
		entries, _, err := c.ReadAfter(t.Context(), []Position{{Stream: "s"}}, 10, 0)
		if err != nil || len(entries) != 1 || entries[0].Stream != "s" || entries[0].ID != want {
			t.Fatalf("%v, %v", entries, err)
		}
	}
	c.aside.mu.Lock()
	defer c.aside.mu.Unlock()
	if len(c.aside.found) > 0 || len(c.aside.calls) > 0 {
		t.Errorf("%d are set aside, %d calls are under way", len(c.aside.found), len(c.aside.calls))
	}
}

func calls(a *aside) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.calls)
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited for 10 s")
		}
	}
}

// Whatever a server answers to a read, that read has it or an error that is no
// longer than a line, at no cost, and the next command is answered.
func TestWhatAServerAnswersToReads(t *testing.T) {
	entry := func(stream string) wire.Entry { return userCreatedOn(stream) }
	good := []wire.Entry{entry("a"), entry("b")}
	longID := strings.Repeat("9", 5000)
	for _, test := range []struct {
		name, answer string
		want         []wire.Entry
		err          string
	}{
		{"entries", replyOf(good), good, ""},
		{"entries of one", replyOf(good[1:]), good[1:], ""},
		{"nothing", "_\r\n", nil, ""},
		{"as version 2 does", "*1\r\n*2\r\n" + bulk("a") + "*1\r\n" + entryText(good[0]), good[:1], ""},
		{"not in order", replyOf([]wire.Entry{entry("b"), entry("a")}), nil, `"a"`},
		{"not asked for", replyOf([]wire.Entry{entry("a"), entry("c")}), nil, `"c"`},
		{"no entry", "%1\r\n" + bulk("a") + "*1\r\n*2\r\n" + bulk("1-x") + "*0\r\n", nil, `"a"`},
		{"a token", bulk("\x00freshet-reads-0"), nil, errNoRead.Error()},
		{"a string", "+OK\r\n", nil, errNoRead.Error()},
		{"an error", "-ERR nothing of the kind\r\n", nil, "nothing of the kind"},
		{"a map", "%1\r\n+a\r\n+b\r\n", nil, "redis"},
		{"a long id", "%1\r\n" + bulk("a") + "*1\r\n*2\r\n" + bulk(longID) + "*0\r\n", nil, longID[:41]},
		{"a long id, as version 2 does", "*1\r\n*2\r\n" + bulk("a") + "*1\r\n*2\r\n" + bulk(longID) + "*2\r\n" + bulk("a") + bulk("b"), nil, longID[:41]},
		{"a string longer than may be", "$537919489\r\n1", nil, errNoReply.Error()},
		{"a string of 4 GB", "$4294967296\r\n1", nil, errNoReply.Error()},
		{"a string of more than there is", "$99999999999999999999\r\n1", nil, errNoReply.Error()},
		{"a string of less than nothing", "$-7\r\n1", nil, errNoReply.Error()},
		{"a list of 9 M", "*9000000\r\n:1\r\n", nil, errNoReply.Error()},
		{"a list of 4 G", "*4294967296\r\n:1\r\n", nil, errNoReply.Error()},
		{"a map of 4 G", "%4294967296\r\n:1\r\n", nil, errNoReply.Error()},
		{"9 M entries", "%1\r\n" + bulk("a") + "*9000000\r\n" + entryText(good[0]), nil, errNoReply.Error()},
		{"4 G entries", "%1\r\n" + bulk("a") + "*4294967296\r\n" + entryText(good[0]), nil, errNoReply.Error()},
		{"4 G fields", "%1\r\n" + bulk("a") + "*1\r\n*2\r\n" + bulk("1-1") + "*4294967296\r\n" + bulk("a"), nil, errNoReply.Error()},
		{"a field of 4 GB", "%1\r\n" + bulk("a") + "*1\r\n*2\r\n" + bulk("1-1") + "*2\r\n" + bulk("a") + "$4294967296\r\n1", nil, errNoReply.Error()},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := Open(t.Context(), Config{URL: answering(t, map[string]string{"XREAD": test.answer}, nil)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			entries, _, err := c.ReadAfter(t.Context(), []Position{{Stream: "a"}, {Stream: "b"}}, 10, 0)
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; took > 8<<20 { // it may make a connection
				t.Errorf("the read took %d KB", took>>10)
			}
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want %q", err, test.err)
			}
			if err != nil && len(err.Error()) > 150 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			if !slices.EqualFunc(entries, test.want, sameEntry) {
				t.Errorf("%v, want %v", entries, test.want)
			}
			if err := c.do(t.Context(), c.rc.B().Ping().Build()).Error(); err != nil {
				t.Errorf("after it: %v", err)
			}
		})
	}
}

func userCreatedOn(stream string) wire.Entry {
	e := userCreated(1, 10)
	e.Stream = stream
	return e
}

// answering is the URL of a server that has one answer to each command, and
// tells heard, if there is one, of each.
func answering(t *testing.T, answers map[string]string, heard func(command string)) (url string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	usual := map[string]string{
		"HELLO": "%2\r\n+version\r\n+7.0.0\r\n+proto\r\n:3\r\n",
		"PING":  "+PONG\r\n",
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for r := bufio.NewReader(conn); ; {
					command, err := commandFrom(r)
					if err != nil {
						return
					}
					if heard != nil {
						heard(command)
					}
					if _, err := conn.Write([]byte(cmp.Or(answers[command], usual[command], "+OK\r\n"))); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "redis://" + l.Addr().String()
}

// commandFrom reads a command and returns its name.
func commandFrom(r *bufio.Reader) (name string, err error) {
	var n int
	if _, err := fmt.Fscanf(r, "*%d\r\n", &n); err != nil {
		return "", err
	}
	for i := range n {
		var size int
		if _, err := fmt.Fscanf(r, "$%d\r\n", &size); err != nil {
			return "", err
		}
		arg := make([]byte, size+2)
		for j := range arg {
			if arg[j], err = r.ReadByte(); err != nil {
				return "", err
			}
		}
		if i == 0 {
			name = string(arg[:size])
		}
	}
	return name, nil
}

// No token stands for two replies, whether somebody may want the first or not.
func TestTokensAreOfOneReply(t *testing.T) {
	a := newAside()
	first := string(a.put(found{}))
	defer a.end(a.begin())
	if second := string(a.put(found{})); second == first {
		t.Errorf("%q twice", first)
	}
}
