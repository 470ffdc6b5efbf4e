package faults

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
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
	networkFaults,
	handlerFaults,
	lossFaults,
	refusalFaults,
	failoverFaults,
	databaseFaults,
	scaleFaults,
	clusterFaults,
)

// Run tries the faults one after the other, prints a row for each, and
// reports whether all promises held.
func Run(ctx context.Context, o Options) (passed bool, err error) {
	chosen, err := choose(o)
	if err != nil {
		return false, err
	}
	fmt.Fprintf(o.Out, "seed %d\n\n", o.Seed)
	const columns = "%-4s %-52s %9v %6v %6v %9v  %s\n"
	fmt.Fprintf(o.Out, columns, "ID", "FAULT", "PUBLISHED", "LOST", "TWICE", "RECOVERY", "VERDICT")
	failed := 0
	for _, f := range chosen {
		start := time.Now()
		t := try(ctx, f, o)
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		verdict := "pass"
		if len(t.failures) > 0 {
			verdict = "FAIL"
			failed++
		}
		recovery := "-"
		if t.recovery > 0 {
			recovery = t.recovery.Round(time.Millisecond).String()
		}
		fmt.Fprintf(o.Out, columns, f.id, f.name, t.published, t.lost, t.twice, recovery,
			fmt.Sprintf("%s (%.0f s)", verdict, time.Since(start).Seconds()))
		for _, line := range t.notes {
			fmt.Fprintf(o.Out, "     %s\n", line)
		}
		for _, line := range t.failures[:min(len(t.failures), 10)] {
			fmt.Fprintf(o.Out, "     FAILED: %s\n", line)
		}
		if more := len(t.failures) - 10; more > 0 {
			fmt.Fprintf(o.Out, "     FAILED: and %d more\n", more)
		}
	}
	fmt.Fprintf(o.Out, "\n%d passed, %d failed\n", len(chosen)-failed, failed)
	return failed == 0, nil
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
