package replica_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/freshet/freshet/events"
)

const (
	benchBatch = 1000
	benchUsers = 10_000 // entities that the events are about, over and over
)

// benchmarks say what the n-th event is about.
var benchmarks = []struct {
	name string
	next func(n int) *events.Envelope
}{
	{"users", benchUser},
	{"mix", func(n int) *events.Envelope {
		entity := n / 4 % benchUsers
		switch n % 4 {
		case 0:
			return benchUser(n / 4)
		case 1:
			return event(events.RoleAssigned{}, 0, fmt.Sprintf(`{"assignmentId":"assignment-%d","userId":"user-%d","roleId":"role-1","assignedAt":"2025-12-04T10:00:00.000Z","assignedBy":"admin","expiresAt":null}`, entity, entity))
		case 2:
			return benchCredit(n)
		default:
			return event(events.UserDeactivated{}, 0, fmt.Sprintf(`{"userId":"user-%d","email":"u%d@example.com","deactivatedAt":"2025-12-04T10:00:00.000Z","deactivatedBy":"admin","reason":"manual_deactivation"}`, entity/2, entity/2))
		}
	}},
	{"credits", benchCredit},
}

func benchUser(n int) *events.Envelope {
	user := n % benchUsers
	return event(events.UserCreated{}, 0, fmt.Sprintf(`{"userId":"user-%d","email":"u%d@example.com","firstName":"Ada","lastName":"Lovelace","name":"Ada Lovelace","isActive":true,"createdAt":"2025-12-04T10:00:00.000Z"}`, user, user))
}

// benchCredit: each is an entry of the ledger of its own, unlike the others.
func benchCredit(n int) *events.Envelope {
	return event(events.CreditConsumed{}, 0, fmt.Sprintf(`{"entityId":"org-%d","userId":"user-%d","amount":1.25,"operationType":"api_call","operationId":"op-%d"}`, n%100, n, n))
}

func benchEvents(next func(int) *events.Envelope, from int) []*events.Envelope {
	batch := make([]*events.Envelope, benchBatch)
	for i := range batch {
		n := from + i
		batch[i] = next(n)
		batch[i].Identity = fmt.Sprintf("op-%d", n)
		batch[i].Time = noon.Add(time.Duration(n) * time.Millisecond)
	}
	return batch
}

// BenchmarkApply applies batches of 1000 events, each newer than those before.
func BenchmarkApply(b *testing.B) {
	for _, bench := range benchmarks {
		b.Run(bench.name, func(b *testing.B) {
			s := open(b)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				b.StopTimer()
				batch := benchEvents(bench.next, n)
				n += len(batch)
				b.StartTimer()
				apply(b, s, batch...)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkUpserts is what BenchmarkApply is measured by: a loop that writes
// the rows of as many users, in transactions of as many, with one prepared
// statement, and does nothing else.
func BenchmarkUpserts(b *testing.B) {
	ctx := context.Background()
	s := open(b)
	conn, err := s.DB().Conn(ctx)
	if err != nil {
		b.Fatal(err)
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
		b.Fatal(err)
	}
	defer upsert.Close()
	n := 0
	for b.Loop() {
		tx, err := conn.BeginTx(ctx, nil)
		if err != nil {
			b.Fatal(err)
		}
		in := tx.Stmt(upsert)
		for range benchBatch {
			user := n % benchUsers
			n++
			if _, err := in.Exec(tenant, fmt.Sprintf("user-%d", user), fmt.Sprintf("u%d@example.com", user),
				"Ada", "Lovelace", "Ada Lovelace", 1, "2025-12-04T10:00:00.000Z",
				fmt.Sprintf("op-%d @ 2025-12-04T12:00:00.000Z", n), `["7ff"]`); err != nil {
				b.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
}
