package events

import (
	"encoding/json"
	"time"
)

// Permissions of a role: application, module, permissions.
type Permissions map[string]map[string][]string

// ByApplication splits permissions into one set for each application, as the
// events of a role's fan-out carry them.
func (p Permissions) ByApplication() map[string]Permissions {
	split := make(map[string]Permissions, len(p))
	for app, modules := range p {
		split[app] = Permissions{app: modules}
	}
	return split
}

// RoleAssigned tells that a user has a role.
type RoleAssigned struct {
	AssignmentID string    `json:"assignmentId" event:"id,required"`
	UserID       string    `json:"userId" event:"id,required"`
	RoleID       string    `json:"roleId" event:"id,required"`
	AssignedAt   time.Time `json:"assignedAt"`
	AssignedBy   string    `json:"assignedBy" event:"id"`
	ExpiresAt    time.Time `json:"expiresAt" event:"null" doc:"null: never"`
}

var roleAssigned = define[RoleAssigned](Type{
	Name:    "role_assigned",
	Stream:  "crm:sync:permissions:role_assigned",
	Drift:   []string{"crm:sync:role_assignment:role_assigned*"},
	Shape:   ShapeSync,
	Entity:  "role_assignment",
	Action:  "assigned",
	Key:     []string{"assignmentId"},
	Aliases: []string{"role.assigned"},
})

// Type implements Payload.
func (RoleAssigned) Type() *Type { return roleAssigned }

// RoleUnassigned tells that a user no longer has a role.
type RoleUnassigned struct {
	AssignmentID string    `json:"assignmentId" event:"id,required"`
	UserID       string    `json:"userId" event:"id,required"`
	RoleID       string    `json:"roleId" event:"id,required"`
	UnassignedAt time.Time `json:"unassignedAt"`
	UnassignedBy string    `json:"unassignedBy" event:"id"`
	Reason       string    `json:"reason"`
}

var roleUnassigned = define[RoleUnassigned](Type{
	Name:    "role_unassigned",
	Stream:  "crm:sync:permissions:role_unassigned",
	Drift:   []string{"crm:sync:role_assignment:role_unassigned*"},
	Shape:   ShapeSync,
	Entity:  "role_assignment",
	Action:  "unassigned",
	Key:     []string{"assignmentId"},
	Aliases: []string{"role.unassigned"},
})

// Type implements Payload.
func (RoleUnassigned) Type() *Type { return roleUnassigned }

// RoleUpdated tells what a role is now, with its permissions in every
// application.
type RoleUpdated struct {
	RoleID       string          `json:"roleId" event:"id,required"`
	RoleName     string          `json:"roleName"`
	Description  string          `json:"description"`
	Permissions  Permissions     `json:"permissions"`
	Restrictions json.RawMessage `json:"restrictions" doc:"an object, or one as a JSON string"`
	UpdatedBy    string          `json:"updatedBy" event:"id"`
	UpdatedAt    time.Time       `json:"updatedAt"`
}

var roleUpdated = define[RoleUpdated](Type{
	Name:   "role_updated",
	Stream: "crm:sync:permissions:role_updated",
	Shape:  ShapeSync,
	Entity: "role",
	Action: "updated",
	Key:    []string{"roleId"},
})

// Type implements Payload.
func (RoleUpdated) Type() *Type { return roleUpdated }

// RolePermissionsChanged tells a role's permissions; the publisher of a role
// update also publishes RoleUpdated for the same change.
type RolePermissionsChanged struct {
	RoleID      string      `json:"roleId" event:"id,required"`
	RoleName    string      `json:"roleName"`
	Permissions Permissions `json:"permissions"`
	IsActive    *bool       `json:"isActive" doc:"absent means true"`
	Description string      `json:"description"`
	Scope       string      `json:"scope"`
}

var rolePermissionsChanged = define[RolePermissionsChanged](Type{
	Name:    "role_permissions_changed",
	Stream:  "crm:sync:role_permissions",
	Drift:   []string{"*:sync:role:role_permissions_changed"},
	Shape:   ShapeRolePermissions,
	Entity:  "role",
	Action:  "permissions_updated",
	Key:     []string{"roleId"},
	Aliases: []string{"role.permissions_changed", "role_permissions.updated"},
})

// Type implements Payload.
func (RolePermissionsChanged) Type() *Type { return rolePermissionsChanged }

// Active tells whether the role is in force: an absent isActive means true.
func (e RolePermissionsChanged) Active() bool { return e.IsActive == nil || *e.IsActive }
