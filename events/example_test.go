package events_test

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/shopspring/decimal"

	"github.com/freshet/freshet/events"
)

func ExampleValidate() {
	err := events.Validate(events.UserCreated{UserID: "u-1", CreatedAt: time.Now()})
	fmt.Println(err)
	// Output: user_created: data.email: required
}

func ExampleParse() {
	p, err := events.Parse("credit.allocated", []byte(`{"entityId":"org-1","amount":2.50,"allocationId":"alloc-1"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.(events.CreditAllocated).Amount)

	_, err = events.Parse("user_craeted", nil)
	fmt.Println(err)
	// Output:
	// 2.5
	// unknown event type "user_craeted"; did you mean "user_created"?
}

func ExampleEncode() {
	data, err := events.Encode(events.CreditAllocated{EntityID: "org-1", Amount: decimal.RequireFromString("9007199254740993.5")})
	fmt.Println(string(data), err)
	// Output: {"entityId":"org-1","amount":9007199254740993.5} <nil>
}

func ExampleAppendEncode() {
	b := []byte("data: ")
	b, err := events.AppendEncode(b, events.UserCreated{UserID: "u-1", Email: "ada@example.com"})
	fmt.Println(string(b), err)
	// Output: data: {"userId":"u-1","email":"ada@example.com"} <nil>
}

func ExampleAppendTime() {
	at := time.Date(2025, 12, 4, 15, 30, 0, 70_900_000, time.FixedZone("IST", 5*3600+1800))
	fmt.Println(string(events.AppendTime(nil, at)))
	// Output: 2025-12-04T10:00:00.070Z
}

func ExampleParseTime() {
	at, ok := events.ParseTime("2025-12-04T10:00:00.070Z")
	fmt.Println(at, ok)
	_, ok = events.ParseTime("4 December 2025")
	fmt.Println(ok)
	// Output:
	// 2025-12-04 10:00:00.07 +0000 UTC true
	// false
}

func ExampleDecode() {
	env := &events.Envelope{Data: json.RawMessage(`{"userId":"u-1","email":"ada@example.com"}`)}
	user, err := events.Decode[events.UserCreated](env)
	fmt.Println(user.Email, user.Active(), err)
	// Output: ada@example.com true <nil>
}

func ExampleRoleCreated_FanOut() {
	role := events.RoleCreated{RoleID: "r-1", Permissions: events.Permissions{
		"crm": {"leads": {"read", "create"}},
		"hr":  {"employees": {"read"}},
	}}
	for _, e := range role.FanOut() {
		fmt.Println(e.App, e.Permissions)
	}
	// Output:
	// crm map[crm:map[leads:[read create]]]
	// hr map[hr:map[employees:[read]]]
}

func ExampleLookup() {
	for _, stream := range []string{"crm:sync:user:user_created", "inter-app-events"} {
		fmt.Printf("%T\n", events.Lookup(stream, "user.created").New())
	}
	// Output:
	// *events.UserCreated
	// *events.AppUserCreated
}

// What is told of users, and on which streams.
func ExampleCatalogue() {
	for _, t := range events.Catalogue() {
		if t.Entity == "user" && t.Shape == events.ShapeSync {
			fmt.Println(t.Name, "on", t.Stream)
		}
	}
	// Output:
	// user_created on crm:sync:user:user_created
	// user_deactivated on crm:sync:user:user_deactivated
	// user_deleted on crm:sync:user:user_deleted
}

// A name that nobody knows is most likely a misspelling.
func ExampleNearest() {
	fmt.Println(events.Nearest("user_craeted"))
	fmt.Println(events.NearestStream("crm:sync:user:user_create"))
	// Output:
	// user_created
	// crm:sync:user:user_created
}
