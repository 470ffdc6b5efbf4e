package redisstream

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// Addition is an entry to append to a stream.
type Addition struct {
	Stream string
	Fields []events.Field // at least one
}

// AddResult is the answer to one Addition.
type AddResult struct {
	ID   wire.ID
	Text string // the id as the server wrote it
	Err  error
}

// Bounds of one pipeline: of its commands, and so its replies, and of their
// bytes. The client library takes a connection for dead on which no pipeline
// has ended for long, however much of one is on its way over a slow line.
const (
	maxPipeline      = 1000
	maxPipelineBytes = 256 << 10
	maxBatchBytes    = 3 << 19 // of a batch, which has no others behind it
)

const (
	// senders is how many pipelines of single adds are on their way at once.
	// With more, fewer adds share one; with fewer, an add waits longer for its
	// turn where the server is far away.
	senders = 4
	// slow is how long an add waits for a server that has stopped answering
	// before it is sent after the others.
	slow = 250 * time.Millisecond
)

// Add appends an entry and returns its id. It returns when ctx ends; whether
// a failed Add had an effect is told by NotSent. What is added concurrently
// shares pipelines. After a failed Add the fields may still be sent; others
// need them no more.
func (c *Client) Add(ctx context.Context, stream string, fields []events.Field) (wire.ID, error) {
	key := ""
	if c.cluster {
		key = stream
	}
	r := c.adds.add(ctx, key, stream, fields)
	return r.ID, r.Err
}

// Size returns how many bytes the entry's fields have.
func (a Addition) Size() (n int) {
	for _, f := range a.Fields {
		n += len(f.Name) + len(f.Value)
	}
	return n
}

// sendAdds sends what is in the queue as one pipeline.
func (c *Client) sendAdds(_ string, batch []*adding) {
	cmds := make([]rueidis.Completed, len(batch))
	for i, a := range batch {
		cmds[i] = c.xadd(a.Stream, a.Fields)
	}
	// When nobody waits any more nothing is sent any more: it would come behind
	// what was added since. Callers say first that their own time is up.
	const grace = 50 * time.Millisecond
	ctx, cancel := context.WithDeadline(context.Background(), latest(batch).Add(grace))
	defer cancel()
	for i, reply := range c.exchange(ctx, cmds) {
		batch[i].done <- addResult(batch[i].Stream, reply)
	}
}

// AddBatch appends entries in one pipeline, or one after the other where they
// are many, those of a stream in order. It returns one result for each and
// keeps nothing of batch.
func (c *Client) AddBatch(ctx context.Context, batch []Addition) []AddResult {
	results := make([]AddResult, 0, len(batch))
	for len(batch) > 0 {
		cmds := make([]rueidis.Completed, 0, min(len(batch), maxPipeline))
		for size := 0; len(cmds) < cap(cmds) && size < maxBatchBytes; {
			a := batch[len(cmds)]
			size += a.Size()
			cmds = append(cmds, c.xadd(a.Stream, a.Fields))
		}
		for i, reply := range c.doMulti(ctx, cmds...) {
			results = append(results, addResult(batch[i].Stream, reply))
		}
		batch = batch[len(cmds):]
	}
	return results
}

func (c *Client) xadd(stream string, fields []events.Field) rueidis.Completed {
	cmd := c.rc.B().Xadd().Key(stream).Id("*").FieldValue()
	for _, f := range fields {
		cmd = cmd.FieldValue(f.Name, f.Value)
	}
	return cmd.Build()
}

func addResult(stream string, reply rueidis.RedisResult) AddResult {
	text, err := reply.ToString()
	if err != nil {
		return AddResult{Err: fmt.Errorf("add to %s: %w", stream, err)}
	}
	id, err := wire.ParseID(text)
	return AddResult{ID: id, Text: text, Err: err}
}
