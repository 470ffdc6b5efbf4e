// Command run breaks what Freshet stands on and prints one row for each
// fault; see docs/reliability.md.
//
//	go run ./internal/faults/run [-quick] [-seed N] [F1 F4 ...]
//	go run ./internal/faults/run -soak 30m [-seed N]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/freshet/freshet/internal/faults"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) == 3 && os.Args[1] == "worker" {
		if err := faults.Work(ctx, os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(1)
		}
		return
	}
	o := faults.Options{Out: os.Stdout}
	flag.BoolVar(&o.Quick, "quick", false, "short versions, and of all rows only those that every change runs")
	flag.Uint64Var(&o.Seed, "seed", uint64(time.Now().UnixNano()), "repeats the random choices of a run")
	soak := flag.Duration("soak", 0, "instead of rows: all kinds of faults at random, for this `long`")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: run [-quick] [-seed N] [F1 F4 ...], or run -soak 30m [-seed N]")
		flag.PrintDefaults()
	}
	flag.Parse()
	for _, arg := range flag.Args() {
		o.Only = append(o.Only, strings.FieldsFunc(arg, func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	var passed bool
	var err error
	if *soak > 0 {
		passed, err = faults.Soak(ctx, faults.SoakOptions{For: *soak, Seed: o.Seed, Out: os.Stdout})
	} else {
		passed, err = faults.Run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(2)
	}
	if !passed {
		os.Exit(1)
	}
}
