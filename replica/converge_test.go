package replica_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/replica"
)

// Few values for each field, so that events collide on rows, times and ids.
var (
	someIDs   = rapid.SampledFrom([]any{"a", "b", "c"})
	someText  = rapid.SampledFrom([]any{"x", "y", "x z", "", nil})
	someBool  = rapid.SampledFrom([]any{true, false, nil})
	someTime  = rapid.SampledFrom([]any{"2025-12-04T10:00:00.000Z", "2025-12-04T11:00:00+02:00", "", nil})
	someJSON  = rapid.SampledFrom([]any{map[string]any{"b": 1, "a": []any{}}, `{"b":1,"a":[]}`, "plain", nil})
	someCount = rapid.SampledFrom([]any{1, 2, nil})
	someSum   = rapid.SampledFrom([]any{json.Number("1"), json.Number("1.00"), json.Number("0.1"), json.Number("1e3")})
)

type fields map[string]*rapid.Generator[any]

func with(sets ...fields) fields {
	all := fields{}
	for _, s := range sets {
		maps.Copy(all, s)
	}
	return all
}

var (
	profile    = fields{"email": someText, "firstName": someText, "lastName": someText, "name": someText}
	role       = fields{"roleName": someText, "description": someText, "permissions": someJSON, "restrictions": someJSON, "isActive": someBool}
	assignment = fields{"organizationCode": someText, "assignmentType": someText, "accessLevel": someText, "isActive": someBool,
		"isPrimary": someBool, "priority": someCount, "assignedAt": someTime, "assignedBy": someText, "metadata": someJSON}
	orgMember = fields{"assignmentId": someIDs, "userId": someIDs, "organizationId": someIDs}
	spending  = fields{"userId": someText, "operationType": someText}
)

// kinds are the event types with the fields they may and must have.
var kinds = []struct {
	payload  events.Payload
	must     fields
	optional fields
}{
	{events.UserCreated{}, fields{"userId": someIDs}, with(profile, fields{"isActive": someBool, "createdAt": someTime})},
	{events.UserDeactivated{}, fields{"userId": someIDs}, with(profile, fields{"deactivatedAt": someTime, "deactivatedBy": someText, "reason": someText})},
	{events.UserDeleted{}, fields{"userId": someIDs}, with(profile, fields{"deletedAt": someTime, "deletedBy": someText, "reason": someText})},
	{events.RoleUpdated{}, fields{"roleId": someIDs}, with(role, fields{"updatedAt": someTime, "updatedBy": someText})},
	{events.RolePermissionsChanged{}, fields{"roleId": someIDs}, role},
	{events.RoleCreated{}, fields{"roleId": someIDs}, with(role, fields{"createdAt": someTime, "createdBy": someText})},
	{events.AppRoleUpdated{}, fields{"roleId": someIDs}, with(role, fields{"updatedAt": someTime, "updatedBy": someText})},
	{events.RoleDeleted{}, fields{"roleId": someIDs}, with(role, fields{"deletedAt": someTime})},
	{events.RoleAssigned{}, fields{"assignmentId": someIDs, "userId": someIDs, "roleId": someIDs}, fields{"assignedAt": someTime, "assignedBy": someText, "expiresAt": someTime}},
	{events.RoleUnassigned{}, fields{"assignmentId": someIDs, "userId": someIDs, "roleId": someIDs}, fields{"unassignedAt": someTime}},
	{events.OrgCreated{}, fields{"orgCode": someIDs}, fields{"orgName": someText, "orgType": someText, "organizationType": someText, "description": someText, "parentId": someText, "isActive": someBool, "createdAt": someTime, "createdBy": someText}},
	{events.AssignmentCreated{}, orgMember, assignment},
	{events.AssignmentUpdated{}, orgMember, assignment},
	{events.AssignmentActivated{}, orgMember, nil},
	{events.AssignmentDeactivated{}, orgMember, nil},
	{events.AssignmentDeleted{}, orgMember, fields{"deletedAt": someTime}},
	{events.CreditAllocated{}, fields{"entityId": someIDs, "amount": someSum}, fields{"allocationId": someIDs}},
	{events.CreditAllocatedSync{}, fields{"entityId": someIDs, "amount": someSum}, fields{"allocationId": someIDs}},
	{events.CreditConsumed{}, fields{"entityId": someIDs, "amount": someSum}, with(spending, fields{"operationId": someIDs})},
	{events.CreditConsumedSync{}, fields{"entityId": someIDs, "amount": someSum}, with(spending, fields{"operationId": someIDs})},
}

// draw chooses fields, in a fixed order so that a failure is found again.
func (f fields) draw(t *rapid.T, into map[string]any, always bool) {
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if always || rapid.Bool().Draw(t, name+"?") {
			into[name] = f[name].Draw(t, name)
		}
	}
}

// anEvent draws one event. Identities are few: re-published events have new
// ones, and different events may share one by a publisher's mistake.
var anEvent = rapid.Custom(func(t *rapid.T) *events.Envelope {
	kind := rapid.SampledFrom(kinds).Draw(t, "kind")
	data := map[string]any{}
	kind.must.draw(t, data, true)
	kind.optional.draw(t, data, false)
	if kind.payload.Type() == (events.AssignmentUpdated{}).Type() && rapid.Bool().Draw(t, "changes?") {
		changes := map[string]any{}
		assignment.draw(t, changes, false)
		data["changes"] = changes
	}
	return drawn(t, kind.payload, data, 20)
})

