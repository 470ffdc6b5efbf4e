package events_test

import (
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/freshet/freshet/events"
)

func BenchmarkDecode(b *testing.B) {
	active := true
	at := time.Date(2025, 12, 4, 10, 0, 0, 0, time.UTC)
	amount := decimal.RequireFromString("1234.56")
	const id = "0b9a1f0e-6a3c-4f0e-9b1c-1f2a3b4c5d6e"
	benchmarkDecode(b, events.UserCreated{
		UserID: id, Email: "ada.lovelace@analytical-engines.example.com",
		FirstName: "Ada", LastName: "Lovelace", Name: "Ada Lovelace", IsActive: &active, CreatedAt: at,
	})
	benchmarkDecode(b, events.CreditAllocated{AllocationID: id, EntityID: id, Amount: amount, NewBalance: &amount, AllocatedAt: at})
	benchmarkDecode(b, events.RoleUpdated{
		RoleID: id, RoleName: "admin", Permissions: events.Permissions{"crm": {"leads": {"read", "write"}}}, UpdatedAt: at,
	})
}

func benchmarkDecode[T events.Payload](b *testing.B, p T) {
	data, err := events.Encode(p)
	if err != nil {
		b.Fatal(err)
	}
	env := &events.Envelope{Stream: p.Type().Stream, ID: "1-1", Type: p.Type(), Data: data}
	b.Run(p.Type().Name, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := events.Decode[T](env); err != nil {
				b.Fatal(err)
			}
		}
	})
}
