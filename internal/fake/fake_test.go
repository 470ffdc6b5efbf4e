package fake_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/fake"
)

var tenants = []string{"acme", "globex", "initech"}

// world is what one tenant's events have told so far; check fails the test
// on an event that refers to what does not exist.
type world struct {
	users, roles, orgs, grants, memberships, partners map[string]bool
	allocations                                       map[string]bool
	balances                                          map[string]decimal.Decimal
}

func newWorld() *world {
	return &world{
		users: map[string]bool{"system": true}, roles: map[string]bool{}, orgs: map[string]bool{},
		grants: map[string]bool{}, memberships: map[string]bool{}, partners: map[string]bool{},
		allocations: map[string]bool{}, balances: map[string]decimal.Decimal{},
	}
}

func (w *world) check(t *testing.T, tenant string, p events.Payload) {
	t.Helper()
	if err := events.Validate(p); err != nil {
		t.Fatal(err)
	}
	exists := func(what string, in map[string]bool, ids ...string) {
		t.Helper()
		for _, id := range ids {
			if !in[id] {
				t.Fatalf("%T refers to %s %q, which does not exist: %+v", p, what, id, p)
			}
		}
	}
	fresh := func(what string, in map[string]bool, id string) {
		t.Helper()
		if in[id] {
			t.Fatalf("%T: %s %q exists already", p, what, id)
		}
		in[id] = true
	}
	allocate := func(allocation, entity string, amount decimal.Decimal) {
		if !w.allocations[allocation] {
			w.allocations[allocation] = true
			w.balances[entity] = w.balances[entity].Add(amount)
		}
	}
	consume := func(entity string, amount decimal.Decimal) {
		t.Helper()
		if w.balances[entity] = w.balances[entity].Sub(amount); w.balances[entity].IsNegative() {
			t.Fatalf("balance of %s is %s", entity, w.balances[entity])
		}
	}
	switch e := p.(type) {
	case events.OrgCreated:
		fresh("organization", w.orgs, e.OrgCode)
		if e.ParentID != "" {
			exists("organization", w.orgs, e.ParentID)
		}
		exists("user", w.users, e.CreatedBy)
	case events.UserCreated:
		fresh("user", w.users, e.UserID)
	case events.UserDeactivated:
		exists("user", w.users, e.UserID, e.DeactivatedBy)
	case events.UserDeleted:
		exists("user", w.users, e.UserID, e.DeletedBy)
		delete(w.users, e.UserID)
	case events.RoleCreated:
		w.roles[e.RoleID] = true
		exists("user", w.users, e.CreatedBy)
	case events.RoleUpdated:
		exists("role", w.roles, e.RoleID)
	case events.RolePermissionsChanged:
		exists("role", w.roles, e.RoleID)
	case events.AppRoleUpdated:
		exists("role", w.roles, e.RoleID)
		if len(e.Permissions) != 1 || e.Permissions[e.App] == nil {
			t.Fatalf("copy for %s has the permissions %v", e.App, e.Permissions)
		}
	case events.RoleDeleted: // its copies follow one another: the role stays known
		exists("role", w.roles, e.RoleID)
	case events.RoleAssigned:
		fresh("assignment", w.grants, e.AssignmentID)
		exists("user", w.users, e.UserID, e.AssignedBy)
		exists("role", w.roles, e.RoleID)
	case events.RoleUnassigned:
		exists("assignment", w.grants, e.AssignmentID)
		exists("user", w.users, e.UserID)
		exists("role", w.roles, e.RoleID)
		delete(w.grants, e.AssignmentID)
	case events.AssignmentCreated:
		fresh("assignment", w.memberships, e.AssignmentID)
		exists("user", w.users, e.UserID, e.AssignedBy)
		exists("organization", w.orgs, e.OrganizationID)
	case events.AssignmentUpdated:
		exists("assignment", w.memberships, e.AssignmentID)
		exists("user", w.users, e.UserID)
		exists("organization", w.orgs, e.OrganizationID)
	case events.AssignmentDeactivated:
		exists("assignment", w.memberships, e.AssignmentID)
	case events.AssignmentActivated:
		exists("assignment", w.memberships, e.AssignmentID)
	case events.AssignmentDeleted:
		exists("assignment", w.memberships, e.AssignmentID)
		exists("user", w.users, e.UserID)
		delete(w.memberships, e.AssignmentID)
	case events.CreditAllocated:
		exists("organization", w.orgs, e.EntityID)
		allocate(e.AllocationID, e.EntityID, e.Amount)
	case events.CreditAllocatedSync:
		exists("organization", w.orgs, e.EntityID)
		allocate(e.AllocationID, e.EntityID, e.Amount)
	case events.CreditConsumed:
		exists("organization", w.orgs, e.EntityID)
		exists("user", w.users, e.UserID)
		consume(e.EntityID, e.Amount)
	case events.CreditConsumedSync:
		exists("organization", w.orgs, e.EntityID)
		consume(e.EntityID, e.Amount)
	case events.AppUserCreated:
		exists("user", w.users, e.UserID)
	case events.InterApp:
		switch subject, _, _ := strings.Cut(e.EventType, "."); subject {
		case "employee", "benefits", "performance":
			exists("user", w.users, e.EntityID)
		case "commission", "referral":
			exists("partner", w.partners, e.EntityID)
		case "partner":
			if e.EventType == "partner.registered" {
				exists("partner", w.partners, e.EntityID)
			}
			w.partners[e.EntityID] = true
		default:
			exists("tenant", map[string]bool{tenant: true}, e.EntityID)
		}
	case events.CreditConfigUpdated, events.Acknowledgment:
	default:
		t.Fatalf("%T is not checked", p)
	}
}

