package replica_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/replica"
)

const tenant = "00000000-0000-0000-0000-000000000001"

var noon = time.Date(2025, 12, 4, 12, 0, 0, 0, time.UTC)

func open(t testing.TB) *replica.Store {
	t.Helper()
	s, err := replica.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "copy.db"), replica.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// event makes an envelope as the decoder does. minute orders events, and
// names them.
func event(p events.Payload, minute int, data string) *events.Envelope {
	typ := p.Type()
	env := &events.Envelope{
		Stream:   strings.ReplaceAll(typ.Stream, "{app}", "hr"),
		ID:       fmt.Sprintf("%d-0", noon.UnixMilli()+int64(minute)),
		Identity: fmt.Sprintf("evt_%03d", minute),
		Type:     typ,
		WireType: typ.Name,
		Tenant:   tenant,
		Time:     noon.Add(time.Duration(minute) * time.Minute),
		Data:     json.RawMessage(data),
		Entity:   events.Entity{Type: typ.Entity},
	}
	var fields map[string]any
	if json.Unmarshal(env.Data, &fields) == nil {
		for _, k := range typ.Key {
			if id, _ := fields[k].(string); id != "" && env.Entity.ID == "" {
				env.Entity.ID = id
			}
		}
	}
	return env
}

func apply(t testing.TB, s *replica.Store, batch ...*events.Envelope) {
	t.Helper()
	if err := s.Apply(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
}

// query returns the rows as lines of "column=value".
func query(t testing.TB, s *replica.Store, q string, args ...any) string {
	t.Helper()
	rows, err := s.DB().QueryContext(t.Context(), q, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	values, dest := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		dest[i] = &values[i]
	}
	var lines []string
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			t.Fatal(err)
		}
		var line []string
		for i, c := range columns {
			if values[i] != nil {
				line = append(line, fmt.Sprintf("%s=%v", c, values[i]))
			}
		}
		lines = append(lines, strings.Join(line, " "))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

// dump renders every table, bookkeeping included, in key order.
func dump(t testing.TB, s *replica.Store) string {
	t.Helper()
	var b strings.Builder
	for _, table := range tables(t, s) {
		fmt.Fprintf(&b, "== %s\n%s\n", table, query(t, s, "SELECT * FROM "+table+" ORDER BY 1, 2, 3, 4"))
	}
	return b.String()
}

func tables(t testing.TB, s *replica.Store) []string {
	t.Helper()
	names := query(t, s, `SELECT name FROM sqlite_master WHERE type = 'table'
		AND name NOT LIKE 'goose%' AND name NOT LIKE 'sqlite%' ORDER BY name`)
	return strings.Split(strings.ReplaceAll(names, "name=", ""), "\n")
}

func TestEventTypes(t *testing.T) {
	type say []*events.Envelope
	userRow := "SELECT email, first_name, last_name, name, is_active, created_at, deactivated_at, deactivated_by, deleted_at, deleted_by, reason, updated_from FROM users"
	roleRow := "SELECT role_id, app, name, description, permissions, restrictions, is_active, updated_at, updated_by, deleted_at FROM roles ORDER BY app"
	assignmentRow := "SELECT assignment_key, assignment_id, user_id, organization_id, organization_code, assignment_type, access_level, is_active, is_primary, priority, assigned_at, assigned_by, deleted_at, metadata FROM organization_assignments"
	assignmentData := `"assignmentId":"a1","userId":"u1","organizationId":"o1"`

	for _, c := range []struct {
		name  string
		say   say
		query string
		want  string
	}{
		{"user created", say{
			event(events.UserCreated{}, 1, `{"userId":"u1","email":"ada@example.com","firstName":"Ada","lastName":"Lovelace","name":"Ada L.","createdAt":"2025-12-04T11:00:00+01:00","shoeSize":9}`),
		}, userRow, "email=ada@example.com first_name=Ada last_name=Lovelace name=Ada L. is_active=1 created_at=2025-12-04T10:00:00.000Z updated_from=evt_001 @ 2025-12-04T12:01:00.000Z"},
		{"user created, only a name", say{
			event(events.UserCreated{}, 1, `{"userId":"u1","name":"Mary Ann Lee","isActive":false}`),
		}, userRow, "first_name=Mary last_name=Ann Lee name=Mary Ann Lee is_active=0 updated_from=evt_001 @ 2025-12-04T12:01:00.000Z"},
		{"user created, a name of one word", say{
			event(events.UserCreated{}, 1, `{"userId":"u1","name":"Mary Lee"}`),
			event(events.UserCreated{}, 2, `{"userId":"u1","name":"Cher"}`),
		}, userRow, "first_name=Cher name=Cher is_active=1 updated_from=evt_002 @ 2025-12-04T12:02:00.000Z"},
		{"absent stays, null is a value", say{
			event(events.UserCreated{}, 1, `{"userId":"u1","email":"a@e.c","firstName":"A","lastName":"B","createdAt":"2025-12-04T10:00:00Z"}`),
			event(events.UserDeactivated{}, 2, `{"userId":"u1","firstName":null}`),
		}, userRow, "email=a@e.c last_name=B is_active=0 created_at=2025-12-04T10:00:00.000Z deactivated_at=2025-12-04T12:02:00.000Z updated_from=evt_002 @ 2025-12-04T12:02:00.000Z"},
		{"user deactivated", say{
			event(events.UserDeactivated{}, 1, `{"userId":"u1","email":"a@e.c","deactivatedAt":"2025-12-04T10:00:00.000Z","deactivatedBy":"admin","reason":"manual_deactivation"}`),
		}, userRow, "email=a@e.c is_active=0 deactivated_at=2025-12-04T10:00:00.000Z deactivated_by=admin reason=manual_deactivation updated_from=evt_001 @ 2025-12-04T12:01:00.000Z"},
		{"user deleted, reason of the deactivation is gone", say{
			event(events.UserDeactivated{}, 1, `{"userId":"u1","reason":"manual_deactivation"}`),
			event(events.UserDeleted{}, 2, `{"userId":"u1","deletedBy":"admin"}`),
		}, userRow, "is_active=0 deactivated_at=2025-12-04T12:01:00.000Z deleted_at=2025-12-04T12:02:00.000Z deleted_by=admin updated_from=evt_002 @ 2025-12-04T12:02:00.000Z"},
		{"late created does not resurrect", say{
			event(events.UserDeleted{}, 2, `{"userId":"u1","deletedAt":"2025-12-04T10:00:00Z"}`),
			event(events.UserCreated{}, 1, `{"userId":"u1","email":"a@e.c"}`),
		}, userRow, "email=a@e.c is_active=0 deleted_at=2025-12-04T10:00:00.000Z updated_from=evt_002 @ 2025-12-04T12:02:00.000Z"},
		{"newer created does", say{
			event(events.UserCreated{}, 3, `{"userId":"u1","email":"b@e.c"}`),
			event(events.UserDeleted{}, 2, `{"userId":"u1","email":"a@e.c","deletedBy":"admin","reason":"r"}`),
			event(events.UserDeactivated{}, 1, `{"userId":"u1","deactivatedBy":"admin"}`),
		}, userRow, "email=b@e.c is_active=1 updated_from=evt_003 @ 2025-12-04T12:03:00.000Z"},

		{"role updated, told twice", say{
			event(events.RoleUpdated{}, 2, `{"roleId":"r1","roleName":"Sales","description":"d","permissions":{"hr":{},"crm":{"leads":["read", "create"]}},"restrictions":{},"updatedBy":"admin","updatedAt":"2025-12-04T10:00:00.000Z"}`),
			event(events.RolePermissionsChanged{}, 1, `{"roleId":"r1","roleName":"Old","permissions":{},"isActive":true,"scope":"organization"}`),
		}, roleRow, `role_id=r1 app= name=Sales description=d permissions={"crm":{"leads":["read","create"]},"hr":{}} restrictions={} is_active=1 updated_at=2025-12-04T10:00:00.000Z updated_by=admin`},
		{"role fan-out is a row of its own", say{
			event(events.RoleUpdated{}, 1, `{"roleId":"r1","roleName":"Sales"}`),
			event(events.RoleCreated{}, 2, `{"roleId":"r1","roleName":"Sales HR","description":"","permissions":{"hr":{"employees":["read"]}},"restrictions":"{\"timeRestrictions\":{}, \"ipRestrictions\":[]}","createdBy":"admin","createdAt":"2025-12-04T10:00:00.000Z"}`),
		}, roleRow, "role_id=r1 app= name=Sales\n" + `role_id=r1 app=hr name=Sales HR description= permissions={"hr":{"employees":["read"]}} restrictions={"ipRestrictions":[],"timeRestrictions":{}} is_active=1 updated_at=2025-12-04T10:00:00.000Z updated_by=admin`},
		{"role fan-out updated and deleted", say{
			event(events.RoleDeleted{}, 3, `{"roleId":"r1","roleName":"Sales","deletedAt":"2025-12-04T10:00:00.000Z"}`),
			event(events.AppRoleUpdated{}, 4, `{"roleId":"r1","roleName":"Sales 2","updatedBy":"admin"}`),
			event(events.RoleCreated{}, 2, `{"roleId":"r1","roleName":"Sales 1","createdBy":"boss"}`),
		}, roleRow, "role_id=r1 app=hr name=Sales 2 is_active=0 updated_by=admin deleted_at=2025-12-04T10:00:00.000Z"},

		{"role assigned", say{
			event(events.RoleAssigned{}, 1, `{"assignmentId":"a1","userId":"u1","roleId":"r1","assignedAt":"2025-12-04T10:00:00.000Z","assignedBy":"admin","expiresAt":null}`),
		}, "SELECT * FROM role_assignments", "tenant_id=" + tenant + " assignment_id=a1 user_id=u1 role_id=r1 assigned_at=2025-12-04T10:00:00.000Z assigned_by=admin updated_from=evt_001 @ 2025-12-04T12:01:00.000Z versions=[\"3f\"]"},
		{"role unassigned and assigned again", say{
			event(events.RoleUnassigned{}, 2, `{"assignmentId":"a1","userId":"u1","roleId":"r1"}`),
			event(events.RoleAssigned{}, 3, `{"assignmentId":"a1","userId":"u1","roleId":"r1","expiresAt":"2026-01-01T00:00:00Z"}`),
			event(events.RoleUnassigned{}, 2, `{"assignmentId":"a2","userId":"u1","roleId":"r2","unassignedAt":"2025-12-04T10:00:00Z"}`),
			event(events.RoleAssigned{}, 1, `{"assignmentId":"a2","userId":"u1","roleId":"r2"}`),
		}, "SELECT assignment_id, role_id, expires_at, deleted_at FROM role_assignments", "assignment_id=a1 role_id=r1 expires_at=2026-01-01T00:00:00.000Z\nassignment_id=a2 role_id=r2 deleted_at=2025-12-04T10:00:00.000Z"},
		{"organization", say{
			event(events.OrgCreated{}, 1, `{"orgCode":"ACME","orgName":"Acme","orgType":"organization","organizationType":"department","description":null,"parentId":"TOP","isActive":true,"createdBy":"admin","createdAt":"2025-12-04T10:00:00.000Z"}`),
		}, "SELECT org_code, name, type, description, parent_id, is_active, created_at, created_by FROM organizations", "org_code=ACME name=Acme type=department parent_id=TOP is_active=1 created_at=2025-12-04T10:00:00.000Z created_by=admin"},

		{"assignment created", say{
			event(events.AssignmentCreated{}, 1, `{`+assignmentData+`,"organizationCode":"ORG001","assignmentType":"direct","accessLevel":"standard","isActive":true,"isPrimary":false,"assignedAt":"2025-12-04T10:00:00.000Z","priority":1,"assignedBy":"admin","metadata":{"z":1.50,"a":"<&>"}}`),
		}, assignmentRow, `assignment_key=a1 assignment_id=a1 user_id=u1 organization_id=o1 organization_code=ORG001 assignment_type=direct access_level=standard is_active=1 is_primary=0 priority=1 assigned_at=2025-12-04T10:00:00.000Z assigned_by=admin metadata={"a":"<&>","z":1.50}`},
		{"assignment updated: changes over what was", say{
			event(events.AssignmentCreated{}, 1, `{`+assignmentData+`,"assignedBy":"admin"}`),
			event(events.AssignmentUpdated{}, 2, `{`+assignmentData+`,"assignmentType":"direct","isActive":true,"priority":1,"changes":{"assignmentType":"matrix","priority":2,"isActive":false}}`),
		}, assignmentRow, "assignment_key=a1 assignment_id=a1 user_id=u1 organization_id=o1 assignment_type=matrix is_active=0 priority=2 assigned_by=admin"},
		{"assignment updated without changes", say{
			event(events.AssignmentUpdated{}, 2, `{`+assignmentData+`,"accessLevel":"admin"}`),
			event(events.AssignmentUpdated{}, 3, `{`+assignmentData+`,"priority":5,"changes":null}`),
		}, assignmentRow, "assignment_key=a1 assignment_id=a1 user_id=u1 organization_id=o1 access_level=admin priority=5"},
		{"assignment deactivated, activated", say{
			event(events.AssignmentActivated{}, 3, `{`+assignmentData+`}`),
			event(events.AssignmentDeactivated{}, 2, `{`+assignmentData+`}`),
		}, assignmentRow, "assignment_key=a1 assignment_id=a1 user_id=u1 organization_id=o1 is_active=1"},
		{"assignment deleted stays deleted when updated", say{
			event(events.AssignmentDeleted{}, 2, `{`+assignmentData+`}`),
			event(events.AssignmentUpdated{}, 3, `{`+assignmentData+`,"accessLevel":"admin"}`),
			event(events.AssignmentCreated{}, 1, `{`+assignmentData+`}`),
		}, assignmentRow, "assignment_key=a1 assignment_id=a1 user_id=u1 organization_id=o1 access_level=admin is_active=0 deleted_at=2025-12-04T12:02:00.000Z"},
		{"old ids of one assignment are one row", say{
			keyed("u1_o1", event(events.AssignmentDeleted{}, 2, `{"assignmentId":"u1_o1_1735987200999","userId":"u1","organizationId":"o1"}`)),
			keyed("u1_o1", event(events.AssignmentCreated{}, 1, `{"assignmentId":"u1_o1_1735987200000","userId":"u1","organizationId":"o1"}`)),
		}, assignmentRow, "assignment_key=u1_o1 assignment_id=u1_o1_1735987200999 user_id=u1 organization_id=o1 is_active=0 deleted_at=2025-12-04T12:02:00.000Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t)
			apply(t, s, c.say...)
			if diff := cmp.Diff(c.want, query(t, s, c.query)); diff != "" {
				t.Error("-want +got\n" + diff)
			}
		})
	}
}

