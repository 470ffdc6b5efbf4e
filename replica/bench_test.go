package replica_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/freshet/freshet/events"
)

// BenchmarkApply applies batches of 500 events of four types, nearly all about
// entities that the copy has not seen.
func BenchmarkApply(b *testing.B) {
	s := open(b)
	const size = 500
	n := 0
	next := func() *events.Envelope {
		n++
		var env *events.Envelope
		switch n % 4 {
		case 0:
			env = event(events.UserCreated{}, 0, fmt.Sprintf(`{"userId":"user-%d","email":"u%d@example.com","firstName":"Ada","lastName":"Lovelace","name":"Ada Lovelace","isActive":true,"createdAt":"2025-12-04T10:00:00.000Z"}`, n, n))
		case 1:
			env = event(events.RoleAssigned{}, 0, fmt.Sprintf(`{"assignmentId":"assignment-%d","userId":"user-%d","roleId":"role-1","assignedAt":"2025-12-04T10:00:00.000Z","assignedBy":"admin","expiresAt":null}`, n, n))
		case 2:
			env = event(events.CreditConsumed{}, 0, fmt.Sprintf(`{"entityId":"org-%d","userId":"user-%d","amount":1.25,"operationType":"api_call","operationId":"op-%d"}`, n%100, n, n))
		case 3:
			env = event(events.UserDeactivated{}, 0, fmt.Sprintf(`{"userId":"user-%d","email":"u%d@example.com","deactivatedAt":"2025-12-04T10:00:00.000Z","deactivatedBy":"admin","reason":"manual_deactivation"}`, n/8*4, n))
		}
		env.Identity = fmt.Sprintf("op-%d", n)
		env.Time = noon.Add(time.Duration(n) * time.Millisecond)
		return env
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		batch := make([]*events.Envelope, size)
		for i := range batch {
			batch[i] = next()
		}
		b.StartTimer()
		apply(b, s, batch...)
	}
	b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "events/s")
}
