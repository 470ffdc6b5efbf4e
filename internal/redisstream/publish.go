package redisstream

import (
	"context"
	"fmt"

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
	ID  wire.ID
	Err error
}

// maxPipeline bounds the commands of one pipeline, and so its replies.
const maxPipeline = 1000

// Add appends an entry and returns its id. It returns when ctx ends; whether
// a failed Add had an effect is told by NotSent.
func (c *Client) Add(ctx context.Context, stream string, fields []events.Field) (wire.ID, error) {
	r := addResult(stream, c.do(ctx, c.xadd(stream, fields)))
	return r.ID, r.Err
}

// AddBatch appends entries in one pipeline, those of a stream in order, and
// returns one result for each.
func (c *Client) AddBatch(ctx context.Context, batch []Addition) []AddResult {
	results := make([]AddResult, 0, len(batch))
	for len(batch) > 0 {
		n := min(len(batch), maxPipeline)
		cmds := make([]rueidis.Completed, n)
		for i, a := range batch[:n] {
			cmds[i] = c.xadd(a.Stream, a.Fields)
		}
		for i, reply := range c.doMulti(ctx, cmds...) {
			results = append(results, addResult(batch[i].Stream, reply))
		}
		batch = batch[n:]
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
	return AddResult{ID: id, Err: err}
}
