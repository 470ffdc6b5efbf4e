package wire

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// stamp is the unique part of an event's id. Stamps of one process sort, as
// text, in the order in which they were made; those of an idempotency key
// come before all others.
type stamp struct {
	ms       int64
	a, b     uint64 // the rest
	widthOfA int    // in digits of base 36; b has 12
	uuid     uuid.UUID
}

// id returns the stamp in the form of one shape, "evt_1735987200000_0abc...".
// It is a string of its own, because receipts are kept.
func (w *writing) id(prefix, separator string) string {
	b := append(w.scratch[:0], prefix...)
	b = strconv.AppendInt(b, w.stamp.ms, 10)
	b = append(b, separator...)
	b = appendBase36(b, w.stamp.a, w.stamp.widthOfA)
	w.scratch = appendBase36(b, w.stamp.b, 12)
	return string(w.scratch)
}

// Moment is when an event is published: its default time, and its place in the
// order of what the process publishes.
type Moment struct {
	at   time.Time
	tick int64 // a 4096th of a millisecond, or what follows the latest one
}

var latestTick atomic.Int64 // of all moments

// Moments returns the first of so many moments in a row, for events that are
// encoded in any order.
func Moments(n int) Moment {
	now := time.Now()
	tick := now.UnixMilli()<<12 | int64(now.Nanosecond())%1e6<<12/1e6
	for {
		latest := latestTick.Load()
		first := max(tick, latest+1)
		if latestTick.CompareAndSwap(latest, first+int64(n)-1) {
			return Moment{now, first}
		}
	}
}

// Plus returns the moment that is n behind m.
func (m Moment) Plus(n int) Moment { return Moment{m.at, m.tick + int64(n)} }

// randoms read the system's random bytes for some hundred stamps at once:
// asking for those of each is a tenth of its event's encoding.
var randoms = sync.Pool{New: func() any { return bufio.NewReaderSize(rand.Reader, 4<<10) }}

// random returns 62 random bits.
func random() uint64 {
	r := randoms.Get().(*bufio.Reader)
	defer randoms.Put(r)
	b, err := r.Peek(8)
	if err != nil {
		panic(err) // impossible: crypto/rand does not fail
	}
	n := binary.BigEndian.Uint64(b)
	_, _ = r.Discard(len(b)) // they are there
	return n & (1<<62 - 1)
}

// newStamp returns a stamp that is a UUID of version 7 in one of its forms.
func newStamp(m Outgoing) stamp {
	if m.Key != "" {
		return keyedStamp(m)
	}
	tick, b := m.Moment.tick, random()
	s := stamp{ms: tick >> 12, a: uint64(tick & 0xfff), widthOfA: 3, b: b}
	binary.BigEndian.PutUint64(s.uuid[:8], uint64(s.ms)<<16|7<<12|s.a)
	binary.BigEndian.PutUint64(s.uuid[8:], 2<<62|b)
	return s
}

// keyedStamp depends on tenant, type and key alone.
func keyedStamp(m Outgoing) stamp {
	name := m.Payload.Type().Name
	if name == "" {
		name = "inter-app:" + address(m.Payload).EventType
	} else if app := application(m.Payload); app != "" {
		name = app + ":" + name
	}
	h := sha256.New()
	for _, part := range []string{m.Tenant, name, m.Key} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write([]byte(part))
	}
	sum := h.Sum(nil)
	u := uuid.UUID(sum[16:32])
	u[6] = u[6]&0x0f | 0x80 // version 8: of our own making
	u[8] = u[8]&0x3f | 0x80
	return stamp{
		a: binary.BigEndian.Uint64(sum) & (1<<62 - 1), widthOfA: 12,
		b:    binary.BigEndian.Uint64(sum[8:]) & (1<<62 - 1),
		uuid: u,
	}
}

// appendBase36 appends n in base 36 with zeros before it, if it has fewer
// digits than width.
func appendBase36(b []byte, n uint64, width int) []byte {
	var text [13]byte // fits every uint64
	i := len(text)
	for n > 0 || len(text)-i < width {
		i--
		text[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[n%36]
		n /= 36
	}
	return append(b, text[i:]...)
}
