package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"

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

func newStamp(m Outgoing) stamp {
	if m.Key != "" {
		return keyedStamp(m)
	}
	u := uuid.Must(uuid.NewV7())
	head := binary.BigEndian.Uint64(u[:8])
	tail := binary.BigEndian.Uint64(u[8:])
	return stamp{
		ms: int64(head >> 16),
		a:  head & 0xfff, widthOfA: 3,
		b:    tail & (1<<62 - 1),
		uuid: u,
	}
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
