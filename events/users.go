package events

import "time"

// UserCreated tells that a user exists.
type UserCreated struct {
	UserID    string    `json:"userId" event:"id,required"`
	Email     string    `json:"email" event:"required"`
	FirstName string    `json:"firstName"`
	LastName  string    `json:"lastName"`
	Name      string    `json:"name" doc:"display name"`
	IsActive  *bool     `json:"isActive" doc:"absent means true"`
	CreatedAt time.Time `json:"createdAt" event:"required"`
}

var userCreated = define[UserCreated](Type{
	Name:    "user_created",
	Stream:  "crm:sync:user:user_created",
	Drift:   []string{"crm:sync:user_created*"},
	Shape:   ShapeSync,
	Entity:  "user",
	Action:  "created",
	Key:     []string{"userId"},
	Aliases: []string{"user.created"},
})

// Type implements Payload.
func (UserCreated) Type() *Type { return userCreated }

// Active tells whether the user may sign in: an absent isActive means true.
func (e UserCreated) Active() bool { return e.IsActive == nil || *e.IsActive }

// UserDeactivated tells that a user still exists and may no longer sign in.
type UserDeactivated struct {
	UserID        string    `json:"userId" event:"id,required"`
	Email         string    `json:"email"`
	FirstName     string    `json:"firstName"`
	LastName      string    `json:"lastName"`
	Name          string    `json:"name" doc:"display name"`
	DeactivatedAt time.Time `json:"deactivatedAt"`
	DeactivatedBy string    `json:"deactivatedBy" event:"id"`
	Reason        string    `json:"reason"`
}

var userDeactivated = define[UserDeactivated](Type{
	Name:    "user_deactivated",
	Stream:  "crm:sync:user:user_deactivated",
	Drift:   []string{"crm:sync:user_deactivated*"},
	Shape:   ShapeSync,
	Entity:  "user",
	Action:  "deactivated",
	Key:     []string{"userId"},
	Aliases: []string{"user.deactivated"},
	Reasons: []string{"manual_deactivation", "user_deactivated"},
})

// Type implements Payload.
func (UserDeactivated) Type() *Type { return userDeactivated }

// UserDeleted tells that a user is gone.
type UserDeleted struct {
	UserID    string    `json:"userId" event:"id,required"`
	Email     string    `json:"email"`
	FirstName string    `json:"firstName"`
	LastName  string    `json:"lastName"`
	Name      string    `json:"name" doc:"display name"`
	DeletedAt time.Time `json:"deletedAt"`
	DeletedBy string    `json:"deletedBy" event:"id"`
	Reason    string    `json:"reason"`
}

var userDeleted = define[UserDeleted](Type{
	Name:    "user_deleted",
	Stream:  "crm:sync:user:user_deleted",
	Drift:   []string{"crm:sync:user_deleted*"},
	Shape:   ShapeSync,
	Entity:  "user",
	Action:  "deleted",
	Key:     []string{"userId"},
	Aliases: []string{"user.deleted"},
	Reasons: []string{"user_deleted_permanently", "user_removed_from_tenant"},
})

// Type implements Payload.
func (UserDeleted) Type() *Type { return userDeleted }
