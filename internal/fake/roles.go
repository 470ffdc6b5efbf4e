package fake

import (
	"encoding/json"
	"slices"

	"github.com/freshet/freshet/events"
)

// noRestrictions is written as publishers of roles write it: a JSON object
// inside a JSON string.
var noRestrictions = json.RawMessage(`"{\"timeRestrictions\":{},\"ipRestrictions\":[]}"`)

// someApps returns the applications that a new role is for.
func (t *tenant) someApps() []string {
	apps := slices.Clone(applications)
	t.faker.ShuffleStrings(apps)
	apps = apps[:t.faker.IntRange(1, 2)]
	slices.Sort(apps)
	return apps
}

func (t *tenant) newRole(apps []string) *role {
	kind := pick(t.Suite, roleKinds)
	r := &role{id: t.faker.UUID(), name: kind.name, description: kind.description, permissions: events.Permissions{}}
	for _, app := range apps {
		r.permissions[app] = t.permissions(app)
	}
	t.roles = append(t.roles, r)
	return r
}

// permissions grants at least one permission on one or more of the
// application's modules.
func (t *tenant) permissions(app string) map[string][]string {
	modules := slices.Clone(modulesOf[app])
	t.faker.ShuffleStrings(modules)
	granted := make(map[string][]string)
	for _, module := range modules[:t.faker.IntRange(1, len(modules))] {
		granted[module] = slices.Clone(permissionLevels[:t.faker.IntRange(1, len(permissionLevels))])
	}
	return granted
}

func (t *tenant) roleCreated(apps []string) *role {
	r := t.newRole(apps)
	event := events.RoleCreated{
		RoleID:       r.id,
		RoleName:     r.name,
		Description:  r.description,
		Permissions:  r.permissions,
		Restrictions: noRestrictions,
		Metadata:     json.RawMessage(`{"isTemplate":false}`),
		CreatedBy:    t.admin(),
		CreatedAt:    t.now(),
	}
	for _, forApp := range event.FanOut() {
		t.tell(forApp)
	}
	return r
}

// changed gives a role other permissions in one of its applications.
func (t *tenant) changed(r *role) *role {
	app := pick(t.Suite, appsOf(r))
	r.permissions[app] = t.permissions(app)
	return r
}

// appsOf returns the role's applications in one order, for the story must not
// depend on a map's.
func appsOf(r *role) []string {
	return slices.DeleteFunc(slices.Clone(applications), func(app string) bool { return r.permissions[app] == nil })
}

func (t *tenant) roleUpdated(r *role) {
	t.tell(events.RoleUpdated{
		RoleID:       r.id,
		RoleName:     r.name,
		Description:  r.description,
		Permissions:  copyOf(r.permissions),
		Restrictions: json.RawMessage(`{}`),
		UpdatedBy:    t.admin(),
		UpdatedAt:    t.now(),
	})
}

func (t *tenant) rolePermissionsChanged(r *role) {
	active := true
	t.tell(events.RolePermissionsChanged{
		RoleID:      r.id,
		RoleName:    r.name,
		Permissions: copyOf(r.permissions),
		IsActive:    &active,
		Description: r.description,
		Scope:       "organization",
	})
}

// appRoleUpdated tells the applications what the role is now; only the first
// of them when alone.
func (t *tenant) appRoleUpdated(r *role, alone bool) {
	copies := events.AppRoleUpdated{
		RoleID:       r.id,
		RoleName:     r.name,
		Description:  r.description,
		Permissions:  copyOf(r.permissions),
		Restrictions: noRestrictions,
		UpdatedBy:    t.admin(),
		UpdatedAt:    t.now(),
	}.FanOut()
	if alone {
		copies = copies[:1]
	}
	for _, forApp := range copies {
		t.tell(forApp)
	}
}

// roleDeleted takes the role from its users first. Only the first of its
// applications is told when alone.
func (t *tenant) roleDeleted(r *role, alone bool) {
	users := 0
	for _, g := range slices.Clone(t.grants) {
		if g.role == r {
			t.roleUnassigned(g, "role_deleted")
			users++
		}
	}
	t.roles = remove(t.roles, r)
	copies := events.RoleDeleted{
		RoleID:             r.id,
		RoleName:           r.name,
		Permissions:        copyOf(r.permissions),
		DeletedBy:          t.admin(),
		DeletedAt:          t.now(),
		AffectedUsersCount: int64(users),
	}.FanOut()
	if alone {
		copies = copies[:1]
	}
	for _, forApp := range copies {
		t.tell(forApp)
	}
}

// roleAssigned gives a user a role that the user does not have; a new user
// when everybody has every role.
func (t *tenant) roleAssigned() *grant {
	r := t.anyRole()
	free := slices.DeleteFunc(slices.Clone(t.users), func(u *user) bool { return !u.active || t.has(u, r) })
	var u *user
	if len(free) == 0 {
		u = t.userCreated()
	} else {
		u = pick(t.Suite, free)
	}
	g := &grant{id: t.faker.UUID(), user: u, role: r}
	t.grants = append(t.grants, g)
	event := events.RoleAssigned{
		AssignmentID: g.id,
		UserID:       u.id,
		RoleID:       r.id,
		AssignedAt:   t.now(),
		AssignedBy:   t.admin(),
	}
	if t.chance(10) {
		event.ExpiresAt = t.now().AddDate(0, t.faker.IntRange(1, 12), 0)
	}
	t.tell(event)
	return g
}

func (t *tenant) has(u *user, r *role) bool {
	return slices.ContainsFunc(t.grants, func(g *grant) bool { return g.user == u && g.role == r })
}

func (t *tenant) roleUnassigned(g *grant, reason string) {
	t.grants = remove(t.grants, g)
	t.tell(events.RoleUnassigned{
		AssignmentID: g.id,
		UserID:       g.user.id,
		RoleID:       g.role.id,
		UnassignedAt: t.now(),
		UnassignedBy: t.admin(),
		Reason:       reason,
	})
}

// copyOf keeps what was told apart from what the role becomes later.
func copyOf(p events.Permissions) events.Permissions {
	c := make(events.Permissions, len(p))
	for app, modules := range p {
		c[app] = modules
	}
	return c
}
