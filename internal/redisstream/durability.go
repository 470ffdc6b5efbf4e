package redisstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// Level is what must have an entry before it counts as added: so many
// replicas, or, with Disk, the append-only files of the master and of so many
// replicas.
type Level struct {
	Disk     bool
	Replicas int // at least 1 without Disk
}

// UnconfirmedError says that the server took an entry, but that the level was
// not reached in time: the entry may be lost with the server.
type UnconfirmedError struct {
	Disk     bool  // the master's append-only file has it
	Replicas int   // so many replicas have it
	Err      error // why neither is known; nil where they are
}

func (e *UnconfirmedError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("added, but not confirmed: %v", e.Err)
	}
	return fmt.Sprintf("added, but not confirmed: %d replicas have it, on the master's disk: %t", e.Replicas, e.Disk)
}

func (e *UnconfirmedError) Unwrap() error { return e.Err }

// Committer adds entries and waits until they are as durable as its level
// asks for. A wait blocks its connection, so it has connections of its own;
// what is to be added to a stream while one waits goes as the next batch. It
// is safe for concurrent use.
type Committer struct {
	client *Client
	level  Level
	queue  *sendQueue // by stream
}

const maxMoves = 16 // of a slot, that one batch follows

// NewCommitter returns a Committer, or says why the server cannot confirm
// what the level asks for. That it has too few replicas is no reason: they
// may come.
func NewCommitter(ctx context.Context, client *Client, level Level) (*Committer, error) {
	// Nobody is waited for, so it is answered at once.
	err := client.do(ctx, client.confirmation(Level{Disk: level.Disk}, time.Second)).Error()
	text, _ := replyError(err)
	unknown := strings.Contains(text, "unknown command")
	switch {
	case unknown && level.Disk:
		return nil, errors.New("redis: the server cannot tell what is on disk, for it has no WAITAOF (Redis has it since 7.2): " +
			"use replicas(n), or memory with appendfsync always in the server's configuration")
	case unknown:
		return nil, errors.New("redis: the server cannot tell what its replicas have, for it has no WAIT: use memory")
	case strings.Contains(text, "appendonly is disabled"):
		return nil, errors.New("redis: the server has no append-only file: set appendonly yes in its configuration, or use replicas(n) or memory")
	case err != nil && !strings.Contains(text, "replica instances"): // which a failover may promote
		return nil, fmt.Errorf("redis: durability: %w", err)
	}
	m := &Committer{client: client, level: level}
	m.queue = &sendQueue{send: m.commit, senders: 1, timeout: client.adds.timeout, idle: time.Minute, closed: client.closed.Done()}
	return m, nil
}

// Add is [Client.Add], and confirmed: what the server took and did not
// confirm in time is an UnconfirmedError, which NotSent knows.
func (m *Committer) Add(ctx context.Context, stream string, fields []events.Field) (wire.ID, error) {
	r := m.queue.add(ctx, stream, stream, fields)
	return r.ID, r.Err
}

// AddBatch is [Client.AddBatch], and confirmed.
func (m *Committer) AddBatch(ctx context.Context, batch []Addition) []AddResult {
	results := make([]AddResult, len(batch))
	if err := ctx.Err(); err != nil {
		for i, a := range batch {
			results[i] = notAdded(a.Stream, notSentError{err})
		}
		return results
	}
	adds := make([]*adding, len(batch))
	byStream := map[string][]*adding{}
	for i, a := range batch {
		adds[i] = m.queue.adding(ctx, a.Stream, a.Fields)
		byStream[a.Stream] = append(byStream[a.Stream], adds[i])
	}
	for stream, adds := range byStream {
		m.queue.submit(stream, adds...)
	}
	for i, a := range adds {
		results[i] = m.queue.result(ctx, a)
	}
	return results
}

// commit sends a batch and answers each of its adds. It waits as long as
// the most patient of them. What a node of a cluster sends elsewhere has not
// happened, and goes there, together with a wait of its own.
func (m *Committer) commit(stream string, batch []*adding) {
	ctx, cancel := context.WithDeadline(context.Background(), latest(batch))
	defer cancel()
	node, asking := m.client.rc, false
	for moves := range maxMoves + 1 {
		var rest []*adding
		var target string
		for i, r := range m.send(ctx, node, asking, stream, batch) {
			addr, ask := movedTo(r.Err)
			if addr == "" || !m.client.cluster || moves == maxMoves {
				batch[i].done <- r
				continue
			}
			rest = append(rest, batch[i])
			target, asking = addr, ask
		}
		if len(rest) == 0 {
			return
		}
		batch = rest
		select { // until the nodes agree
		case <-time.After(time.Duration(moves) * 20 * time.Millisecond):
		case <-ctx.Done():
		}
		if node = m.client.rc.Nodes()[target]; node == nil { // not on the map yet
			node, asking = m.client.rc, false
		}
	}
}

