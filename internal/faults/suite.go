package faults

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options of a run. Out is required.
type Options struct {
	Only  []string // ids of the faults to run; none: all
	Quick bool     // short versions, and without Only just the quick faults
	Seed  uint64
	Out   io.Writer
}

// fault is one row of the table: what is broken, and what must hold then.
type fault struct {
	id, name string
	quick    bool // runs with Options.Quick
	run      func(*trial)
}

var table = slices.Concat(
	crashFaults,
	outageFaults,
	clockFaults,
	networkFaults,
	handlerFaults,
	lossFaults,
	refusalFaults,
	retentionFaults,
	failoverFaults,
	durabilityFaults,
	databaseFaults,
	scaleFaults,
	clusterFaults,
	webhookFaults,
)

// light are faults whose trials mostly wait, the longest first: two of them run
// at a time, after all others.
var light = []string{"F15", "F38", "F3", "F39", "F12", "F36", "F40", "F2", "F11"}

// Run tries the faults, prints a row for each, and reports whether all
// promises held.
func Run(ctx context.Context, o Options) (passed bool, err error) {
	chosen, err := choose(o)
	if err != nil {
		return false, err
	}
	isLight := func(f fault) bool { return slices.Contains(light, f.id) }
	fmt.Fprintf(o.Out, "seed %d\n\n", o.Seed)
	fmt.Fprintf(o.Out, columns, "ID", "FAULT", "PUBLISHED", "LOST", "TWICE", "RECOVERY", "VERDICT")
	var printing sync.Mutex
	failed := 0
	run := func(f fault) {
		if ctx.Err() != nil {
			return
		}
		start := time.Now()
		t := try(ctx, f, o)
		if ctx.Err() != nil {
			return
		}
		printing.Lock()
		defer printing.Unlock()
		if len(t.failures) > 0 {
			failed++
		}
		t.print(o.Out, f, time.Since(start))
	}
	for _, f := range chosen {
		if !isLight(f) {
			run(f)
		}
	}
	waiting := make(chan fault, len(light))
	for _, id := range light {
		if i := slices.IndexFunc(chosen, func(f fault) bool { return f.id == id }); i >= 0 {
			waiting <- chosen[i]
		}
	}
	close(waiting)
	var lanes sync.WaitGroup
	for range 2 {
		lanes.Go(func() {
			for f := range waiting {
				run(f)
			}
		})
	}
	lanes.Wait()
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	fmt.Fprintf(o.Out, "\n%d passed, %d failed\n", len(chosen)-failed, failed)
	return failed == 0, nil
}

const columns = "%-4s %-52s %9v %6v %6v %9v  %s\n"

// print prints the trial's row.
func (t *trial) print(out io.Writer, f fault, took time.Duration) {
	verdict, recovery := "pass", "-"
	if len(t.failures) > 0 {
		verdict = "FAIL"
	}
	if t.recovery > 0 {
		recovery = t.recovery.Round(time.Millisecond).String()
	}
	fmt.Fprintf(out, columns, f.id, f.name, t.published, t.lost, t.twice, recovery, fmt.Sprintf("%s (%.0f s)", verdict, took.Seconds()))
	for _, line := range t.notes {
		fmt.Fprintf(out, "     %s\n", line)
	}
	for _, line := range t.failures[:min(len(t.failures), 10)] {
		fmt.Fprintf(out, "     FAILED: %s\n", line)
	}
	if more := len(t.failures) - 10; more > 0 {
		fmt.Fprintf(out, "     FAILED: and %d more\n", more)
	}
}

func choose(o Options) ([]fault, error) {
	if len(o.Only) == 0 {
		return slices.DeleteFunc(slices.Clone(table), func(f fault) bool { return o.Quick && !f.quick }), nil
	}
	var chosen []fault
	for _, id := range o.Only {
		i := slices.IndexFunc(table, func(f fault) bool { return strings.EqualFold(f.id, id) })
		if i < 0 {
			return nil, fmt.Errorf("no fault %s", id)
		}
		if slices.ContainsFunc(chosen, func(f fault) bool { return f.id == table[i].id }) {
			continue
		}
		chosen = append(chosen, table[i])
	}
	return chosen, nil
}

func try(ctx context.Context, f fault, o Options) *trial {
	dir, err := os.MkdirTemp("", "freshet-faults-")
	if err != nil {
		panic(err)
	}
	t := &trial{quick: o.Quick, dir: dir, rand: rand.New(rand.NewPCG(o.Seed, o.Seed))}
	var cancel context.CancelFunc
	t.ctx, cancel = context.WithCancel(ctx)
	t.atEnd(func() { os.RemoveAll(dir) })
	t.atEnd(cancel)
	t.guard(func() { f.run(t) })
	for _, end := range slices.Backward(t.ends) {
		t.guard(end)
	}
	return t
}
