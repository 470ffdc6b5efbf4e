package fake

import (
	"fmt"
	"slices"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
)

// tenant is what a tenant has, as far as it has been told.
type tenant struct {
	*Suite
	id     string
	domain string          // of its addresses
	emails map[string]bool // in use

	owner       *user // never leaves
	users       []*user
	orgs        []*org
	roles       []*role
	grants      []*grant      // roles of users
	memberships []*membership // users in organizations
	partners    []string
	deals       int // credit operations whose price was set
}

type user struct {
	id, email, first, last string
	active                 bool
}

type org struct {
	id, code, name string
	level          int64
	balance        decimal.Decimal
}

type role struct {
	id, name, description string
	permissions           events.Permissions
}

type grant struct {
	id   string
	user *user
	role *role
}

type membership struct {
	id       string
	user     *user
	org      *org
	kind     string
	access   string
	primary  bool
	priority int64
	active   bool
	since    events.AssignmentCreated
}

// tell appends an event to the story. Applications use credits; all else is
// told by the suite's owner.
func (t *tenant) tell(p events.Payload) {
	source := "wrapper-api"
	if _, ok := p.(events.CreditConsumed); ok {
		source = "crm"
	}
	t.queue = append(t.queue, freshet.Message{Tenant: t.id, Payload: p, Time: t.now(), Source: source})
}

// admin is the user who does what is done to others.
func (t *tenant) admin() string {
	if t.owner == nil {
		return "system"
	}
	return t.owner.id
}

// The any… methods return one of what there is, and tell of a new one first
// when there is none.

func (t *tenant) anyOrg() *org {
	if len(t.orgs) == 0 {
		return t.orgCreated()
	}
	return pick(t.Suite, t.orgs)
}

func (t *tenant) anyUser() *user {
	active := slices.DeleteFunc(slices.Clone(t.users), func(u *user) bool { return !u.active })
	if len(active) == 0 {
		return t.userCreated()
	}
	return pick(t.Suite, active)
}

func (t *tenant) anyRole() *role {
	if len(t.roles) == 0 {
		return t.roleCreated(t.someApps())
	}
	return pick(t.Suite, t.roles)
}

func (t *tenant) anyGrant() *grant {
	if len(t.grants) == 0 {
		return t.roleAssigned()
	}
	return pick(t.Suite, t.grants)
}

func (t *tenant) anyMembership(active bool) *membership {
	fit := slices.DeleteFunc(slices.Clone(t.memberships), func(m *membership) bool { return m.active != active })
	if len(fit) > 0 {
		return pick(t.Suite, fit)
	}
	m := t.assignmentCreated(t.anyUser())
	if !active {
		t.assignmentDeactivated(m)
	}
	return m
}

func remove[T comparable](from []T, x T) []T {
	return slices.DeleteFunc(from, func(y T) bool { return y == x })
}

// newUser makes up a person whose address nobody else in the tenant has.
func (t *tenant) newUser() *user {
	if t.domain == "" {
		t.domain = slug(t.faker.LastName()) + "-" + slug(t.faker.Noun()) + ".example"
	}
	u := &user{id: t.faker.UUID(), first: t.faker.FirstName(), last: t.faker.LastName(), active: true}
	for n := 1; u.email == "" || t.emails[u.email]; n++ {
		u.email = slug(u.first) + "." + slug(u.last)
		if n > 1 {
			u.email += fmt.Sprint(n)
		}
		u.email += "@" + t.domain
	}
	t.emails[u.email] = true
	return u
}

// slug keeps the letters and digits that an address may have.
func slug(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(s))
}
