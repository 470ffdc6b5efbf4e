package redisstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// pieceByPiece is a connection on which text comes, in parts of the sizes, by
// turns.
type pieceByPiece struct {
	net.Conn
	text  string
	sizes []byte
}

func (c *pieceByPiece) Read(p []byte) (int, error) {
	if c.text == "" {
		return 0, io.EOF
	}
	size := 1 << 20
	if len(c.sizes) > 0 {
		size = max(1, int(c.sizes[0]))
		c.sizes = append(c.sizes[1:], c.sizes[0])
	}
	n := copy(p[:min(size, len(p))], c.text)
	c.text = c.text[n:]
	return n, nil
}

// passedOn returns what the library gets to read of what the server says, and
// what is set aside, in order, until the end or what is no reply.
func passedOn(t *testing.T, said string, sizes []byte) (text string, reads []found, broken bool) {
	t.Helper()
	a := newAside()
	a.prefix = tokenPrefix
	a.begin()
	c := &repliesConn{Conn: &pieceByPiece{text: said, sizes: slices.Clone(sizes)}, aside: a}
	var got bytes.Buffer
	p := make([]byte, 100)
	for {
		n, err := c.Read(p)
		got.Write(p[:n])
		if errors.Is(err, io.EOF) {
			break
		}
		if broken = errors.Is(err, errNoReply); broken {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			t.Fatal("nothing was read, and no error")
		}
	}
	for n := range a.next {
		f, ok := a.take(tokenPrefix + fmt.Sprint(n))
		if !ok {
			t.Fatalf("nothing is under token %d of %d", n, a.next)
		}
		reads = append(reads, f)
	}
	return got.String(), reads, broken
}

const tokenPrefix = "\x00freshet-VNQBFMVDZSHGQ4XYHNNUYPD6XU-"

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

func entryText(e wire.Entry) string {
	var text strings.Builder
	fmt.Fprintf(&text, "*2\r\n%s*%d\r\n", bulk(e.ID.String()), 2*e.Fields.Len())
	for f := range e.Fields.All() {
		text.WriteString(bulk(f.Name) + bulk(f.Value))
	}
	return text.String()
}

// replyOf is the server's reply to a read that found the entries.
func replyOf(entries []wire.Entry) string {
	var streams int
	var text string
	for i := 0; i < len(entries); streams++ {
		n := i
		var list string
		for ; n < len(entries) && entries[n].Stream == entries[i].Stream; n++ {
			list += entryText(entries[n])
		}
		text += bulk(entries[i].Stream) + fmt.Sprintf("*%d\r\n", n-i) + list
		i = n
	}
	return fmt.Sprintf("%%%d\r\n", streams) + text
}

func someEntries(r *rand.Rand) (entries []wire.Entry) {
	most := []int{10, 300}[r.IntN(2)]
	for s := range 1 + r.IntN(3) {
		for i := range 1 + r.IntN(40) {
			e := wire.Entry{Stream: fmt.Sprint("stream-", s), ID: wire.ID{Ms: r.Uint64(), Seq: uint64(i)}}
			var fields []events.Field
			for f := range r.IntN(12) {
				fields = append(fields, events.Field{Name: fmt.Sprint("f", f), Value: strings.Repeat("\r\n$%*é", r.IntN(most))})
			}
			e.Fields = events.FieldsOf(fields...)
			entries = append(entries, e)
		}
	}
	return entries
}