func keyed(entity string, env *events.Envelope) *events.Envelope {
	env.Entity.ID = entity
	return env
}

func TestTypesAreThoseOfTheCatalogueThatHaveATable(t *testing.T) {
	var names []string
	for _, typ := range open(t).Types() {
		names = append(names, typ.Name)
	}
	want := "user_created user_deactivated user_deleted role_assigned role_unassigned role_updated role_permissions_changed " +
		"role.created role.updated role.deleted org_created " +
		"organization.assignment.created organization.assignment.updated organization.assignment.deactivated " +
		"organization.assignment.activated organization.assignment.deleted " +
		"credit.allocated credit.consumed credit_allocated credit_consumed"
	if diff := cmp.Diff(want, strings.Join(names, " ")); diff != "" {
		t.Error("-want +got\n" + diff)
	}
}

func TestTenantsNeverMix(t *testing.T) {
	s := open(t)
	for _, tenant := range []string{"acme", "globex"} {
		batch := []*events.Envelope{
			event(events.UserCreated{}, 1, `{"userId":"u1","email":"u@`+tenant+`","tenantId":"other"}`),
			event(events.RoleAssigned{}, 1, `{"assignmentId":"a1","userId":"u1","roleId":"r1"}`),
			onLedger(1, "x", "5"),
			onSync(2, "", "5"),
		}
		for _, env := range batch {
			env.Tenant = tenant
		}
		apply(t, s, batch...)
	}
	for q, want := range map[string]string{
		"SELECT tenant_id, email FROM users":                             "tenant_id=acme email=u@acme\ntenant_id=globex email=u@globex",
		"SELECT tenant_id, user_id FROM role_assignments":                "tenant_id=acme user_id=u1\ntenant_id=globex user_id=u1",
		"SELECT tenant_id, balance FROM credit_balances":                 "tenant_id=acme balance=5\ntenant_id=globex balance=5",
		"SELECT tenant_id, entry_id FROM credit_entries ORDER BY 1":      "tenant_id=acme entry_id=x\ntenant_id=globex entry_id=x",
		"SELECT count(*) AS n FROM users WHERE tenant_id LIKE '%other%'": "n=0",
	} {
		if diff := cmp.Diff(want, query(t, s, q)); diff != "" {
			t.Errorf("%s: -want +got\n%s", q, diff)
		}
	}
}

