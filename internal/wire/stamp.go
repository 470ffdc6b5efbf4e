package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// stamp is the unique part of an event's id. Stamps of one process sort, as
// text, in the order in which they were made; those of an idempotency key
// come before all others.
type stamp struct {
	ms   string
	rest string // base36, of fixed width
	uuid string
}

// id writes the stamp in the form of one shape, "evt_1735987200000_0abc...".
func (s stamp) id(prefix, separator string) string {
	return prefix + s.ms + separator + s.rest
}

func newStamp(m Outgoing) stamp {
	if m.Key != "" {
		return keyedStamp(m)
	}
	u := uuid.Must(uuid.NewV7())
	head := binary.BigEndian.Uint64(u[:8])
	tail := binary.BigEndian.Uint64(u[8:])
	return stamp{
		ms:   decimalOf(int64(head >> 16)),
		rest: base36(head&0xfff, 3) + base36(tail&(1<<62-1), 12),
		uuid: u.String(),
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
		ms:   "0",
		rest: base36(binary.BigEndian.Uint64(sum)&(1<<62-1), 12) + base36(binary.BigEndian.Uint64(sum[8:])&(1<<62-1), 12),
		uuid: u.String(),
	}
}

func base36(n uint64, width int) string {
	s := strconv.FormatUint(n, 36)
	return strings.Repeat("0", max(0, width-len(s))) + s
}

func decimalOf(n int64) string { return strconv.FormatInt(n, 10) }
