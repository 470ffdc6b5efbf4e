package repair

import (
	"context"
	"fmt"
	"time"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redisstream"
)

// batch bounds what one command of the server does to dead letters.
const batch = 100

// RedriveConfig says how dead letters are redriven.
type RedriveConfig struct {
	Rate     float64         // dead letters a second; 0: as fast as it goes
	Progress func(total int) // may be nil; told how many have been dealt with so far
}

// RedriveResult says what became of dead letters.
type RedriveResult struct {
	Redriven int // given to their groups once more
	Gone     int // were no longer there: redriven or dropped by somebody else
	Refused  int // are no dead letters; they stay
}

func (r RedriveResult) total() int { return r.Redriven + r.Gone + r.Refused }

// Redrive gives each dead letter once more to the group that failed, and to no
// other: as the entry that it was, with the identity that it had, and with all
// attempts before it. It does so in the order of the original ids over all
// streams, so that each entity's events keep their order.
//
// A dead letter is redriven in one atomic step. After an error, or when ctx
// has ended, the rest are dead letters as before; of at most a hundred it is
// not known, and to redrive the same again is safe.
func (r *Repairer) Redrive(ctx context.Context, refs []inspect.DeadLetterRef, cfg RedriveConfig) (RedriveResult, error) {
	var result RedriveResult
	pace := newPace(cfg.Rate)
	all, err := runs(refs, pace.batch())
	if err != nil {
		return result, fmt.Errorf("redrive: %w", err)
	}
	for _, run := range all {
		if err := pace.wait(ctx, result.total()); err != nil {
			return result, err
		}
		moved, err := r.client.Redrive(ctx, run.stream, run.group, run.ids)
		if err != nil {
			return result, err
		}
		for _, what := range moved {
			switch what {
			case redisstream.Moved:
				result.Redriven++
			case redisstream.Gone:
				result.Gone++
			case redisstream.Foreign:
				result.Refused++
			}
		}
		if cfg.Progress != nil {
			cfg.Progress(result.total())
		}
	}
	return result, nil
}

// Drop deletes dead letters for good and returns how many of them were there.
func (r *Repairer) Drop(ctx context.Context, refs []inspect.DeadLetterRef) (dropped int, err error) {
	all, err := runs(refs, batch)
	if err != nil {
		return 0, fmt.Errorf("drop: %w", err)
	}
	for _, run := range all {
		n, err := r.client.DropLetters(ctx, run.stream, run.group, run.ids)
		if err != nil {
			return dropped, err
		}
		dropped += int(n)
	}
	return dropped, nil
}

// pace spreads work evenly over time.
type pace struct {
	rate  float64
	start time.Time
}

func newPace(rate float64) pace { return pace{rate, time.Now()} }

// batch is how many may be done at once without a jump that is noticed.
func (p pace) batch() int {
	if p.rate <= 0 {
		return batch
	}
	return min(max(int(p.rate/10), 1), batch)
}

// wait waits until the next may be done after so many.
func (p pace) wait(ctx context.Context, done int) error {
	if err := context.Cause(ctx); err != nil || p.rate <= 0 {
		return err
	}
	due := p.start.Add(time.Duration(float64(done) / p.rate * float64(time.Second)))
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