func TestRejectedEventLeavesNothing(t *testing.T) {
	s := open(t)
	apply(t, s, event(events.UserCreated{}, 1, `{"userId":"u1"}`), event(events.CreditAllocated{}, 1, `{"entityId":"o1","amount":5}`))
	before := dump(t, s)

	for _, c := range []struct {
		name, want string
		env        *events.Envelope
	}{
		{"no id", "user_created: data.userId: missing", event(events.UserCreated{}, 2, `{"email":"e"}`)},
		{"null id", "user_created: data.userId: missing", event(events.UserCreated{}, 2, `{"userId":null}`)},
		{"id of the wrong kind", "user_created: data.userId: must be a string", event(events.UserCreated{}, 2, `{"userId":{}}`)},
		{"text of the wrong kind", "user_created: data.email: must be a string", event(events.UserCreated{}, 2, `{"userId":"u1","email":["secret"]}`)},
		{"flag of the wrong kind", "user_created: data.isActive: must be true or false", event(events.UserCreated{}, 2, `{"userId":"u1","isActive":"yes"}`)},
		{"time of the wrong kind", "user_created: data.createdAt: must be a time", event(events.UserCreated{}, 2, `{"userId":"u1","createdAt":"yesterday"}`)},
		{"priority of the wrong kind", "data.priority: must be a whole number", event(events.AssignmentUpdated{}, 2, `{"assignmentId":"a1","priority":1.5}`)},
		{"changes of the wrong kind", "data.changes: must be an object", event(events.AssignmentUpdated{}, 2, `{"assignmentId":"a1","changes":[]}`)},
		{"a role without an id", "data.roleId: missing", event(events.RoleUpdated{}, 2, `{"roleName":"r"}`)},
		{"an assignment of nothing", "data.assignmentId: missing", event(events.AssignmentCreated{}, 2, `{"userId":"u1"}`)},
		{"a role's assignment of nothing", "data.assignmentId: missing", event(events.RoleAssigned{}, 2, `{"userId":"u1","roleId":"r1"}`)},
		{"no amount", "credit.allocated: data.amount: must be a number", event(events.CreditAllocated{}, 2, `{"entityId":"o1"}`)},
		{"amount as text", "data.amount: must be a number", event(events.CreditAllocated{}, 2, `{"entityId":"o1","amount":"5"}`)},
		{"amount without bound", "data.amount: must be a number of at most 1000 digits", event(events.CreditAllocated{}, 2, `{"entityId":"o1","amount":1e999999999}`)},
		{"no entity", "data.entityId: missing", event(events.CreditConsumed{}, 2, `{"amount":5}`)},
		{"data that is no object", "data is not a JSON object", event(events.UserDeleted{}, 2, `null`)},
		{"a type without a table", "the copy has no table for this type", event(events.CreditConfigUpdated{}, 2, `{"configId":"c"}`)},
		{"no tenant", "no tenant", func() *events.Envelope {
			env := event(events.UserCreated{}, 2, `{"userId":"u2"}`)
			env.Tenant = ""
			return env
		}()},
	} {
		t.Run(c.name, func(t *testing.T) {
			good := []*events.Envelope{
				event(events.UserDeleted{}, 3, `{"userId":"u1"}`),
				event(events.CreditConsumed{}, 3, `{"entityId":"o1","amount":5}`),
			}
			err := s.Apply(t.Context(), append(good, c.env))
			var rejected *replica.RejectedError
			if !errors.As(err, &rejected) || !rejected.Permanent() {
				t.Fatalf("got %v, want a RejectedError", err)
			}
			if rejected.Stream != c.env.Stream || rejected.ID != c.env.ID {
				t.Errorf("names %s/%s, want %s/%s", rejected.Stream, rejected.ID, c.env.Stream, c.env.ID)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want it to contain %q", err, c.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("%q shows a payload", err)
			}
			if diff := cmp.Diff(before, dump(t, s)); diff != "" {
				t.Error("rows changed: -before +after\n" + diff)
			}
		})
	}
}