func TestStoryIsValidAndLinked(t *testing.T) {
	for _, seed := range []uint64{0, 1, 42, 1 << 63} {
		suite := fake.New(seed, tenants)
		worlds := map[string]*world{}
		told := map[*events.Type]int{}
		begin := time.Now().Truncate(time.Millisecond)
		last := begin
		for range 10_000 {
			m := suite.Next()
			if worlds[m.Tenant] == nil {
				worlds[m.Tenant] = newWorld()
			}
			worlds[m.Tenant].check(t, m.Tenant, m.Payload)
			told[m.Payload.Type()]++
			if m.Time.Before(last) || m.Time.After(time.Now()) {
				t.Fatalf("seed %d: time %v after %v", seed, m.Time, last)
			}
			last = m.Time
		}
		if len(worlds) != len(tenants) {
			t.Errorf("seed %d: events of %d tenants, want %d", seed, len(worlds), len(tenants))
		}
		for _, typ := range events.Catalogue() {
			// The sync copy of a consumption is named by the guide and
			// published by nobody; acknowledgments are the consumers'.
			if typ.Name != "credit_consumed" && typ.Name != "acknowledgment" && told[typ] == 0 {
				t.Errorf("seed %d: no %s in the story", seed, typ.Fact)
			}
		}
	}
}

// story returns the first n events as told in a bubble, where time is the
// same for every story.
func story(t *testing.T, seed uint64, n int) (told []freshet.Message) {
	synctest.Test(t, func(*testing.T) {
		suite := fake.New(seed, tenants)
		for range n {
			time.Sleep(10 * time.Millisecond)
			told = append(told, suite.Next())
		}
	})
	return told
}

func TestStoryIsTheSameForASeed(t *testing.T) {
	first, second := story(t, 7, 2000), story(t, 7, 2000)
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("two stories of one seed (-first +second):\n%s", diff)
	}
	if other := story(t, 8, 2000); cmp.Equal(first, other) {
		t.Error("two seeds tell one story")
	}
}

func TestOneEndsWithTheType(t *testing.T) {
	names := []string{"inter-app:user.created", "inter-app:performance.review", "inter-app:commission.updated", "inter-app:weather.changed", "user.created"}
	for _, typ := range events.Catalogue() {
		if typ.Shape != events.ShapeInterApp {
			names = append(names, typ.Name)
		}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			want, err := events.Parse(name, []byte("{}"))
			if err != nil {
				t.Fatal(err)
			}
			suite, world := fake.New(1, nil), newWorld()
			for range 50 {
				told, err := suite.One(name, "acme")
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range told {
					world.check(t, "acme", p)
				}
				if at := slices.IndexFunc(told, func(p events.Payload) bool { return kind(p) == kind(want) }); at != len(told)-1 {
					t.Fatalf("%s is at %d of %d, want it at the end alone: %+v", name, at, len(told), told)
				}
			}
		})
	}
}

// kind tells event types apart, those between applications by their names.
func kind(p events.Payload) string {
	if e, ok := p.(events.InterApp); ok {
		return e.EventType
	}
	return fmt.Sprintf("%T", p)
}

func TestOneNamesTheNearestType(t *testing.T) {
	_, err := fake.New(1, nil).One("user_craeted", "acme")
	var unknown *events.UnknownTypeError
	if !errors.As(err, &unknown) || unknown.Nearest != "user_created" {
		t.Errorf("got %v, want a suggestion", err)
	}
}
