package redisstream

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// An entry that is none fails the read that found it, and nothing else.
func TestEntriesThatAreNoneFailTheirRead(t *testing.T) {
	good := replyOf(someEntries(rand.New(rand.NewPCG(1, 1))))
	list := func(of ...string) string { return fmt.Sprintf("*%d\r\n", len(of)) + strings.Join(of, "") }
	entry := list(bulk("1-1"), list(bulk("a"), bulk("b")))
	for name, none := range map[string]string{
		"an id of no form": list(bulk("x-1"), list(bulk("a"), bulk("b"))),
		"an empty id":      list(bulk(""), list(bulk("a"), bulk("b"))),
		"a large id":       list(bulk("99999999999999999999-1"), list(bulk("a"), bulk("b"))),
		"odd fields":       list(bulk("1-1"), list(bulk("a"))),
		"null fields":      list(bulk("1-1"), "_\r\n"),
		"a null field":     list(bulk("1-1"), list(bulk("a"), "$-1\r\n")),
		"a number":         list(bulk("1-1"), list(bulk("a"), ":1\r\n")),
		"a list":           list(bulk("1-1"), list(bulk("a"), entry)),
		"more than two":    list(bulk("1-1"), list(bulk("a"), bulk("b")), bulk("c")),
		"a string":         bulk("1-1"),
	} {
		long := list(bulk("1-2"), list(bulk("a"), bulk(strings.Repeat("x", pieceSize))))
		said := "%2\r\n" + bulk("first") + list(entry) + bulk("second") + list(entry, none, long, entry)
		for _, sizes := range [][]byte{nil, {1}, {3, 200}} {
			got, reads, _ := passedOn(t, good+said+":1\r\n"+good, sizes)
			if want := bulk(tokenPrefix+"0") + bulk(tokenPrefix+"1") + ":1\r\n" + bulk(tokenPrefix+"2"); got != want {
				t.Fatalf("%s: %q is passed on", name, got)
			}
			if a, b := reads[0], reads[2]; a.err != nil || len(a.entries) == 0 || !sameFound(a, b) {
				t.Errorf("%s: the reads beside it have %d entries, %v and %d, %v", name, len(a.entries), a.err, len(b.entries), b.err)
			}
			if err := reads[1].err; err == nil || !strings.Contains(err.Error(), `"second"`) || reads[1].entries != nil {
				t.Errorf("%s: the read has %d entries and the error %v", name, len(reads[1].entries), err)
			}
		}
	}
}

// Memory is taken for what there is, and not for longer than it is needed.
func TestLargeEntriesCostTheirSize(t *testing.T) {
	const size = 32 << 20
	value := func(n int) events.Field { return events.Field{Name: "a", Value: strings.Repeat("x", n)} }
	for name, test := range map[string]struct {
		fields []events.Field
		most   uint64 // times the size
	}{
		"one value":   {[]events.Field{value(size)}, 4},
		"many values": {slices.Repeat([]events.Field{value(1000)}, size/1000), 6}, // how long it is no header tells: the buffer doubles
	} {
		entry := wire.Entry{Stream: "s", ID: wire.ID{Ms: 1}, Fields: events.FieldsOf(test.fields...)}
		small := wire.Entry{Stream: "s", ID: wire.ID{Ms: 2}, Fields: events.FieldsOf(value(1))}
		a := newAside()
		call := a.begin()
		line := &pieceByPiece{text: replyOf([]wire.Entry{small, entry, small}) + "+PONG\r\n+PONG\r\n"}
		c := &repliesConn{Conn: line, aside: a}
		buf := make([]byte, 1<<20)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for {
			if _, err := c.Read(buf); err != nil {
				break
			}
		}
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > test.most*size {
			t.Errorf("%s: reading took %d MB", name, took>>20)
		}
		if f := a.found[0]; len(f.entries) != 3 || !sameEntry(f.entries[1], entry) {
			t.Errorf("%s: %d entries, %v", name, len(f.entries), f.err)
		}
		a.end(call)
		line.text = ""
		runtime.GC()
		runtime.ReadMemStats(&before)
		runtime.KeepAlive(c)
		c = nil
		runtime.GC()
		runtime.ReadMemStats(&after)
		if kept := int64(before.HeapAlloc) - int64(after.HeapAlloc); kept > size/4 {
			t.Errorf("%s: the connection keeps %d MB after the reply", name, kept>>20)
		}
	}
}

// What a reply promises and does not bring costs nothing.
func TestPromisesCostNothing(t *testing.T) {
	for _, said := range []string{
		"%999999999\r\n" + bulk("s") + "*999999999\r\n*2\r\n" + bulk("1-1") + "*1999999998\r\n" + bulk("a"),
		"%1\r\n" + bulk("s") + "*1\r\n*2\r\n$999999999\r\n1-1",
		"%1\r\n$999999999\r\ns",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		passedOn(t, said, nil)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 100<<10 {
			t.Errorf("%.60q took %d KB", said, took>>10)
		}
	}
}

// However many values an entry has, and in however many parts it comes, each is
// looked at once.
func TestManyFieldsThatTrickleIn(t *testing.T) {
	trickle := func(n int) (took time.Duration) {
		var fields []events.Field
		for i := range n {
			fields = append(fields, events.Field{Name: "n", Value: fmt.Sprint(i)})
		}
		entry := wire.Entry{Stream: "s", ID: wire.ID{Ms: 1}, Fields: events.FieldsOf(fields...)}
		text := replyOf([]wire.Entry{entry})
		start := processorTime(t)
		_, reads, _ := passedOn(t, text, []byte{1})
		took = processorTime(t) - start
		if len(reads) != 1 || !slices.EqualFunc(reads[0].entries, []wire.Entry{entry}, sameEntry) {
			t.Fatalf("%d reads", len(reads))
		}
		return took
	}
	// Looked at again with each part, ten times as many would take a hundred
	// times as long.
	if few, many := trickle(2000), trickle(20_000); many > 30*few {
		t.Errorf("2,000 fields took %s, 20,000 took %s", few, many)
	}
}

// processorTime is what this process has used: other than the time that passes,
// it is the same on a busy machine.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func sameFound(a, b found) bool {
	return fmt.Sprint(a.err) == fmt.Sprint(b.err) && slices.EqualFunc(a.entries, b.entries, sameEntry)
}
