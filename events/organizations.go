package events

import (
	"bytes"
	"encoding/json"
	"time"
)

// OrgCreated tells that an organization or one of its units exists.
type OrgCreated struct {
	OrgCode          string    `json:"orgCode" event:"id,required" doc:"names the organization"`
	OrgName          string    `json:"orgName"`
	OrgType          string    `json:"orgType"`
	OrganizationType string    `json:"organizationType"`
	Description      string    `json:"description" event:"null"`
	ParentID         string    `json:"parentId" event:"id,null" doc:"null: at the top"`
	EntityLevel      int64     `json:"entityLevel" doc:"1 at the top"`
	IsActive         *bool     `json:"isActive" doc:"absent means true"`
	CreatedBy        string    `json:"createdBy" event:"id"`
	CreatedAt        time.Time `json:"createdAt"`
}

var orgCreated = define[OrgCreated](Type{
	Name:    "org_created",
	Stream:  "crm:sync:organization:org_created",
	Shape:   ShapeSync,
	Entity:  "organization",
	Action:  "created",
	Key:     []string{"orgCode", "organizationId"},
	Aliases: []string{"organization.created", "org.created"},
})

// Type implements Payload.
func (OrgCreated) Type() *Type { return orgCreated }

// Active tells whether the organization is in use: an absent isActive means
// true.
func (e OrgCreated) Active() bool { return e.IsActive == nil || *e.IsActive }

const assignmentStream = "crm:organization-assignments"

// AssignmentCreated tells that a user belongs to an organization.
type AssignmentCreated struct {
	AssignmentID     string          `json:"assignmentId" event:"id,required"`
	UserID           string          `json:"userId" event:"id,required"`
	OrganizationID   string          `json:"organizationId" event:"id,required"`
	OrganizationCode string          `json:"organizationCode"`
	AssignmentType   string          `json:"assignmentType" doc:"direct, matrix, ..."`
	AccessLevel      string          `json:"accessLevel"`
	IsActive         *bool           `json:"isActive" doc:"absent means true"`
	IsPrimary        *bool           `json:"isPrimary" doc:"absent means false"`
	AssignedAt       time.Time       `json:"assignedAt"`
	Priority         int64           `json:"priority"`
	AssignedBy       string          `json:"assignedBy" event:"id,required"`
	Metadata         json.RawMessage `json:"metadata"`
}

var assignmentCreated = define[AssignmentCreated](Type{
	Name:   "organization.assignment.created",
	Stream: assignmentStream,
	Shape:  ShapeAssignment,
	Entity: "organization_assignment",
	Action: "created",
	Key:    []string{"assignmentId"},
})

// Type implements Payload.
func (AssignmentCreated) Type() *Type { return assignmentCreated }

// AssignmentUpdated tells what an assignment was before and, in Changes, what
// is different now.
type AssignmentUpdated struct {
	AssignmentID     string          `json:"assignmentId" event:"id,required"`
	UserID           string          `json:"userId" event:"id,required"`
	OrganizationID   string          `json:"organizationId" event:"id,required"`
	OrganizationCode string          `json:"organizationCode"`
	AssignmentType   string          `json:"assignmentType"`
	AccessLevel      string          `json:"accessLevel"`
	IsActive         *bool           `json:"isActive" doc:"absent means true"`
	IsPrimary        *bool           `json:"isPrimary" doc:"absent means false"`
	AssignedAt       time.Time       `json:"assignedAt"`
	Priority         int64           `json:"priority"`
	AssignedBy       string          `json:"assignedBy" event:"id"`
	UpdatedBy        string          `json:"updatedBy" event:"id"`
	Changes          Changes         `json:"changes" event:"required" doc:"new values by field name; may be empty"`
	UpdatedAt        time.Time       `json:"updatedAt"`
	Metadata         json.RawMessage `json:"metadata"`
}

// Changes are new values by field name. Numbers that are read are json.Number,
// so that none is rounded.
type Changes map[string]any

// UnmarshalJSON implements [json.Unmarshaler].
func (c *Changes) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode((*map[string]any)(c))
}

var assignmentUpdated = define[AssignmentUpdated](Type{
	Name:   "organization.assignment.updated",
	Stream: assignmentStream,
	Shape:  ShapeAssignment,
	Entity: "organization_assignment",
	Action: "updated",
	Key:    []string{"assignmentId"},
})

// Type implements Payload.
func (AssignmentUpdated) Type() *Type { return assignmentUpdated }

// AssignmentDeactivated tells that an assignment is suspended.
type AssignmentDeactivated struct {
	AssignmentID   string    `json:"assignmentId" event:"id,required"`
	UserID         string    `json:"userId" event:"id,required"`
	OrganizationID string    `json:"organizationId" event:"id,required"`
	DeactivatedBy  string    `json:"deactivatedBy" event:"id"`
	DeactivatedAt  time.Time `json:"deactivatedAt"`
	Reason         string    `json:"reason"`
}

var assignmentDeactivated = define[AssignmentDeactivated](Type{
	Name:   "organization.assignment.deactivated",
	Stream: assignmentStream,
	Shape:  ShapeAssignment,
	Entity: "organization_assignment",
	Action: "deactivated",
	Key:    []string{"assignmentId"},
})

// Type implements Payload.
func (AssignmentDeactivated) Type() *Type { return assignmentDeactivated }

// AssignmentActivated tells that a suspended assignment is in force again.
type AssignmentActivated struct {
	AssignmentID   string    `json:"assignmentId" event:"id,required"`
	UserID         string    `json:"userId" event:"id,required"`
	OrganizationID string    `json:"organizationId" event:"id,required"`
	ActivatedBy    string    `json:"activatedBy" event:"id"`
	ActivatedAt    time.Time `json:"activatedAt"`
}

var assignmentActivated = define[AssignmentActivated](Type{
	Name:   "organization.assignment.activated",
	Stream: assignmentStream,
	Shape:  ShapeAssignment,
	Entity: "organization_assignment",
	Action: "activated",
	Key:    []string{"assignmentId"},
})

// Type implements Payload.
func (AssignmentActivated) Type() *Type { return assignmentActivated }

// AssignmentDeleted tells that a user no longer belongs to an organization.
type AssignmentDeleted struct {
	AssignmentID   string    `json:"assignmentId" event:"id,required"`
	UserID         string    `json:"userId" event:"id,required"`
	OrganizationID string    `json:"organizationId" event:"id,required"`
	DeletedBy      string    `json:"deletedBy" event:"id"`
	DeletedAt      time.Time `json:"deletedAt"`
	Reason         string    `json:"reason"`
}

var assignmentDeleted = define[AssignmentDeleted](Type{
	Name:    "organization.assignment.deleted",
	Stream:  assignmentStream,
	Shape:   ShapeAssignment,
	Entity:  "organization_assignment",
	Action:  "deleted",
	Key:     []string{"assignmentId"},
	Reasons: []string{"permanent_removal"},
})

// Type implements Payload.
func (AssignmentDeleted) Type() *Type { return assignmentDeleted }
