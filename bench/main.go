// Command bench measures Freshet beside other ways to do the same work on
// Redis Streams, on this machine, against a redis-server of its own.
//
//	go run . [flags] [drain|replica|publish|latency|growth|cost ...]
//
// Without sections it measures them all. Peers alternate with Freshet within
// each round, so what the machine does meanwhile hits both, and what counts
// are the ratios of the pairs. With -write the results go to RESULTS.md and
// the plots and generated parts of docs/performance.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// scale says how long to measure: how many rounds of how many messages.
type scale struct {
	rounds  int
	backlog int           // entries that a drain handles
	small   int           // entries for those that take 50 times as long
	latency time.Duration // of publishing, for each latency
	idle    time.Duration // of watching an idle consumer
	pending int           // the most entries that others hold
	huge    int           // entries of the table for a huge backlog; 0: without it
	quick   bool
	peer    string // compare with those peers alone whose name contains it
}

var (
	full  = scale{rounds: 7, backlog: 200_000, small: 10_000, latency: 6 * time.Second, idle: 5 * time.Second, pending: 1_000_000}
	quick = scale{rounds: 1, backlog: 50_000, small: 2_000, latency: 1500 * time.Millisecond, idle: time.Second, pending: 10_000, quick: true}
)

// sections in the order of the report.
var sections = []struct {
	name string
	run  func(context.Context, scale) (*section, error)
}{
	{"drain", measureDrain},
	{"replica", measureReplica},
	{"publish", measurePublish},
	{"latency", measureLatency},
	{"growth", measureGrowth},
	{"cost", measureCost},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := runSections
	if len(os.Args) > 1 && os.Args[1] == publisherCommand {
		run = runPublisher
	}
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func runSections(ctx context.Context, args []string, out io.Writer) error {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	fast := flags.Bool("quick", false, "one short round: shows that it works, not how fast")
	rounds := flags.Int("rounds", 0, "rounds (default 7, 1 with -quick)")
	huge := flags.Int("backlog", 0, "entries of a huge backlog to drain too, in the growth section, e.g. 5000000")
	peer := flags.String("peer", "", "compare with the peers alone whose name contains this, such as \"raw RESP\"")
	write := flags.Bool("write", false, "write RESULTS.md and the generated parts of docs/performance.md")
	profile := flags.String("profile", "", "write CPU and allocation profiles of Freshet's runs to files whose names begin so")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s := full
	if *fast {
		s = quick
	}
	if *rounds > 0 {
		s.rounds = *rounds
	}
	s.huge, s.peer = *huge, *peer
	profiles = *profile
	wanted := flags.Args()
	known := make([]string, len(sections))
	for i, sec := range sections {
		known[i] = sec.name
	}
	for _, name := range wanted {
		if !slices.Contains(known, name) {
			return fmt.Errorf("no section %q; there are %s", name, strings.Join(known, ", "))
		}
	}
	if *write && (s.quick || s.peer != "" || len(wanted) > 0) {
		return errors.New("-write takes a full run: no -quick, no -peer, no sections")
	}
	report := &report{machine: describeMachine(), scale: s}
	fmt.Fprintln(out, report.machine)
	for _, sec := range sections {
		if len(wanted) > 0 && !slices.Contains(wanted, sec.name) {
			continue
		}
		result, err := sec.run(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", sec.name, err)
		}
		result.name = sec.name
		report.sections = append(report.sections, result)
		fmt.Fprintln(out, strings.TrimSpace(result.markdown()))
		fmt.Fprintln(out)
	}
	if len(report.sections) > 1 {
		fmt.Fprint(out, report.goals())
	}
	if *write {
		return report.write()
	}
	return nil
}