// Whatever way the bytes come in: the entries of a read are set aside, in
// pieces of memory, with nothing else changed before or behind the reply.
func TestRepliesToReadsComeInPieces(t *testing.T) {
	const before, behind = "+OK\r\n>2\r\n$10\r\ninvalidate\r\n*0\r\n:1\r\n", "_\r\n-ERR no\r\n"
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		entries := someEntries(r)
		sizes := make([]byte, r.IntN(6))
		for i := range sizes {
			sizes[i] = byte(r.IntN(256))
		}
		said, longest := replyOf(entries), 0
		for _, e := range entries {
			longest = max(longest, len(entryText(e)))
		}
		got, reads, _ := passedOn(t, before+said+behind+said, sizes)
		if want := before + bulk(tokenPrefix+"0") + behind + bulk(tokenPrefix+"1"); got != want {
			t.Fatalf("seed %d: %q is passed on, want %q", seed, got, want)
		}
		for _, read := range reads {
			if read.err != nil {
				t.Fatalf("seed %d: %v", seed, read.err)
			}
			if !slices.EqualFunc(entries, read.entries, sameEntry) {
				t.Fatalf("seed %d: %d entries became others, or %d", seed, len(entries), len(read.entries))
			}
			sizes := piecesOf(said, read.entries)
			for i := 1; i < len(sizes); i++ {
				alone := longest > wire.Longest && max(sizes[i-1], sizes[i]) > wire.Longest // one of the two
				const least = pieceSize - 3*len("$8\r\nstream-0\r\n*99\r\n")                // of which the keys are no entry's
				if sizes[i-1] < least && sizes[i] < least && !alone {
					t.Fatalf("seed %d: a piece of %d bytes before another of %d", seed, sizes[i-1], sizes[i])
				}
			}
		}
	}
}

// piecesOf returns how long the pieces of memory are that the entries of a reply
// are of: what is as far apart there as in the reply is of the same.
func piecesOf(reply string, entries []wire.Entry) (sizes []int) {
	var at, from int
	var piece uintptr
	for _, e := range entries {
		text := entryText(e)
		before := at
		at += strings.Index(reply[at:], text)
		if fields := e.Fields.List(); len(fields) > 0 { // else it has nothing of any
			first := fields[0].Name
			name := at + strings.Index(text, bulk(first))
			if of := uintptr(unsafe.Pointer(unsafe.StringData(first))) - uintptr(name); sizes == nil || of != piece {
				piece, from = of, before
				sizes = append(sizes, 0)
			}
		}
		at += len(text)
		if sizes != nil {
			sizes[len(sizes)-1] = at - from
		}
	}
	return sizes
}

func sameEntry(a, b wire.Entry) bool {
	return a.Ref() == b.Ref() && a.Fields == b.Fields
}

// What is no reply to a read of streams is passed on byte for byte.
func TestOtherRepliesArePassedOn(t *testing.T) {
	for _, said := range []string{
		"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.4.0\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:5\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n",
		"%1\r\n$1\r\na\r\n*1\r\n*3\r\n:1\r\n:2\r\n:3\r\n",
		"%1\r\n$1\r\na\r\n*1\r\n$2\r\nab\r\n+OK\r\n",
		"%1\r\n$-1\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
		"%2\r\n$1\r\na\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*0\r\n$-1\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*0\r\n",
		"%1\r\n$0\r\n\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n", // of a stream without a name
		"%0\r\n", "*0\r\n", "*-1\r\n", "$-1\r\n", "_\r\n",
		"|1\r\n+ttl\r\n:3600\r\n%1\r\n$1\r\na\r\n$1\r\nb\r\n",
		"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n", // RESP2
		"=8\r\ntxt:some\r\n(3492890328409238509324850943850943825024385\r\n,1.5\r\n#t\r\n!3\r\nERR\r\n",
		"%1\r\n$1\r\na\r\n*1\r\n*2\r\n", "$5\r\nab", "%",
		bulk(strings.Repeat("x", 1<<20)) + ":1\r\n",
	} {
		for _, sizes := range [][]byte{nil, {1}, {3, 200}} {
			if got, _, _ := passedOn(t, said, sizes); !strings.HasPrefix(said, got) || len(got) < len(said) && !incomplete(said) {
				t.Errorf("of %.60q, in parts of %v, came %.60q", said, sizes, got)
			}
		}
	}
}

