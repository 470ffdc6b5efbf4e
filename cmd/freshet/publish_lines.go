package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/schollz/progressbar/v3"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
)

const (
	publishBatch = 500     // events of one pipeline, at most
	maxLine      = 2 << 20 // bytes: the largest event, with room for white space
)

// line is one line of the input.
type line struct {
	number  int
	message freshet.Message
	err     error // what is wrong with it
	broken  bool  // the input is, and this is its end
}

// bulk publishes the lines of standard input and counts what became of them.
type bulk struct {
	*publishing
	bus      *freshet.Bus
	receipts receiptList
	progress *progress

	published, invalid, failed, unknown int
	last                                int // number of the last line taken
	readErr                             error
}

// lines publishes events from standard input. A line's own fault concerns
// that line; what the server does not take ends it all, for it would not take
// the rest either.
func (p *publishing) lines(ctx context.Context) error {
	bus, err := p.connect(ctx)
	if err != nil {
		return err
	}
	defer bus.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	input := make(chan line, publishBatch)
	go func() {
		defer close(input)
		p.readLines(ctx, input)
	}()
	b := &bulk{publishing: p, bus: bus, receipts: p.receipts(false), progress: newProgress(p.stderr)}
	for b.failed+b.unknown == 0 {
		batch := nextBatch(ctx, input)
		if len(batch) == 0 {
			break
		}
		if err := b.publish(batch); err != nil {
			return err
		}
	}
	b.progress.clear()
	if err := b.receipts.close(); err != nil {
		return err
	}
	return b.summary(ctx.Err() != nil)
}

// publish publishes a batch and prints what became of it. It is not given up
// half way, so that Ctrl-C leaves no outcome unknown.
func (b *bulk) publish(batch []line) error {
	var messages []freshet.Message
	for _, l := range batch {
		if l.err == nil {
			messages = append(messages, l.message)
		}
	}
	results := b.bus.PublishBatch(context.Background(), messages)
	defer b.progress.add(len(batch))
	if isTerminal(b.stdout) {
		b.progress.clear()
	}
	for _, l := range batch {
		if l.broken {
			b.readErr = l.err
			break
		}
		b.last = l.number
		receipt, err := freshet.Receipt{}, l.err
		if err == nil {
			receipt, err = results[0].Receipt, results[0].Err
			results = results[1:]
		}
		if err != nil {
			b.fault(l.number, err)
			continue
		}
		b.published++
		if err := b.receipts.add(receipt); err != nil {
			return err
		}
	}
	return nil
}

// fault counts and reports a line that was not published.
func (b *bulk) fault(number int, err error) {
	switch {
	case errors.Is(err, freshet.ErrUnknown):
		b.unknown++
	case errors.Is(err, freshet.ErrFailed) && !errors.As(err, new(*events.FieldError)):
		b.failed++
	default:
		b.invalid++
	}
	b.progress.clear()
	fmt.Fprintf(b.stderr, "line %d: %s\n", number, escape(dataError(err).Error()))
}

// summary reports the counts, and fails unless everything was published.
func (b *bulk) summary(interrupted bool) error {
	fmt.Fprintf(b.stderr, "published %d of %d events\n", b.published, b.published+b.invalid+b.failed+b.unknown)
	var problems []string
	for _, p := range []struct {
		count int
		what  string
	}{
		{b.invalid, "not valid"},
		{b.failed, "not published"},
		{b.unknown, "with an unknown outcome, may be on the stream"},
	} {
		if p.count > 0 {
			problems = append(problems, fmt.Sprintf("%d %s", p.count, p.what))
		}
	}
	why := strings.Join(problems, ", ")
	switch {
	case b.failed+b.unknown > 0:
		return fmt.Errorf("%s; stopped after line %d. %s", why, b.last, b.repeatHint())
	case interrupted:
		return fmt.Errorf("interrupted after line %d. %s", b.last, b.repeatHint())
	case b.readErr != nil:
		return fmt.Errorf("standard input, after line %d: %w", b.last, b.readErr)
	case why != "":
		return errors.New(why)
	}
	return nil
}

// readLines sends the lines of standard input, and their messages, until its
// end or until ctx ends.
func (p *publishing) readLines(ctx context.Context, to chan<- line) {
	r := bufio.NewReaderSize(p.stdin, maxLine)
	for number := 1; ; number++ {
		text, err := readLine(r)
		l := line{number: number, err: err}
		switch {
		case errors.Is(err, io.EOF):
			return
		case errors.Is(err, bufio.ErrBufferFull):
			l.err = fmt.Errorf("longer than %d bytes", maxLine)
		case err != nil:
			l.broken = true
		case len(bytes.TrimSpace(text)) == 0:
			continue
		default:
			l.message, l.err = p.message(text, p.lineKey(number))
		}
		select {
		case to <- l:
		case <-ctx.Done():
			return
		}
		if l.broken {
			return
		}
	}
}

func (p *publishing) lineKey(number int) string {
	if p.key == "" {
		return ""
	}
	return fmt.Sprintf("%s-%d", p.key, number)
}

// readLine returns the next line, valid until the next call, io.EOF when
// there is none, or bufio.ErrBufferFull for a line that is too long and has
// been skipped.
func readLine(r *bufio.Reader) ([]byte, error) {
	text, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.ReadSlice('\n')
		}
		if err == nil || errors.Is(err, io.EOF) {
			err = bufio.ErrBufferFull
		}
		return nil, err
	}
	if errors.Is(err, io.EOF) && len(text) > 0 {
		err = nil
	}
	return text, err
}

// nextBatch waits for a line and takes with it what else has been read, so
// that a slow input is not held back.
func nextBatch(ctx context.Context, from <-chan line) []line {
	var batch []line
	select {
	case l, ok := <-from:
		if !ok {
			return nil
		}
		batch = append(batch, l)
	case <-ctx.Done():
		return nil
	}
	for len(batch) < publishBatch {
		select {
		case l, ok := <-from:
			if !ok {
				return batch
			}
			batch = append(batch, l)
		default:
			return batch
		}
	}
	return batch
}

// progress is a counter of events on a terminal. A nil one shows nothing.
type progress struct{ bar *progressbar.ProgressBar }

func newProgress(stderr io.Writer) *progress {
	if !isTerminal(stderr) {
		return nil
	}
	return &progress{progressbar.NewOptions(-1,
		progressbar.OptionSetWriter(stderr),
		progressbar.OptionSetDescription("publishing"),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionSetItsString("events"),
		progressbar.OptionSetSpinnerChangeInterval(0), // drawn by add alone, never between rows
	)}
}

// Errors of drawing are of no interest.
func (p *progress) add(n int) {
	if p != nil {
		_ = p.bar.Add(n)
	}
}

// clear makes room for other lines.
func (p *progress) clear() {
	if p != nil {
		_ = p.bar.Clear()
	}
}
