package replica

import (
	"strings"

	"github.com/freshet/freshet/events"
)

var (
	users = newTable("users", "tenant_id user_id",
		"email first_name last_name name is_active created_at deactivated_at deactivated_by deleted_at deleted_by reason")
	roles = newTable("roles", "tenant_id role_id app",
		"name description permissions restrictions is_active updated_at updated_by deleted_at")
	roleAssignments = newTable("role_assignments", "tenant_id assignment_id",
		"user_id role_id assigned_at assigned_by expires_at deleted_at")
	organizations = newTable("organizations", "tenant_id org_code",
		"name type description parent_id is_active created_at created_by")
	organizationAssignments = newTable("organization_assignments", "tenant_id assignment_key",
		"assignment_id user_id organization_id organization_code assignment_type access_level is_active is_primary "+
			"priority assigned_at assigned_by deleted_at metadata")
)

// stateOf says what each event type says of a row.
var stateOf = map[*events.Type]func(*record){
	events.UserCreated{}.Type():     userCreated,
	events.UserDeactivated{}.Type(): userDeactivated,
	events.UserDeleted{}.Type():     userDeleted,

	events.RoleUpdated{}.Type():            roleUpdated,
	events.RolePermissionsChanged{}.Type(): roleUpdated,
	events.RoleCreated{}.Type():            roleCreated,
	events.AppRoleUpdated{}.Type():         appRoleUpdated,
	events.RoleDeleted{}.Type():            roleDeleted,
	events.RoleAssigned{}.Type():           roleAssigned,
	events.RoleUnassigned{}.Type():         roleUnassigned,

	events.OrgCreated{}.Type(): orgCreated,

	events.AssignmentCreated{}.Type():     assignmentCreated,
	events.AssignmentUpdated{}.Type():     assignmentUpdated,
	events.AssignmentActivated{}.Type():   assignmentActivated,
	events.AssignmentDeactivated{}.Type(): assignmentDeactivated,
	events.AssignmentDeleted{}.Type():     assignmentDeleted,
}

func userCreated(r *record) {
	r.row(users, r.required("userId"))
	r.profile()
	r.active()
	r.timestamp("created_at", "createdAt")
	r.clear("deactivated_at", "deactivated_by", "deleted_at", "deleted_by", "reason")
}

func userDeactivated(r *record) {
	r.row(users, r.required("userId"))
	r.profile()
	r.clear("deactivated_by", "reason")
	r.set("is_active", int64(0))
	r.since("deactivated_at", "deactivatedAt")
	r.text("deactivated_by", "deactivatedBy")
	r.text("reason", "reason")
}

func userDeleted(r *record) {
	r.row(users, r.required("userId"))
	r.profile()
	r.clear("deleted_by", "reason")
	r.set("is_active", int64(0))
	r.since("deleted_at", "deletedAt")
	r.text("deleted_by", "deletedBy")
	r.text("reason", "reason")
}

// profile takes first and last name from name, at the first space, where the
// event has neither: some publishers know one name only.
func (r *record) profile() {
	r.text("email", "email")
	r.text("name", "name")
	_, _, first := r.field("firstName")
	_, _, last := r.field("lastName")
	name := strings.TrimSpace(r.id("name"))
	if first || last || name == "" {
		r.text("first_name", "firstName")
		r.text("last_name", "lastName")
		return
	}
	given, family, _ := strings.Cut(name, " ")
	r.set("first_name", given)
	r.clear("last_name")
	if family = strings.TrimSpace(family); family != "" {
		r.set("last_name", family)
	}
}

// roleUpdated is of the suite-wide role, which is told by two event types.
func roleUpdated(r *record) {
	r.row(roles, r.required("roleId"), "")
	r.roleFields()
	r.timestamp("updated_at", "updatedAt")
	r.text("updated_by", "updatedBy")
}

func roleCreated(r *record) {
	r.row(roles, r.required("roleId"), events.Application(r.env.Stream))
	r.roleFields()
	r.active()
	r.timestamp("updated_at", "updatedAt", "createdAt")
	r.text("updated_by", "updatedBy", "createdBy")
	r.clear("deleted_at")
}

func appRoleUpdated(r *record) {
	r.row(roles, r.required("roleId"), events.Application(r.env.Stream))
	r.roleFields()
	r.timestamp("updated_at", "updatedAt")
	r.text("updated_by", "updatedBy")
}

func roleDeleted(r *record) {
	r.row(roles, r.required("roleId"), events.Application(r.env.Stream))
	r.roleFields()
	r.set("is_active", int64(0))
	r.since("deleted_at", "deletedAt")
}

func (r *record) roleFields() {
	r.text("name", "roleName")
	r.text("description", "description")
	r.document("permissions", "permissions")
	r.document("restrictions", "restrictions")
	r.boolean("is_active", "isActive")
}

func roleAssigned(r *record) {
	r.roleAssignment()
	r.timestamp("assigned_at", "assignedAt")
	r.text("assigned_by", "assignedBy")
	r.timestamp("expires_at", "expiresAt")
	r.clear("deleted_at")
}

func roleUnassigned(r *record) {
	r.roleAssignment()
	r.since("deleted_at", "unassignedAt")
}

func (r *record) roleAssignment() {
	r.row(roleAssignments, r.required("assignmentId"))
	r.text("user_id", "userId")
	r.text("role_id", "roleId")
}

func orgCreated(r *record) {
	r.row(organizations, r.required("orgCode", "organizationId"))
	r.text("name", "orgName")
	r.text("type", "organizationType", "orgType")
	r.text("description", "description")
	r.text("parent_id", "parentId")
	r.active()
	r.timestamp("created_at", "createdAt")
	r.text("created_by", "createdBy")
}

func assignmentCreated(r *record) {
	r.assignment()
	r.assignmentFields()
	r.active()
	r.clear("deleted_at")
}

// assignmentUpdated takes what the assignment was and, over it, what changed.
func assignmentUpdated(r *record) {
	r.assignment()
	r.assignmentFields()
	raw, _ := r.fields.get("changes")
	if raw == nil {
		return
	}
	changes, ok := parseObject(raw, nil)
	if !ok {
		r.reject("changes", "must be an object")
	}
	whole := r.fields
	r.fields = changes
	r.assignmentFields()
	r.fields = whole
}

func assignmentActivated(r *record) {
	r.assignment()
	r.set("is_active", int64(1))
}

func assignmentDeactivated(r *record) {
	r.assignment()
	r.set("is_active", int64(0))
}

func assignmentDeleted(r *record) {
	r.assignment()
	r.set("is_active", int64(0))
	r.since("deleted_at", "deletedAt")
}

// assignment keys the row by the entity: the decoder maps the many ids that an
// old assignment has had to one.
func (r *record) assignment() {
	if r.env.Entity.ID == "" {
		r.reject("assignmentId", "missing")
	}
	r.row(organizationAssignments, r.env.Entity.ID)
	r.text("assignment_id", "assignmentId")
	r.text("user_id", "userId")
	r.text("organization_id", "organizationId")
}

func (r *record) assignmentFields() {
	r.text("organization_code", "organizationCode")
	r.text("assignment_type", "assignmentType")
	r.text("access_level", "accessLevel")
	r.boolean("is_active", "isActive")
	r.boolean("is_primary", "isPrimary")
	r.integer("priority", "priority")
	r.timestamp("assigned_at", "assignedAt")
	r.text("assigned_by", "assignedBy")
	r.document("metadata", "metadata")
}
