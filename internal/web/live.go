package web

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/freshet/freshet/inspect"
)

const (
	maxTails   = 20                     // live tails at one time
	liveTick   = 250 * time.Millisecond // between messages
	liveRows   = 25                     // of one message; what is more is counted
	liveBeat   = 15 * time.Second       // between signs of life where nothing happens
	liveWrite  = 5 * time.Second        // how long a reader may block a message
	liveLength = time.Hour              // then the reader connects again
	liveBack   = 500                    // entries, and a reader that has missed more begins with what comes
)

// liveMessage is what happened since the message before.
type liveMessage struct {
	Rows    []liveRow `json:"rows"`
	Skipped int       `json:"skipped"` // left out, older than the rows
}

type liveRow struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	Time    string `json:"time"`
	Type    string `json:"type"`
	Tenant  string `json:"tenant"`
	Entity  string `json:"entity"`
	Data    string `json:"data"`
	Refusal string `json:"refusal"`
}

// liveBuffer holds the newest rows until they are sent.
type liveBuffer struct {
	mu sync.Mutex
	liveMessage
	seen string // id of the last entry, whether it is a row or not
}

func (b *liveBuffer) saw(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = id
}

func (b *liveBuffer) add(row liveRow) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.Rows) == liveRows {
		b.Rows = b.Rows[1:]
		b.Skipped++
	}
	b.Rows = append(b.Rows, row)
	b.seen = row.ID
}

func (b *liveBuffer) take() (message liveMessage, seen string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	message = b.liveMessage
	b.liveMessage = liveMessage{}
	return message, b.seen
}

// live sends what comes on a stream, as server-sent events. A busy stream is
// sampled; a reader who does not read is dropped.
func (d *Dashboard) live(w http.ResponseWriter, r *http.Request) {
	select {
	case d.tails <- struct{}{}:
		defer func() { <-d.tails }()
	default:
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many live tails", http.StatusServiceUnavailable)
		return
	}
	q := r.URL.Query()
	if q.Get("stream") == "" {
		http.Error(w, "name a stream", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), liveLength)
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()

	cfg := inspect.TailConfig{Patterns: []string{literal(q.Get("stream"))}}
	var buffer liveBuffer
	// A reader that connects again says which entry it had last.
	after := cmp.Or(r.Header.Get("Last-Event-ID"), q.Get("after"))
	if after != "" {
		if !isID(after) {
			http.Error(w, "after: no entry id", http.StatusBadRequest)
			return
		}
		missed, err := d.cfg.Inspector.Page(ctx, inspect.PageConfig{Stream: q.Get("stream"), After: after, Limit: liveBack})
		if err == nil && len(missed) < liveBack {
			cfg.From = after
		} else {
			buffer.Skipped = len(missed)
		}
	}
	ended := make(chan error, 1)
	go func() {
		ended <- d.cfg.Inspector.Tail(ctx, cfg, func(item inspect.Item) error {
			if item.Envelope.ID == after || !matches(item, q.Get("type"), q.Get("tenant")) {
				buffer.saw(item.Envelope.ID)
				return nil
			}
			row := rowOf(item)
			buffer.add(liveRow{
				ID: row.ID, Address: to("/event", "stream", row.Stream, "id", row.ID), Time: row.Time.UTC().Format("15:04:05.000"),
				Type: short(100, row.Type), Tenant: short(100, row.Tenant), Entity: short(100, entityText(row.Entity)), Data: row.Data, Refusal: short(240, row.Refusal),
			})
			return nil
		})
		close(ended)
	}()
	defer func() {
		cancel()
		for range ended { // the tail shows no more once it is closed
		}
	}()

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy would wait for more
	out := http.NewResponseController(w)
	send := func(text string) bool {
		_ = out.SetWriteDeadline(time.Now().Add(liveWrite)) // without one, a write that blocks ends with the connection
		_, err := fmt.Fprint(w, text)
		return err == nil && out.Flush() == nil
	}
	if !send("retry: 3000\n\n") {
		return
	}
	tick, last := time.NewTicker(liveTick), time.Now()
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			if err != nil {
				d.log.WarnContext(ctx, "dashboard: live tail failed", "stream", q.Get("stream"), "error", err)
				send("event: failed\ndata: the stream could not be read\n\n")
			}
			return
		case <-tick.C:
		}
		message, seen := buffer.take()
		switch {
		case len(message.Rows) > 0:
			body, err := json.Marshal(message)
			if err != nil || !send("id: "+seen+"\ndata: "+string(body)+"\n\n") {
				return
			}
		case time.Since(last) >= liveBeat && seen != "":
			if !send("id: " + seen + "\n\n") {
				return
			}
		case time.Since(last) >= liveBeat:
			if !send(": still here\n\n") {
				return
			}
		default:
			continue
		}
		last = time.Now()
	}
}

// literal is the pattern that one key alone matches.
func literal(key string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(key)
}
