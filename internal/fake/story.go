package fake

import (
	"fmt"

	"github.com/freshet/freshet/events"
)

// What a tenant has is bounded, so a story may go on for days.
const (
	maxUsers = 60
	maxRoles = 8
	maxOrgs  = 10
)

// turn is one way for the story to go on.
type turn struct {
	weight int
	when   bool
	tell   func()
}

// advance tells what happens next in the tenant: one or more events.
func (t *tenant) advance() {
	if t.owner == nil {
		t.open()
		return
	}
	turns := []turn{
		{28, true, func() { t.tell(t.creditConsumed()) }},
		{14, true, func() { t.roleAssigned() }},
		{14, len(t.users) < maxUsers, t.join},
		{8, true, t.talk},
		{6, len(t.memberships) > 0, t.assignmentUpdated},
		{5, true, t.allocate},
		{5, true, t.changeRole},
		{4, len(t.grants) > 0, func() { t.roleUnassigned(t.anyGrant(), "no_longer_needed") }},
		{3, len(t.users) > 3, t.userDeactivated},
		{3, len(t.users) > 5, t.userDeleted},
		{3, t.inactive() > 0, func() { t.assignmentActivated(t.anyMembership(false)) }},
		{2, len(t.memberships) > 3, func() { t.assignmentDeactivated(t.anyMembership(true)) }},
		{2, len(t.memberships) > 3, func() { t.assignmentDeleted(t.anyMembership(true)) }},
		{2, len(t.roles) < maxRoles, func() { t.roleCreated(t.someApps()) }},
		{2, len(t.orgs) < maxOrgs, func() { t.orgCreated() }},
		{1, len(t.roles) > 3, func() { t.roleDeleted(pick(t.Suite, t.roles), false) }},
		{1, true, t.creditConfigUpdated},
	}
	total := 0
	for _, turn := range turns {
		if turn.when {
			total += turn.weight
		}
	}
	at := t.faker.IntN(total)
	for _, turn := range turns {
		if !turn.when {
			continue
		}
		if at -= turn.weight; at < 0 {
			turn.tell()
			return
		}
	}
}

// open is how every tenant's story begins.
func (t *tenant) open() {
	t.orgCreated()
	t.owner = t.userCreated()
	t.users = nil // the owner is nobody's example of a user: it never leaves
	t.roleCreated([]string{"crm", "hr"})
	t.allocate()
	t.join()
}

// join is a new user's first day.
func (t *tenant) join() {
	u := t.userCreated()
	if t.chance(80) {
		t.assignmentCreated(u)
	}
}

// allocate tells of new credits as the suite does: on two streams.
func (t *tenant) allocate() {
	e := t.creditAllocated(t.anyOrg())
	t.tell(e)
	t.tell(syncCopy(e))
}

// changeRole tells of a change of a role as the suite does: once for the
// suite, with its permissions, and once for each application.
func (t *tenant) changeRole() {
	r := t.changed(t.anyRole())
	t.roleUpdated(r)
	t.rolePermissionsChanged(r)
	t.appRoleUpdated(r, false)
}

// talk is an application that tells another something.
func (t *tenant) talk() {
	if kind := pick(t.Suite, interAppKinds); kind == "user.created" {
		t.appUserCreated()
	} else {
		t.interApp(kind)
	}
}

func (t *tenant) inactive() int {
	n := 0
	for _, m := range t.memberships {
		if !m.active {
			n++
		}
	}
	return n
}

// teller returns what tells an event of the type, last.
func teller(typeName string) (func(*tenant), error) {
	p, err := events.Parse(typeName, []byte("{}"))
	if err != nil {
		return nil, err
	}
	switch p := p.(type) {
	case events.UserCreated:
		return func(t *tenant) { t.userCreated() }, nil
	case events.UserDeactivated:
		return (*tenant).userDeactivated, nil
	case events.UserDeleted:
		return (*tenant).userDeleted, nil
	case events.OrgCreated:
		return func(t *tenant) { t.orgCreated() }, nil
	case events.AssignmentCreated:
		return func(t *tenant) { t.assignmentCreated(t.anyUser()) }, nil
	case events.AssignmentUpdated:
		return (*tenant).assignmentUpdated, nil
	case events.AssignmentDeactivated:
		return func(t *tenant) { t.assignmentDeactivated(t.anyMembership(true)) }, nil
	case events.AssignmentActivated:
		return func(t *tenant) { t.assignmentActivated(t.anyMembership(false)) }, nil
	case events.AssignmentDeleted:
		return func(t *tenant) { t.assignmentDeleted(t.anyMembership(true)) }, nil
	case events.RoleAssigned:
		return func(t *tenant) { t.roleAssigned() }, nil
	case events.RoleUnassigned:
		return func(t *tenant) { t.roleUnassigned(t.anyGrant(), "no_longer_needed") }, nil
	case events.RoleUpdated:
		return func(t *tenant) { t.roleUpdated(t.changed(t.anyRole())) }, nil
	case events.RolePermissionsChanged:
		return func(t *tenant) { t.rolePermissionsChanged(t.changed(t.anyRole())) }, nil
	case events.RoleCreated:
		return func(t *tenant) { t.roleCreated(t.someApps()[:1]) }, nil
	case events.AppRoleUpdated:
		return func(t *tenant) { t.appRoleUpdated(t.changed(t.anyRole()), true) }, nil
	case events.RoleDeleted:
		return func(t *tenant) { t.roleDeleted(t.anyRole(), true) }, nil
	case events.CreditAllocated:
		return func(t *tenant) { t.tell(t.creditAllocated(t.anyOrg())) }, nil
	case events.CreditAllocatedSync:
		return func(t *tenant) { t.tell(syncCopy(t.creditAllocated(t.anyOrg()))) }, nil
	case events.CreditConsumed:
		return func(t *tenant) { t.tell(t.creditConsumed()) }, nil
	case events.CreditConsumedSync:
		return func(t *tenant) { t.tell(syncUse(t.creditConsumed())) }, nil
	case events.CreditConfigUpdated:
		return (*tenant).creditConfigUpdated, nil
	case events.AppUserCreated:
		return (*tenant).appUserCreated, nil
	case events.InterApp:
		return func(t *tenant) { t.interApp(p.EventType) }, nil
	case events.Acknowledgment:
		return (*tenant).acknowledgment, nil
	}
	return nil, fmt.Errorf("%s: nothing to tell of it", typeName)
}
