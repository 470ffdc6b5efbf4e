package freshet

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/freshet/freshet/internal/redisstream"
)

// Durability is what must have happened to an event before its publish is
// acknowledged. The zero value is [Memory].
//
// Each level costs more than the one before: Memory a round trip, Replicas the
// way to a replica and back, Disk a write to the disk as well, which with
// appendfsync everysec takes a second. Concurrent publishes to one stream
// share the wait, so it is latency that is paid, not throughput; publish from
// many goroutines, or with [Bus.PublishBatch].
//
// What is not reached within the context's deadline ends as [ErrUnknown], with
// a [DurabilityError] where the server has said who has the event. None of the
// levels makes Redis strongly consistent: a failover that promotes another
// replica than those that have the event loses it.
type Durability struct {
	level    level
	replicas int
}

type level int

const (
	inMemory level = iota
	onReplicas
	onDisk
)

// Memory acknowledges what the master has. A failover may lose what had not
// been replicated, a power loss what had not been written to disk, and with
// appendfsync everysec a kill of the server what it had not written yet because
// it was syncing.
var Memory Durability

// Replicas acknowledges what n replicas have too, at least one. An event
// survives a failover to one of those n.
func Replicas(n int) Durability { return Durability{onReplicas, n} }

// Disk acknowledges what is in the append-only file of the master, and in
// those of n replicas, which may be 0. An event survives a power loss. It
// needs Redis 7.2 or newer and appendonly yes, which [Open] finds out.
func Disk(n int) Durability { return Durability{onDisk, n} }

// String returns memory, replicas(2), disk or disk(1), which
// [ParseDurability] reads.
func (d Durability) String() string {
	switch {
	case d.level == onReplicas:
		return fmt.Sprintf("replicas(%d)", d.replicas)
	case d.level == onDisk && d.replicas != 0:
		return fmt.Sprintf("disk(%d)", d.replicas)
	case d.level == onDisk:
		return "disk"
	}
	return "memory"
}

// ParseDurability reads what [Durability.String] writes.
func ParseDurability(s string) (Durability, error) {
	name, rest, counted := strings.Cut(s, "(")
	n := 0
	if counted {
		digits, closed := strings.CutSuffix(rest, ")")
		count, err := strconv.ParseUint(digits, 10, 16)
		if !closed || err != nil {
			return Durability{}, fmt.Errorf("durability %q: want a number of replicas in the brackets, such as replicas(1)", s)
		}
		n = int(count)
	}
	var d Durability
	switch {
	case name == "memory" && !counted:
	case name == "replicas" && counted:
		d = Replicas(n)
	case name == "replicas":
		return Durability{}, errors.New("durability replicas: say how many, such as replicas(1)")
	case name == "disk":
		d = Disk(n)
	default:
		return Durability{}, fmt.Errorf("durability %q: want memory, replicas(N), disk or disk(N)", s)
	}
	return d, d.validate()
}

func (d Durability) validate() error {
	switch {
	case d.level == onReplicas && d.replicas < 1:
		return fmt.Errorf("durability %s: want at least 1 replica", d)
	case d.replicas < 0:
		return fmt.Errorf("durability %s: the number of replicas must not be negative", d)
	}
	return nil
}

// DurabilityError is the cause of an [ErrUnknown]: the event is on the
// stream, and had not reached its durability when the time was up.
type DurabilityError struct {
	Want     Durability
	Replicas int  // that have the event: in memory, or with [Disk] in their append-only files
	Disk     bool // the master has it in its append-only file; told with [Disk] alone
}

func (e *DurabilityError) Error() string {
	text := fmt.Sprintf("%s: %d of %d replicas have it", e.Want, e.Replicas, e.Want.replicas)
	switch {
	case e.Want.level != onDisk:
		return text
	case e.Disk:
		return text + " on disk, the master has"
	}
	return text + " on disk, the master has not"
}

// explain gives err its public type where the server has told how far an
// event got.
func (d Durability) explain(stream string, err error) error {
	var unconfirmed *redisstream.UnconfirmedError
	if errors.As(err, &unconfirmed) && unconfirmed.Err == nil {
		return fmt.Errorf("%s: %w", stream, &DurabilityError{Want: d, Replicas: unconfirmed.Replicas, Disk: unconfirmed.Disk})
	}
	return err
}
