package wire_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/shopspring/decimal"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// wholeUser is the guide's user_created with every field set.
func wholeUser() events.UserCreated {
	active := true
	return events.UserCreated{
		UserID: userID, Email: "ada.lovelace@analytical-engines.example.com",
		FirstName: "Ada", LastName: "Lovelace", Name: "Ada Lovelace", IsActive: &active, CreatedAt: vectorNow,
	}
}

func benchmarked() []events.Payload {
	amount := decimal.RequireFromString("1234.56")
	return []events.Payload{
		wholeUser(),
		events.CreditAllocated{AllocationID: userID, EntityID: userID, Amount: amount, NewBalance: &amount, AllocatedAt: vectorNow},
		events.CreditAllocatedSync{AllocationID: userID, EntityID: userID, Amount: amount, AllocatedAt: vectorNow},
		events.AssignmentCreated{AssignmentID: userID, UserID: userID, OrganizationID: tenant, AssignedBy: userID, AssignedAt: vectorNow},
		events.RoleUpdated{RoleID: userID, RoleName: "admin", Permissions: events.Permissions{"crm": {"leads": {"read", "write"}}}, UpdatedAt: vectorNow},
		events.InterApp{EventType: "invoice.paid", Target: "crm", Source: "hr", EntityID: userID, Data: []byte(`{"invoiceId":"1","total":12.5}`)},
		events.Acknowledgment{OriginalEventID: userID, Status: events.AckProcessed},
	}
}

// BenchmarkDecode reads what Encode wrote.
func BenchmarkDecode(b *testing.B) {
	var d wire.Decoder
	for _, p := range benchmarked() {
		stream, fields, _, err := wire.Encode(wire.Outgoing{Tenant: tenant, Payload: p, Time: vectorNow})
		if err != nil {
			b.Fatal(err)
		}
		e := wire.Entry{Stream: stream, ID: wire.ID{Ms: uint64(vectorNow.UnixMilli())}, Fields: events.FieldsOf(fields...)}
		b.Run(stream, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, refusal := d.Decode(&e); refusal != nil {
					b.Fatal(refusal)
				}
			}
		})
	}
}

// BenchmarkDecodeMet reads what other publishers wrote, or what is long.
func BenchmarkDecodeMet(b *testing.B) {
	const data = `{"userId":"` + userID + `","email":"uffffffffffff@example.com","firstName":"Augusta Ada",` +
		`"lastName":"Lovelace","name":"Augusta Ada Lovelace","isActive":true,"createdAt":"2025-12-04T10:00:00.000Z"}`
	guide := with(with(userEntry(), "data", data), "metadata", `{"correlationId":"user_`+userID+`_1764842400000","version":"1.0",`+
		`"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","publishedBy":"user-service","priority":"normal",`+
		`"sourceTimestamp":"2025-12-04T10:00:00.000Z","sourceApp":"wrapper-api","environment":"production","region":"eu-central-1"}`)
	quoted := guide
	for f := range guide.Fields.All() {
		if f.Name != "data" {
			quoted = with(quoted, f.Name, strconv.Quote(f.Value))
		}
	}
	for _, tt := range []struct {
		name  string
		entry wire.Entry
	}{
		{"guide", guide},
		{"v0", quoted},
		{"acknowledgment", ackEntry()},
		{"escapes", with(guide, "data", strings.ReplaceAll(data, "Ada", `\u00c5da`))},
		{"10KB", with(guide, "data", data[:len(data)-1]+`,"notes":"`+strings.Repeat("n", 10_000)+`"}`)},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, refusal := decoder.Decode(&tt.entry); refusal != nil {
					b.Fatal(refusal)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, p := range benchmarked() {
		m := wire.Outgoing{Tenant: tenant, Payload: p, Source: "wrapper-api", Time: vectorNow}
		b.Run(p.Type().Stream, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, _, err := wire.Encode(m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
