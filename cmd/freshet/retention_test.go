package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet/freshet/repair"
)

// The job runs soon after the start and then every ten minutes, and says of
// each cause once that it is there.
func TestRetentionWarnsOnceOfEachCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const stream = "credit-events"
		held := func(h repair.Hold) repair.TrimReport {
			h.Group, h.Lowest = "billing", repair.Age{ID: "1-0", Age: time.Since(time.Unix(0, 0))}
			return repair.TrimReport{Streams: []repair.TrimmedStream{{Stream: stream, Length: 5, Groups: 1, Holding: []repair.Hold{h}}}}
		}
		behind, unserved := held(repair.Hold{Consumers: 1}), held(repair.Hold{Consumers: 1, LastSeen: time.Hour})
		full := repair.TrimReport{Memory: []repair.MemoryUse{{Used: 9 << 30, Max: 10 << 30, Policy: "noeviction"}}}
		wrong := repair.TrimReport{Streams: []repair.TrimmedStream{{Stream: stream, Err: errors.New("WRONGTYPE")}, {Stream: "new", Err: repair.ErrNoStream}}}
		removed := repair.TrimReport{Streams: []repair.TrimmedStream{{Stream: stream, Length: 5, Removed: 3, Groups: 1}, {Stream: "more", Length: 5, Removed: 4, Groups: 1}}}
		rounds := []struct {
			report repair.TrimReport
			err    error
			logs   string // "": nothing
		}{
			{behind, nil, "its consumers are behind"},
			{behind, nil, ""},
			{unserved, nil, "silent for 60m"},
			{unserved, nil, ""},
			{removed, nil, "entries=7"},
			{unserved, nil, "freshet groups delete credit-events billing"},
			{full, nil, "9216 MiB of the 10 GiB"},
			{full, nil, ""},
			{wrong, nil, "WRONGTYPE"},
			{wrong, nil, ""},
			{repair.TrimReport{}, errors.New("no route"), "no route"},
			{repair.TrimReport{}, errors.New("no route"), ""},
			{repair.TrimReport{}, nil, ""},
		}
		var log output
		seen := 0
		at := make(chan time.Duration, len(rounds))
		began, n := time.Now(), 0
		ctx, cancel := context.WithCancel(t.Context())
		r := retention{log: slog.New(slog.NewTextHandler(&log, nil)), trim: func(context.Context) (repair.TrimReport, error) {
			at <- time.Since(began)
			n++
			return rounds[n-1].report, rounds[n-1].err
		}}
		go r.run(ctx)
		for i, want := range rounds {
			if got, due := <-at, retentionFirst+time.Duration(i)*retentionEvery; got != due {
				t.Errorf("round %d after %v, want %v", i, got, due)
			}
			synctest.Wait()
			logged := log.String()[seen:]
			seen += len(logged)
			if lines := strings.Count(logged, "\n"); !strings.Contains(logged, want.logs) || lines != min(len(want.logs), 1) {
				t.Errorf("round %d: want %q in\n%s", i, want.logs, logged)
			}
		}
		cancel()
		synctest.Wait()
	})
}
