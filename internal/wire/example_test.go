package wire_test

import (
	"fmt"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

func ExampleDecoder_Decode() {
	var d wire.Decoder
	env, refusal := d.Decode(&wire.Entry{
		Stream: "credit-events",
		ID:     wire.ID{Ms: 1764842400000},
		Fields: events.FieldsOf([]events.Field{
			{Name: "eventId", Value: `"evt_1764842400000_abc123"`},
			{Name: "eventType", Value: `"credit.allocated"`},
			{Name: "tenantId", Value: `"acme"`},
			{Name: "entityId", Value: `"org-1"`},
			{Name: "amount", Value: `2.50`},
			{Name: "metadata", Value: `"{\"allocationId\":\"alloc-1\"}"`},
		}...),
	})
	if refusal != nil {
		fmt.Println("dead letter:", refusal)
		return
	}
	fmt.Println(env.TypeName(), env.Tenant, env.Entity.ID, env.Identity)
	fmt.Println(string(env.Data))
	// Output:
	// credit.allocated acme org-1 alloc-1
	// {"entityId":"org-1","amount":2.50,"allocationId":"alloc-1"}
}

func ExampleEncode() {
	stream, fields, _, err := wire.Encode(wire.Outgoing{
		Tenant:  "acme",
		Payload: events.AssignmentDeleted{AssignmentID: "a-1", UserID: "u-1", OrganizationID: "o-1"},
		Key:     "request-17",
		Time:    time.Date(2025, 12, 4, 10, 0, 0, 0, time.UTC),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(stream)
	for _, f := range fields {
		fmt.Println(f.Name, f.Value)
	}
	// Output:
	// crm:organization-assignments
	// eventId 8a19c3f6-c136-84ad-b0d8-46716d6c683a
	// eventType organization.assignment.deleted
	// source wrapper-app
	// version 1.0
	// timestamp 2025-12-04T10:00:00.000Z
	// tenantId acme
	// data {"assignmentId":"a-1","userId":"u-1","organizationId":"o-1"}
}
