package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/replica"
)

const (
	replicaUsers = 10_000 // that the events are about, over and over
	replicaBatch = 1000   // rows of a transaction
)

// measureReplica compares keeping the SQL copy with writing the same rows and
// nothing else.
func measureReplica(ctx context.Context, s scale) (*section, error) {
	server, err := startServer()
	if err != nil {
		return nil, err
	}
	defer server.Close()
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	b := backlog{server: server, streams: []string{userStream}, entries: s.backlog / 2}
	if err := server.fill(fill{streams: b.streams, entries: b.entries, entities: replicaUsers}); err != nil {
		return nil, err
	}
	var files atomic.Int64
	fresh := func(work func(*replica.Store) error) error {
		store, err := replica.Open(ctx, fmt.Sprintf("sqlite://%s", filepath.Join(dir, fmt.Sprint(files.Add(1)))), replica.Options{})
		if err != nil {
			return err
		}
		defer store.Close()
		if err := work(store); err != nil {
			return err
		}
		var rows int
		if err := store.DB().QueryRowContext(ctx, "SELECT count(*) FROM users").Scan(&rows); err != nil {
			return err
		}
		if want := min(replicaUsers, b.entries); rows != want {
			return fmt.Errorf("%d users in the copy, want %d", rows, want)
		}
		return nil
	}
	contenders := []contender{
		{name: "freshet, drained into the SQLite copy", messages: b.entries, run: func(ctx context.Context) error {
			return fresh(func(store *replica.Store) error { return copyBacklog(ctx, b.fresh(), store) })
		}},
		{name: "a loop of the same upserts", messages: b.entries, run: func(ctx context.Context) error {
			return fresh(func(store *replica.Store) error { return upsertUsers(ctx, store.DB(), b.entries) })
		}},
	}
	pairs := []pair{{ours: contenders[0].name, peer: contenders[1].name, goal: 0.5}}
	c, err := server.compare(ctx, s, contenders, pairs)
	if err != nil {
		return nil, err
	}
	return &section{
		title: "Drain into the local copy",
		parts: []part{{
			note:  "The loop writes the rows in transactions of 1,000 and reads nothing.",
			table: c.table(),
			plot:  &plot{name: "replica", title: "Drain into the local copy", unit: "events/s", bars: c.bars()},
		}},
		verdicts: c.verdicts("replica"),
	}, nil
}

// copyBacklog keeps a copy as freshet run does, until the backlog is in it.
func copyBacklog(ctx context.Context, b backlog, store *replica.Store) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	bus, err := freshet.Open(ctx, freshet.Config{URL: b.server.url(b.db), App: "bench"})
	if err != nil {
		return err
	}
	defer bus.Close()
	var settled atomic.Int64
	consumer := bus.Consumer(freshet.ConsumerConfig{Group: b.group, Streams: b.streams, OnSettled: func(freshet.Settlement) {
		if settled.Add(1) == int64(b.entries) {
			cancel()
		}
	}})
	freshet.OnEnvelopes(consumer, store.Types(), freshet.BatchConfig{}, func(ctx context.Context, batch []*events.Envelope) error {
		return store.Apply(ctx, batch)
	})
	if err := consumer.Run(ctx); err != nil {
		return err
	}
	if err := b.check(int(settled.Load())); err != nil {
		return err
	}
	return b.forget()
}

// upsertUsers writes the rows of n events.
func upsertUsers(ctx context.Context, db *sql.DB, n int) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	upsert, err := conn.PrepareContext(ctx, `INSERT INTO users
		(tenant_id, user_id, email, first_name, last_name, name, is_active, created_at, updated_from, versions)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant_id, user_id) DO UPDATE SET
		email = excluded.email, first_name = excluded.first_name, last_name = excluded.last_name, name = excluded.name,
		is_active = excluded.is_active, created_at = excluded.created_at,
		updated_from = excluded.updated_from, versions = excluded.versions`)
	if err != nil {
		return err
	}
	defer upsert.Close()
	for from := 0; from < n; from += replicaBatch {
		tx, err := conn.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		in := tx.StmtContext(ctx, upsert)
		for i := from; i < min(from+replicaBatch, n); i++ {
			user := i % replicaUsers
			if _, err := in.ExecContext(ctx, tenant, userID(user), fmt.Sprintf("u%d@example.com", user), "Augusta Ada", "Lovelace",
				"Augusta Ada Lovelace", 1, "2025-12-04T10:00:00.000Z", fmt.Sprintf("%d @ 2025-12-04T10:00:00.000Z", i), `["7ff"]`); err != nil {
				tx.Rollback()
				return err
			}
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}