// incomplete tells whether text ends within a reply, the rest of which is
// waited for.
func incomplete(text string) bool {
	for _, ends := range []string{"*2\r\n", "%"} {
		if strings.HasSuffix(text, ends) {
			return true
		}
	}
	return false
}

// What is no reply ends the connection, and is not for the library.
func TestNoReplyEndsTheConnection(t *testing.T) {
	const before = "+OK\r\n$-1\r\n"
	for _, said := range []string{
		"HTTP/1.1 400 Bad Request\r\n\r\n%1\r\n$1\r\na\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*0\r\n", "<!DOCTYPE HTML>",
		"$99999999999\r\nx", "$1000000000\r\n", "$-5\r\n", "*-2\r\n", "$-\r\n", "*x\r\n", "*\r\n", "$1\n\r", "$01\r\na\r\n", "\r\n",
		"-" + strings.Repeat("x", longestLine),
	} {
		for _, sizes := range [][]byte{nil, {1}, {3, 200}} {
			got, reads, broken := passedOn(t, before+said, sizes)
			if got != before || len(reads) > 0 || !broken {
				t.Errorf("of %.60q, in parts of %v, came %.60q, and it is broken: %t", said, sizes, got, broken)
			}
		}
	}
}

// What is not understood is passed on from its beginning, however much of it
// was read as entries before.
func TestRepliesThatGoWrongArePassedOn(t *testing.T) {
	var many []wire.Entry
	for i := range 100 {
		many = append(many, userCreated(i, 500))
	}
	good, _ := strings.CutPrefix(replyOf(many), "%1")
	for _, wrong := range []struct{ replies, none string }{
		{"$-1\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*0\r\n+OK\r\n", ""},
		{bulk("b") + "*1\r\n:1\r\n+OK\r\n", ""},
		{bulk("b") + "*2\r\n" + entryText(many[0]) + "*2\r\n", "HTTP\r\n"},
	} {
		want := "%2" + good + wrong.replies
		for _, sizes := range [][]byte{nil, {200}} {
			got, reads, broken := passedOn(t, want+wrong.none, sizes)
			if got != want || len(reads) > 0 || broken != (wrong.none != "") {
				t.Errorf("of a reply that goes on with %.20q, %d of %d bytes came, %d reads, and it is broken: %t", wrong, len(got), len(want), len(reads), broken)
			}
		}
	}
}

// FuzzReplies: nothing that a server says makes the connection panic, hang or
// change what is no reply to a read; what is one can be parsed, or is refused.
func FuzzReplies(f *testing.F) {
	f.Add([]byte(replyOf(someEntries(rand.New(rand.NewPCG(1, 1))))), []byte{7, 255})
	f.Add([]byte("+OK\r\n*2\r\n:1\r\n$1\r\na\r\n%1\r\n$1\r\na\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$0\r\n\r\n"), []byte{1})
	f.Add([]byte("%1\r\n$-1\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"), []byte{9})
	f.Add([]byte("|1\r\n+a\r\n%1\r\n$1\r\na\r\n*1\r\n*2\r\n$3\r\n1-1\r\n_\r\n_\r\n:1\r\n"), []byte{})
	f.Fuzz(func(t *testing.T, said, sizes []byte) {
		whole, reads, broken := passedOn(t, string(said), nil)
		got, again, brokenAgain := passedOn(t, string(said), sizes)
		if got != whole || broken != brokenAgain {
			t.Fatalf("in parts of %v\n%q, %t\nelse\n%q, %t", sizes, got, brokenAgain, whole, broken)
		}
		if !slices.EqualFunc(reads, again, sameFound) {
			t.Fatalf("in parts of %v\n%v\nelse\n%v", sizes, again, reads)
		}
		if len(reads) == 0 && !strings.HasPrefix(string(said), whole) {
			t.Fatalf("%q became %q", said, whole)
		}
		for _, read := range reads {
			if (read.err == nil) == (len(read.entries) == 0) {
				t.Fatalf("%d entries and the error %v", len(read.entries), read.err)
			}
		}
	})
}
