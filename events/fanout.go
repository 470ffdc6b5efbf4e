package events

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// The events of a role's fan-out: one copy for each application that the
// role's permissions name, on a stream of that application, with that
// application's permissions only. App is the first part of the stream key
// ("crm", "hr") and never stands in data.

// RoleCreated tells one application that a role exists.
type RoleCreated struct {
	App          string          `json:"app" event:"id,required,envelope" doc:"application addressed"`
	RoleID       string          `json:"roleId" event:"id,required"`
	RoleName     string          `json:"roleName"`
	Description  string          `json:"description" event:"always"`
	Permissions  Permissions     `json:"permissions"`
	Restrictions json.RawMessage `json:"restrictions" doc:"an object, or one as a JSON string"`
	Metadata     json.RawMessage `json:"metadata"`
	CreatedBy    string          `json:"createdBy" event:"id"`
	CreatedAt    time.Time       `json:"createdAt"`
}

var roleCreated = define[RoleCreated](Type{
	Name:    "role.created",
	Stream:  "{app}:sync:role:role_created",
	Shape:   ShapeRoleFanOut,
	Entity:  "role",
	Action:  "created",
	Key:     []string{"roleId"},
	Aliases: []string{"role_created"},
})

// Type implements Payload.
func (RoleCreated) Type() *Type { return roleCreated }

func (e *RoleCreated) fromEnvelope(env *Envelope) { e.App = Application(env.Stream) }

// AppRoleUpdated tells one application what a role is now.
type AppRoleUpdated struct {
	App          string          `json:"app" event:"id,required,envelope" doc:"application addressed"`
	RoleID       string          `json:"roleId" event:"id,required"`
	RoleName     string          `json:"roleName"`
	Description  string          `json:"description" event:"always"`
	Permissions  Permissions     `json:"permissions"`
	Restrictions json.RawMessage `json:"restrictions" doc:"an object, or one as a JSON string"`
	Metadata     json.RawMessage `json:"metadata"`
	UpdatedBy    string          `json:"updatedBy" event:"id"`
	UpdatedAt    time.Time       `json:"updatedAt"`
}

var appRoleUpdated = define[AppRoleUpdated](Type{
	Name:   "role.updated",
	Stream: "{app}:sync:role:role_updated",
	Shape:  ShapeRoleFanOut,
	Entity: "role",
	Action: "updated",
	Key:    []string{"roleId"},
})

// Type implements Payload.
func (AppRoleUpdated) Type() *Type { return appRoleUpdated }

func (e *AppRoleUpdated) fromEnvelope(env *Envelope) { e.App = Application(env.Stream) }

// RoleDeleted tells one application that a role is gone.
type RoleDeleted struct {
	App                 string      `json:"app" event:"id,required,envelope" doc:"application addressed"`
	RoleID              string      `json:"roleId" event:"id,required"`
	RoleName            string      `json:"roleName"`
	Permissions         Permissions `json:"permissions"`
	DeletedBy           string      `json:"deletedBy" event:"id"`
	DeletedAt           time.Time   `json:"deletedAt"`
	TransferredToRoleID string      `json:"transferredToRoleId" event:"id,null" doc:"role that its users have now"`
	AffectedUsersCount  int64       `json:"affectedUsersCount" event:"always"`
}

var roleDeleted = define[RoleDeleted](Type{
	Name:    "role.deleted",
	Stream:  "{app}:sync:role:role_deleted",
	Shape:   ShapeRoleFanOut,
	Entity:  "role",
	Action:  "deleted",
	Key:     []string{"roleId"},
	Aliases: []string{"role_deleted"},
})

// Type implements Payload.
func (RoleDeleted) Type() *Type { return roleDeleted }

func (e *RoleDeleted) fromEnvelope(env *Envelope) { e.App = Application(env.Stream) }

// FanOut returns the copies of e for the applications that its permissions
// name, in the order of their names.
func (e RoleCreated) FanOut() []RoleCreated {
	return fanOut(e.Permissions, func(app string, p Permissions) RoleCreated {
		e.App, e.Permissions = app, p
		return e
	})
}

// FanOut returns the copies of e for the applications that its permissions
// name, in the order of their names.
func (e AppRoleUpdated) FanOut() []AppRoleUpdated {
	return fanOut(e.Permissions, func(app string, p Permissions) AppRoleUpdated {
		e.App, e.Permissions = app, p
		return e
	})
}

// FanOut returns the copies of e for the applications that its permissions
// name, in the order of their names.
func (e RoleDeleted) FanOut() []RoleDeleted {
	return fanOut(e.Permissions, func(app string, p Permissions) RoleDeleted {
		e.App, e.Permissions = app, p
		return e
	})
}

func fanOut[T any](p Permissions, copyFor func(string, Permissions) T) []T {
	split := p.ByApplication()
	copies := make([]T, 0, len(split))
	for _, app := range slices.Sorted(maps.Keys(split)) {
		copies = append(copies, copyFor(app, split[app]))
	}
	return copies
}

// Application returns the application that a sync stream belongs to: the
// first part of its key.
func Application(stream string) string {
	app, _, _ := strings.Cut(BaseStream(stream), ":")
	return app
}