// aCredit draws events of few ledger cells, so that each sees many copies, and
// identities that are other events' allocation ids.
var aCredit = rapid.Custom(func(t *rapid.T) *events.Envelope {
	kind := rapid.SampledFrom([]events.Payload{events.CreditAllocated{}, events.CreditAllocatedSync{}, events.CreditAllocatedSync{}}).Draw(t, "kind")
	data := map[string]any{
		"entityId": rapid.SampledFrom([]string{"o1", "o1", "o1", "o1", "o2"}).Draw(t, "entity"),
		"amount":   rapid.SampledFrom([]json.Number{"1", "1", "1", "1.0", "2.5"}).Draw(t, "amount"),
	}
	if rapid.IntRange(0, 2).Draw(t, "id?") == 0 {
		data["allocationId"] = fmt.Sprintf("e %d @ \n", rapid.IntRange(0, 9).Draw(t, "id"))
	}
	return drawn(t, kind, data, 9)
})

func drawn(t *rapid.T, p events.Payload, data map[string]any, identities int) *events.Envelope {
	text, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	env := event(p, 0, string(text))
	env.Time = noon.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "time")) * 500 * time.Microsecond)
	env.Identity = fmt.Sprintf("e %d @ \n", rapid.IntRange(0, identities).Draw(t, "identity"))
	for _, name := range []string{"allocationId", "operationId"} {
		if id, ok := data[name].(string); ok {
			env.Identity = id
		}
	}
	env.Tenant = rapid.SampledFrom([]string{"t1", "t1", "t1", "t2"}).Draw(t, "tenant")
	return env
}

// Any order, any repetition and any batches give the rows that the history
// gives in order, one event at a time.
func TestConverges(t *testing.T) {
	for name, events := range map[string]*rapid.Generator[*events.Envelope]{"all types": anEvent, "credits": aCredit} {
		t.Run(name, func(t *testing.T) {
			inOrder, shuffled := open(t), open(t)
			rapid.Check(t, func(rt *rapid.T) {
				wipe(t, inOrder)
				wipe(t, shuffled)
				history := rapid.SliceOfN(events, 1, 30).Draw(rt, "history")
				for _, env := range history {
					mustApply(rt, inOrder, env)
				}
				again := rapid.SliceOfN(rapid.SampledFrom(history), 0, 15).Draw(rt, "again")
				order := rapid.Permutation(slices.Concat(history, again)).Draw(rt, "order")
				for len(order) > 0 {
					n := rapid.IntRange(1, len(order)).Draw(rt, "batch")
					mustApply(rt, shuffled, order[:n]...)
					order = order[n:]
				}
				if diff := cmp.Diff(dump(t, inOrder), dump(t, shuffled)); diff != "" {
					rt.Fatal("-in order +shuffled\n" + diff)
				}
				checkLedger(rt, shuffled)
				checkRule(rt, shuffled, history)
			})
		})
	}
}

func mustApply(t *rapid.T, s *replica.Store, batch ...*events.Envelope) {
	if err := s.Apply(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
}

func wipe(t *testing.T, s *replica.Store) {
	t.Helper()
	statements := "BEGIN"
	for _, table := range tables(t, s) {
		statements += "; DELETE FROM " + table
	}
	if _, err := s.DB().Exec(statements + "; COMMIT"); err != nil {
		t.Fatal(err)
	}
}

// checkRule counts the entries of each tenant and kind from the history, by
// the rule as the package states it: facts by id; a fact without an id, told
// on the sync streams alone, only beyond the entries of credit-events not seen
// there. It judges histories in which one id is always told of one entity and
// amount; in others, what is believed decides.
func checkRule(t *rapid.T, s *replica.Store, history []*events.Envelope) {
	type fact struct{ onLedger, onSync, hasID bool }
	facts := map[string]map[string]*fact{} // cell → id → fact
	cellOf := map[string]string{}
	for _, env := range history {
		var data struct {
			EntityID, AllocationID, OperationID string
			Amount                              float64
		}
		if env.Type.Entity != "credit" {
			continue
		}
		if err := json.Unmarshal(env.Data, &data); err != nil {
			t.Fatal(err)
		}
		id := env.Identity
		cell := fmt.Sprint(env.Tenant, env.Type.Fact, data.EntityID, data.Amount)
		key := env.Tenant + env.Type.Fact + id
		if cellOf[key] != "" && cellOf[key] != cell {
			return
		}
		cellOf[key] = cell
		if facts[cell] == nil {
			facts[cell] = map[string]*fact{}
		}
		if facts[cell][id] == nil {
			facts[cell][id] = &fact{}
		}
		f := facts[cell][id]
		ledger := env.Stream == "credit-events"
		f.onLedger = f.onLedger || ledger
		f.onSync = f.onSync || !ledger
		f.hasID = f.hasID || id == data.AllocationID+data.OperationID
	}
	want := 0
	for _, cell := range facts {
		unseen, copies := 0, 0
		for _, f := range cell {
			switch {
			case !f.onLedger && !f.hasID:
				copies++
			case f.onLedger && !f.onSync:
				unseen++
				want++
			default:
				want++
			}
		}
		want += max(0, copies-unseen)
	}
	var got int
	if err := s.DB().QueryRow("SELECT count(*) FROM credit_entries").Scan(&got); err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Fatalf("%d entries, want %d", got, want)
	}
}
