package fake

import (
	"slices"

	"github.com/freshet/freshet/events"
)

func (t *tenant) userCreated() *user {
	u := t.newUser()
	active := true
	t.users = append(t.users, u)
	t.tell(events.UserCreated{
		UserID:    u.id,
		Email:     u.email,
		FirstName: u.first,
		LastName:  u.last,
		Name:      u.first + " " + u.last,
		IsActive:  &active,
		CreatedAt: t.now(),
	})
	return u
}

func (t *tenant) userDeactivated() {
	u := t.anyUser()
	u.active = false
	t.tell(events.UserDeactivated{
		UserID:        u.id,
		Email:         u.email,
		FirstName:     u.first,
		LastName:      u.last,
		Name:          u.first + " " + u.last,
		DeactivatedAt: t.now(),
		DeactivatedBy: t.admin(),
		Reason:        pick(t.Suite, events.UserDeactivated{}.Type().Reasons),
	})
}

// userDeleted takes a user's roles and organizations away first, so that
// nothing refers to who is gone.
func (t *tenant) userDeleted() {
	if len(t.users) == 0 {
		t.userCreated()
	}
	u := pick(t.Suite, t.users)
	for _, g := range slices.Clone(t.grants) {
		if g.user == u {
			t.roleUnassigned(g, "user_deleted")
		}
	}
	for _, m := range slices.Clone(t.memberships) {
		if m.user == u {
			t.assignmentDeleted(m)
		}
	}
	t.users = remove(t.users, u)
	delete(t.emails, u.email)
	t.tell(events.UserDeleted{
		UserID:    u.id,
		Email:     u.email,
		FirstName: u.first,
		LastName:  u.last,
		Name:      u.first + " " + u.last,
		DeletedAt: t.now(),
		DeletedBy: t.admin(),
		Reason:    pick(t.Suite, events.UserDeleted{}.Type().Reasons),
	})
}

func (t *tenant) orgCreated() *org {
	o := &org{id: t.faker.UUID(), level: 1}
	event := events.OrgCreated{
		OrgType:          "organization",
		OrganizationType: "business_unit",
		CreatedBy:        t.admin(),
	}
	if len(t.orgs) == 0 {
		o.name = t.faker.Company()
		event.Description = "Headquarters"
	} else {
		parent := pick(t.Suite, t.orgs)
		o.name = pick(t.Suite, departments) + " " + t.faker.City()
		o.level = parent.level + 1
		event.ParentID = parent.id
		event.OrganizationType = "department"
	}
	o.code = orgCode(o.name)
	t.orgs = append(t.orgs, o)
	active := true
	event.OrgCode, event.OrgName, event.EntityLevel, event.IsActive, event.CreatedAt = o.id, o.name, o.level, &active, t.now()
	t.tell(event)
	return o
}

func (t *tenant) assignmentCreated(u *user) *membership {
	o := t.anyOrg()
	m := &membership{
		id:       t.faker.UUID(),
		user:     u,
		org:      o,
		kind:     pick(t.Suite, assignmentTypes),
		access:   pick(t.Suite, accessLevels),
		priority: int64(t.faker.IntRange(1, 5)),
		primary:  !slices.ContainsFunc(t.memberships, func(m *membership) bool { return m.user == u }),
		active:   true,
	}
	t.memberships = append(t.memberships, m)
	active, primary := true, m.primary
	m.since = events.AssignmentCreated{
		AssignmentID:     m.id,
		UserID:           u.id,
		OrganizationID:   o.id,
		OrganizationCode: o.code,
		AssignmentType:   m.kind,
		AccessLevel:      m.access,
		IsActive:         &active,
		IsPrimary:        &primary,
		AssignedAt:       t.now(),
		Priority:         m.priority,
		AssignedBy:       t.admin(),
	}
	t.tell(m.since)
	return m
}

func (t *tenant) assignmentUpdated() {
	m := t.anyMembership(true)
	primary := m.primary
	event := events.AssignmentUpdated{
		AssignmentID:     m.id,
		UserID:           m.user.id,
		OrganizationID:   m.org.id,
		OrganizationCode: m.org.code,
		AssignmentType:   m.kind,
		AccessLevel:      m.access,
		IsActive:         m.since.IsActive,
		IsPrimary:        &primary,
		AssignedAt:       m.since.AssignedAt,
		Priority:         m.priority,
		AssignedBy:       m.since.AssignedBy,
		UpdatedBy:        t.admin(),
		UpdatedAt:        t.now(),
	}
	switch t.faker.IntN(3) {
	case 0:
		m.kind = pick(t.Suite, assignmentTypes)
		event.Changes = map[string]any{"assignmentType": m.kind}
	case 1:
		m.access = pick(t.Suite, accessLevels)
		event.Changes = map[string]any{"accessLevel": m.access}
	default:
		m.priority = int64(t.faker.IntRange(1, 5))
		event.Changes = map[string]any{"priority": m.priority}
	}
	t.tell(event)
}

func (t *tenant) assignmentDeactivated(m *membership) {
	m.active = false
	t.tell(events.AssignmentDeactivated{
		AssignmentID:   m.id,
		UserID:         m.user.id,
		OrganizationID: m.org.id,
		DeactivatedBy:  t.admin(),
		DeactivatedAt:  t.now(),
		Reason:         "on_leave",
	})
}

func (t *tenant) assignmentActivated(m *membership) {
	m.active = true
	t.tell(events.AssignmentActivated{
		AssignmentID:   m.id,
		UserID:         m.user.id,
		OrganizationID: m.org.id,
		ActivatedBy:    t.admin(),
		ActivatedAt:    t.now(),
	})
}

func (t *tenant) assignmentDeleted(m *membership) {
	t.memberships = remove(t.memberships, m)
	t.tell(events.AssignmentDeleted{
		AssignmentID:   m.id,
		UserID:         m.user.id,
		OrganizationID: m.org.id,
		DeletedBy:      t.admin(),
		DeletedAt:      t.now(),
		Reason:         pick(t.Suite, events.AssignmentDeleted{}.Type().Reasons),
	})
}