func TestAwkwardText(t *testing.T) {
	s := open(t)
	apply(t, s,
		event(events.UserCreated{}, 1, `{"userId":18446744073709551617,"email":"zoë@exämple.com","firstName":"nul \u0000 \" ' \\ <b> 🎉","name":""}`),
		event(events.UserCreated{}, 2, `{"userId":"2","createdAt":""}`),
		event(events.RoleUpdated{}, 1, `{"roleId":"r","restrictions":"not json","permissions":{"n":12345678901234567890.10,"e":1e+21}}`),
	)
	var id, first string
	if err := s.DB().QueryRow("SELECT user_id, first_name FROM users WHERE email = 'zoë@exämple.com'").Scan(&id, &first); err != nil {
		t.Fatal(err)
	}
	if want := "nul \x00 \" ' \\ <b> 🎉"; id != "18446744073709551617" || first != want {
		t.Errorf("got %q %q", id, first)
	}
	want := `restrictions="not json" permissions={"e":1e+21,"n":12345678901234567890.10}`
	if got := query(t, s, "SELECT restrictions, permissions FROM roles"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestReappliedEventsAreNotWritten(t *testing.T) {
	s := open(t)
	batch := []*events.Envelope{
		event(events.UserCreated{}, 1, `{"userId":"u1","email":"e"}`),
		onLedger(1, "x", "5"),
	}
	apply(t, s, batch...)
	if _, err := s.DB().Exec(`
		CREATE TRIGGER users_stay BEFORE UPDATE ON users BEGIN SELECT RAISE(ABORT, 'written again'); END;
		CREATE TRIGGER facts_stay BEFORE UPDATE ON credit_facts BEGIN SELECT RAISE(ABORT, 'written again'); END;
		CREATE TRIGGER balances_stay BEFORE UPDATE ON credit_balances BEGIN SELECT RAISE(ABORT, 'written again'); END`); err != nil {
		t.Fatal(err)
	}
	apply(t, s, batch...)
}

func TestSurvivesReopening(t *testing.T) {
	dsn := "sqlite://" + filepath.Join(t.TempDir(), "a copy? 100% #1.db")
	batch := []*events.Envelope{
		event(events.UserCreated{}, 1, `{"userId":"u1","email":"e"}`),
		event(events.UserDeactivated{}, 2, `{"userId":"u1"}`),
		event(events.CreditAllocatedSync{}, 1, `{"entityId":"o1","amount":5}`),
	}
	var dumps []string
	for range 2 {
		s, err := replica.Open(t.Context(), dsn, replica.Options{})
		if err != nil {
			t.Fatal(err)
		}
		apply(t, s, batch...)
		dumps = append(dumps, dump(t, s))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(dumps[0], dumps[1]); diff != "" {
		t.Error("-first +second\n" + diff)
	}
}

// An exclusive consumer and its standby may start at the same moment.
func TestOpenedTwiceAtOnce(t *testing.T) {
	dsn := "sqlite://" + filepath.Join(t.TempDir(), "copy.db")
	const n = 4
	errs := make(chan error, n)
	for i := range n {
		go func() {
			s, err := replica.Open(t.Context(), dsn, replica.Options{})
			if err == nil {
				err = s.Apply(t.Context(), []*events.Envelope{
					event(events.CreditConsumed{}, i, `{"entityId":"o1","amount":0.1}`),
				})
				s.Close()
			}
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	s, err := replica.Open(t.Context(), dsn, replica.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, want := query(t, s, "SELECT balance FROM credit_balances"), "balance=-0.4"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDatabaseFailures(t *testing.T) {
	one := []*events.Envelope{event(events.UserCreated{}, 1, `{"userId":"u1"}`)}
	unavailable := func(t *testing.T, err error) {
		t.Helper()
		var u *replica.UnavailableError
		if !errors.As(err, &u) || !u.Unavailable() {
			t.Errorf("got %v, want an UnavailableError", err)
		}
	}
	t.Run("closed", func(t *testing.T) {
		s := open(t)
		s.Close()
		unavailable(t, s.Apply(t.Context(), one))
	})
	t.Run("failing, then well again", func(t *testing.T) {
		s := open(t)
		if _, err := s.DB().Exec("ALTER TABLE users RENAME TO elsewhere"); err != nil {
			t.Fatal(err)
		}
		unavailable(t, s.Apply(t.Context(), append(one, event(events.OrgCreated{}, 1, `{"orgCode":"o"}`))))
		if got := query(t, s, "SELECT * FROM organizations"); got != "" {
			t.Errorf("half a batch was written: %s", got)
		}
		if _, err := s.DB().Exec("ALTER TABLE elsewhere RENAME TO users"); err != nil {
			t.Fatal(err)
		}
		apply(t, s, one...)
	})
	t.Run("cancelled", func(t *testing.T) {
		s := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := s.Apply(ctx, one)
		var u *replica.UnavailableError
		if !errors.Is(err, context.Canceled) || errors.As(err, &u) {
			t.Errorf("got %v, want the context's error", err)
		}
		apply(t, s, one...)
	})
}

func TestOpenRefuses(t *testing.T) {
	for dsn, want := range map[string]string{
		"postgres://u:secret@db/x":   "postgres is not supported yet",
		"postgresql://u:secret@db/x": "postgres is not supported yet",
		"mysql://u:secret@db/x":      "want sqlite://FILE",
		"copy.db":                    "want sqlite://FILE",
		"":                           "want sqlite://FILE",
		"sqlite://":                  "needs a file",
		"sqlite://:memory:":          "needs a file",
		"sqlite:///no/such/dir/x.db": "open",
	} {
		_, err := replica.Open(t.Context(), dsn, replica.Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want it to contain %q", dsn, err, want)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v shows the password", dsn, err)
		}
	}
}
