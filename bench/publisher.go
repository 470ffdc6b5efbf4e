package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// publisherCommand makes this program a publisher of events at fixed times,
// in a process of its own: bench publisher ADDR RATE EVENTS.
const publisherCommand = "publisher"

// intended is when event i is to be published, in nanoseconds from the start.
func intended(i, rate int) int64 { return int64(i) * int64(time.Second) / int64(rate) }

// monotonic is a clock that all processes of the machine share.
func monotonic() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // impossible: the clock exists
	}
	return t.Nano()
}

// runPublisher publishes, and prints the start on the shared clock.
func runPublisher(ctx context.Context, args []string, out io.Writer) error {
	if len(args) != 4 {
		return errors.New("usage: bench publisher ADDR RATE EVENTS")
	}
	rate, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	c, err := dial(args[1], 0)
	if err != nil {
		return err
	}
	defer c.close()
	defer context.AfterFunc(ctx, c.close)()
	acknowledged := make(chan error, 1)
	go func() {
		for range n {
			if _, err := c.skip(); err != nil {
				acknowledged <- err
				return
			}
		}
		acknowledged <- nil
	}()
	t := userTemplate(userStream, 0)
	start := monotonic() + (200 * time.Millisecond).Nanoseconds() // for the consumer to be there
	for i := 0; i < n; {
		if wait := start + intended(i, rate) - monotonic(); wait > 0 {
			// Go's timers wake a millisecond late where nothing else runs.
			pause := unix.NsecToTimespec(wait)
			_ = unix.Nanosleep(&pause, nil) // woken early, it looks again
			continue
		}
		for now := monotonic(); i < n && start+intended(i, rate) <= now; i++ {
			c.out = t.append(c.out, i)
		}
		if err := c.flush(); err != nil {
			return err
		}
	}
	if err := <-acknowledged; err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, start)
	return err
}

// publisherProcess is a running publisher.
type publisherProcess struct {
	cmd *exec.Cmd
	out bytes.Buffer
}

func startPublisher(ctx context.Context, addr string, rate, n int) (*publisherProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &publisherProcess{cmd: exec.CommandContext(ctx, self, publisherCommand, addr, strconv.Itoa(rate), strconv.Itoa(n))}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, os.Stderr
	return p, p.cmd.Start()
}

// wait returns the start of publishing, on the shared clock.
func (p *publisherProcess) wait() (start int64, err error) {
	if err := p.cmd.Wait(); err != nil {
		return 0, fmt.Errorf("publisher: %w", err)
	}
	return strconv.ParseInt(strings.TrimSpace(p.out.String()), 10, 64)
}
