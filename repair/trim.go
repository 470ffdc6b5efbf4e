package repair

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

// ErrNoStream is the error of a stream that was named and does not exist.
var ErrNoStream = redisstream.ErrNoStream

const (
	// A group whose consumers have all been silent for so long is served by
	// nobody. A consumer that lives asks for entries all the time.
	unservedAfter = 5 * time.Minute
	// The part of a server's memory cap above which it is warned of.
	memoryWarning = 0.8
	// So many of the largest streams are named then.
	largestStreams = 5
)

// TrimConfig says which entries are removed.
type TrimConfig struct {
	Streams   []string      // keys or Redis globs; none: all streams of the suite
	OlderThan time.Duration // at least so old by their ids and the server's clock; required
	DryRun    bool          // remove nothing, and count what would be removed
}

// TrimReport says what was removed, and what was not.
type TrimReport struct {
	Streams []TrimmedStream // by key; of the suite's own those that exist
	Memory  []MemoryUse     // servers that are near their cap, of those that tell
	Largest []StreamMemory  // when any is: the streams that take most, the largest first
}

// TrimmedStream says what was removed from a stream.
type TrimmedStream struct {
	Stream  string
	Length  int64 // entries before
	Removed int64
	Oldest  Age    // of the first entry that is left; the zero value: none is left
	Groups  int    // that read the stream; without any, age alone decides
	Holding []Hold // groups that have not settled what is old enough, the one that holds most first
	Err     error  // why not everything was looked at, or removed
}

// Age is the id of an entry, and its age.
type Age struct {
	ID  string
	Age time.Duration
}

// Hold is a group that keeps entries from being removed.
type Hold struct {
	Group     string
	Lowest    Age           // of what it has not settled
	Pending   bool          // Lowest was delivered and not acknowledged; else it is unread
	Gone      bool          // the group was destroyed, and is created again where it was when its consumer comes
	Consumers int           // that the group has
	LastSeen  time.Duration // since any of them last asked for something; meaningless without consumers
}

// Served tells whether anybody works for the group.
func (h Hold) Served() bool { return h.Consumers > 0 && h.LastSeen < unservedAfter }

// MemoryUse is how much of its memory a server uses. At its cap it refuses
// what is published or, unless Policy is noeviction, may delete whole
// streams.
type MemoryUse struct {
	Server    string // of a cluster, host:port; else ""
	Used, Max int64  // bytes
	Policy    string // maxmemory-policy
}

// StreamMemory is the estimated size of a stream.
type StreamMemory struct {
	Stream string
	Bytes  int64
}

// Trim removes the entries of streams that are old enough and that every
// group of the stream has settled: delivered and acknowledged, or
// dead-lettered. What a group has not settled stays, however old, and all
// that is newer with it; the report names that group. One that somebody
// destroyed counts as long as its place is kept: it is created again there when
// its consumer comes. Readers without a group
// count for nothing. The keys of Freshet's own, dead letters among them, are
// never trimmed.
//
// Each stream is trimmed in small atomic steps, which look at the groups anew:
// several processes may do it at once, and after an error, or when ctx ends,
// what has been removed was rightly removed. One stream that fails does not
// keep the others from being trimmed; its Err says why. The error of Trim
// itself says that the streams could not be listed, or that ctx ended.
func (r *Repairer) Trim(ctx context.Context, cfg TrimConfig) (TrimReport, error) {
	var report TrimReport
	if cfg.OlderThan <= 0 {
		return report, errors.New("trim: OlderThan must be above 0")
	}
	patterns := cfg.Streams
	if len(patterns) == 0 {
		patterns = events.Streams()
	}
	names, err := r.client.Keys(ctx, patterns)
	if err != nil {
		return report, fmt.Errorf("trim: %w", err)
	}
	kept, err := r.client.KeptGroups(ctx)
	if err != nil {
		return report, fmt.Errorf("trim: %w", err)
	}
	of := map[string][]string{}
	for _, ref := range kept {
		of[ref.Stream] = append(of[ref.Stream], ref.Group)
	}
	for _, name := range names {
		trimmed := r.trimStream(ctx, name, cfg, of[name])
		if err := context.Cause(ctx); err != nil {
			return report, err
		}
		if len(cfg.Streams) == 0 && errors.Is(trimmed.Err, ErrNoStream) {
			continue
		}
		report.Streams = append(report.Streams, trimmed)
	}
	r.watchMemory(ctx, &report)
	return report, nil
}

func (r *Repairer) trimStream(ctx context.Context, stream string, cfg TrimConfig, kept []string) TrimmedStream {
	trim := r.client.Trim
	if cfg.DryRun {
		trim = r.client.TrimDryRun
	}
	found, err := trim(ctx, stream, cfg.OlderThan, kept)
	trimmed := TrimmedStream{
		Stream: stream, Length: found.Length, Removed: found.Removed,
		Oldest: ageOf(found.Oldest, found.Now), Groups: len(found.Groups), Err: err,
	}
	if err != nil {
		return trimmed
	}
	slices.SortStableFunc(found.Groups, func(a, b redisstream.Unsettled) int { return a.Lowest.Compare(b.Lowest) })
	for _, group := range found.Groups {
		if group.Lowest == (wire.ID{}) || group.Lowest.Compare(found.Cutoff) >= 0 {
			continue
		}
		hold := Hold{Group: group.Group, Lowest: ageOf(group.Lowest, found.Now), Pending: group.Pending, Gone: group.Gone}
		if group.Gone {
			trimmed.Holding = append(trimmed.Holding, hold)
			continue
		}
		hold.LastSeen, hold.Consumers, err = r.client.LastSeen(ctx, stream, group.Group)
		switch {
		case redisstream.ClassOf(err) == redisstream.NoGroup: // it has gone meanwhile
		case err != nil:
			trimmed.Err = err
		default:
			trimmed.Holding = append(trimmed.Holding, hold)
		}
	}
	return trimmed
}

func ageOf(id wire.ID, now time.Time) Age {
	if id == (wire.ID{}) {
		return Age{}
	}
	// Ids need not be times: one may lie in the future, or far before any clock.
	ms := max(now.UnixMilli()-int64(min(id.Ms, math.MaxInt64)), 0)
	age := time.Duration(min(ms, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
	return Age{id.String(), age}
}

// watchMemory completes the report by servers that will soon refuse what is
// published. A server that does not tell is not warned of.
func (r *Repairer) watchMemory(ctx context.Context, report *TrimReport) {
	servers, err := r.client.Facts(ctx)
	if err != nil {
		return // the streams have said so
	}
	for _, s := range servers {
		if s.Max > 0 && float64(s.Used) > memoryWarning*float64(s.Max) {
			report.Memory = append(report.Memory, MemoryUse{Server: s.Addr, Used: s.Used, Max: s.Max, Policy: s.Policy})
		}
	}
	if len(report.Memory) == 0 {
		return
	}
	names := make([]string, len(report.Streams))
	for i, s := range report.Streams {
		names[i] = s.Stream
	}
	for i, bytes := range r.client.MemoryUsage(ctx, names) {
		if bytes.Value > 0 {
			report.Largest = append(report.Largest, StreamMemory{names[i], bytes.Value})
		}
	}
	slices.SortStableFunc(report.Largest, func(a, b StreamMemory) int { return cmp.Compare(b.Bytes, a.Bytes) })
	report.Largest = report.Largest[:min(len(report.Largest), largestStreams)]
}