// send makes one attempt, on a connection that nobody else uses meanwhile: all
// adds in one pipeline, and then the wait. In the same pipeline it would save
// a round trip, and have what is refused, such as for lack of replicas, wait
// for these very replicas.
func (m *Committer) send(ctx context.Context, node rueidis.Client, asking bool, stream string, batch []*adding) []AddResult {
	var cmds []rueidis.Completed
	for _, a := range batch {
		if asking { // holds for one command
			cmds = append(cmds, m.client.rc.B().Arbitrary("ASKING").Build())
		}
		cmds = append(cmds, m.client.xadd(stream, a.Fields))
	}
	conn, release := node.Dedicate()
	broken := false // answers that nobody waits for may still come
	answer := func(r rueidis.RedisResult) rueidis.RedisResult {
		broken = broken || r.NonRedisError() != nil
		if err := r.Error(); repeatsArgs(err) {
			return rueidis.NewErrorResult(argsError{err})
		}
		return r
	}
	results := make([]AddResult, len(batch))
	added := false
	replies := conn.DoMulti(ctx, cmds...)
	step := len(replies) / len(batch)
	for i := range results {
		results[i] = addResult(stream, answer(replies[(i+1)*step-1]))
		added = added || results[i].Err == nil
	}
	if added {
		deadline, _ := ctx.Deadline()
		wait := m.client.confirmation(m.level, time.Until(deadline))
		if unconfirmed := m.level.missed(answer(conn.Do(ctx, wait))); unconfirmed != nil {
			for i := range results {
				if results[i].Err == nil {
					results[i].Err = fmt.Errorf("add to %s: %w", stream, unconfirmed)
				}
			}
		}
	}
	if broken {
		release = conn.Close
	}
	release()
	return results
}

// confirmation is the command that waits until everything that its connection
// has written so far has reached the level. It is to be answered before limit,
// so that callers learn who has their entry, also from an idle server, which
// ends waits only ten times a second, and on a machine that is busy.
func (c *Client) confirmation(level Level, limit time.Duration) rueidis.Completed {
	limit -= min(limit/3, 500*time.Millisecond)
	ms := max(limit.Milliseconds(), 1) // 0 is for ever
	if level.Disk {
		return c.rc.B().Waitaof().Numlocal(1).Numreplicas(int64(level.Replicas)).Timeout(ms).Build()
	}
	return c.rc.B().Wait().Numreplicas(int64(level.Replicas)).Timeout(ms).Build()
}

// missed returns nil when a confirmation's reply reaches the level.
func (l Level) missed(reply rueidis.RedisResult) *UnconfirmedError {
	if !l.Disk {
		n, err := reply.AsInt64()
		if err != nil || n < int64(l.Replicas) {
			return &UnconfirmedError{Replicas: int(n), Err: err}
		}
		return nil
	}
	n, err := reply.AsIntSlice()
	if err == nil && len(n) != 2 {
		err = fmt.Errorf("the reply to WAITAOF has %d numbers", len(n))
	}
	if err != nil {
		return &UnconfirmedError{Err: err}
	}
	if n[0] < 1 || n[1] < int64(l.Replicas) {
		return &UnconfirmedError{Disk: n[0] >= 1, Replicas: int(n[1])}
	}
	return nil
}

// latest returns the last moment at which one of the batch is waited for.
func latest(batch []*adding) (last time.Time) {
	for _, a := range batch {
		if a.deadline.After(last) {
			last = a.deadline
		}
	}
	return last
}

// movedTo returns the node that the server named instead of itself, "" for
// none, and whether that is for this command alone.
func movedTo(err error) (addr string, ask bool) {
	var reply *rueidis.RedisError
	if !errors.As(err, &reply) {
		return "", false
	}
	if addr, moved := reply.IsMoved(); moved {
		return addr, false
	}
	addr, ask = reply.IsAsk()
	return addr, ask
}
