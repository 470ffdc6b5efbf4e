//go:build interop

package interop_test

import (
	"encoding/json"
	"time"

	"github.com/shopspring/decimal"

	"github.com/freshet/freshet/events"
)

const (
	tenant = "00000000-0000-0000-0000-000000000001"
	userID = "c8e9f140-be15-4656-9046-bfee3eae7a38"
	orgID  = "2c45bd81-6266-4c2a-9095-af64b97b987c"
	roleID = "135ab564-542b-412a-8fa1-9a7d02ec92cf"
)

var moment = time.Date(2025, 12, 4, 10, 0, 0, 0, time.UTC)

// published are the events that the consumers read, and what they are on the
// wire.
var published = []struct {
	payload events.Payload
	stream  string
	fields  map[string]string // exactly so on the wire
	json    map[string]string // fields that parse to this
}{
	{
		payload: events.UserCreated{
			UserID:    userID,
			Email:     "ada@example.com",
			FirstName: `Áda "the\first"`,
			LastName:  "洛夫莱斯 👩‍💻 <b>&amp;</b>",
			Name:      "line\nbreak\ttab \u2028 \x01 O'Brien",
			CreatedAt: moment,
		},
		stream: "crm:sync:user:user_created",
		fields: map[string]string{
			"streamId": "crm:sync:user:user_created", "sourceApp": "wrapper-api", "eventType": "user_created",
			"entityType": "user", "entityId": userID, "action": "created",
		},
		json: map[string]string{"data": `{"userId":"` + userID + `","email":"ada@example.com",
			"firstName":"Áda \"the\\first\"","lastName":"洛夫莱斯 👩‍💻 <b>&amp;</b>",
			"name":"line\nbreak\ttab \u2028 \u0001 O'Brien","createdAt":"2025-12-04T10:00:00.000Z"}`},
	},
	{
		payload: events.UserCreated{UserID: "12345678901234567890", Email: "null", IsActive: new(false), CreatedAt: moment},
		stream:  "crm:sync:user:user_created",
		fields:  map[string]string{"eventType": "user_created", "entityId": "12345678901234567890"},
		json: map[string]string{"data": `{"userId":"12345678901234567890","email":"null","isActive":false,
			"createdAt":"2025-12-04T10:00:00.000Z"}`},
	},
	{
		payload: events.UserDeleted{UserID: userID, Email: "ada@example.com", DeletedAt: moment, Reason: "user_removed_from_tenant"},
		stream:  "crm:sync:user:user_deleted",
		fields:  map[string]string{"eventType": "user_deleted", "entityType": "user", "action": "deleted"},
		json: map[string]string{"data": `{"userId":"` + userID + `","email":"ada@example.com",
			"deletedAt":"2025-12-04T10:00:00.000Z","reason":"user_removed_from_tenant"}`},
	},
	{
		payload: events.RoleAssigned{AssignmentID: "as-1", UserID: userID, RoleID: roleID, AssignedAt: moment, AssignedBy: "admin-user-id"},
		stream:  "crm:sync:permissions:role_assigned",
		fields:  map[string]string{"eventType": "role_assigned", "entityType": "role_assignment", "entityId": "as-1", "action": "assigned"},
		json: map[string]string{"data": `{"assignmentId":"as-1","userId":"` + userID + `","roleId":"` + roleID + `",
			"assignedAt":"2025-12-04T10:00:00.000Z","assignedBy":"admin-user-id","expiresAt":null}`},
	},
	{
		payload: events.RoleUpdated{
			RoleID: roleID, RoleName: "Sales",
			Permissions:  events.Permissions{"crm": {"leads": {"read", "update"}, "accounts": {}}},
			Restrictions: json.RawMessage(`{}`), UpdatedBy: "admin-user-id", UpdatedAt: moment,
		},
		stream: "crm:sync:permissions:role_updated",
		fields: map[string]string{"eventType": "role_updated", "entityId": roleID, "action": "updated"},
		json: map[string]string{"data": `{"roleId":"` + roleID + `","roleName":"Sales",
			"permissions":{"crm":{"leads":["read","update"],"accounts":[]}},"restrictions":{},
			"updatedBy":"admin-user-id","updatedAt":"2025-12-04T10:00:00.000Z"}`},
	},
	{
		payload: events.OrgCreated{OrgCode: orgID, OrgName: "Acme", EntityLevel: 1, CreatedAt: moment},
		stream:  "crm:sync:organization:org_created",
		fields:  map[string]string{"eventType": "org_created", "entityType": "organization", "entityId": orgID, "action": "created"},
		json: map[string]string{"data": `{"orgCode":"` + orgID + `","orgName":"Acme","description":null,"parentId":null,
			"entityLevel":1,"createdAt":"2025-12-04T10:00:00.000Z"}`},
	},
	{
		payload: events.RoleCreated{
			App: "hr", RoleID: roleID, RoleName: "Sales", Permissions: events.Permissions{"hr": {"people": {"read"}}},
			Restrictions: json.RawMessage(`"{\"ip\":[]}"`), CreatedAt: moment,
		},
		stream: "hr:sync:role:role_created",
		fields: map[string]string{"eventType": "role.created", "entityType": "role", "entityId": roleID},
		json: map[string]string{"data": `{"roleId":"` + roleID + `","roleName":"Sales","description":"",
			"permissions":{"hr":{"people":["read"]}},"restrictions":"{\"ip\":[]}","createdAt":"2025-12-04T10:00:00.000Z"}`},
	},
	{
		payload: events.AssignmentCreated{
			AssignmentID: "as-2", UserID: userID, OrganizationID: orgID, OrganizationCode: "ORG001", IsActive: new(true),
			AssignedAt: moment, AssignedBy: "admin-uuid", Priority: 1, Metadata: json.RawMessage(`{"note":null,"weight":0.1}`),
		},
		stream: "crm:organization-assignments",
		fields: map[string]string{"eventType": "organization.assignment.created", "source": "wrapper-app", "version": "1.1"},
		json: map[string]string{"data": `{"assignmentId":"as-2","userId":"` + userID + `","organizationId":"` + orgID + `",
			"organizationCode":"ORG001","isActive":true,"assignedAt":"2025-12-04T10:00:00.000Z","priority":1,
			"assignedBy":"admin-uuid","metadata":{"note":null,"weight":0.1}}`},
	},
	{
		payload: events.CreditAllocated{
			AllocationID: "alloc-1", EntityID: orgID, Amount: decimal.RequireFromString("12345678901234567.89"), Reason: "credit_allocation",
		},
		stream: "credit-events",
		fields: map[string]string{"eventType": "credit.allocated", "entityId": orgID, "amount": "12345678901234567.89"},
		json:   map[string]string{"metadata": `{"allocationId":"alloc-1","reason":"credit_allocation"}`},
	},
	{
		payload: events.CreditConsumed{
			EntityID: orgID, UserID: userID, Amount: decimal.RequireFromString("0.1"), OperationType: "api_call",
			OperationID: "op-1", ResourceType: "lead", ResourceID: "l-1",
		},
		stream: "credit-events",
		fields: map[string]string{"eventType": "credit.consumed", "userId": userID, "amount": "0.1", "operationId": "op-1"},
		json:   map[string]string{"metadata": `{"resourceType":"lead","resourceId":"l-1"}`},
	},
	{
		payload: events.InterApp{
			EventType: "employee.updated", Target: "hr", Source: "crm", EntityID: userID,
			Data: json.RawMessage(`{"changes":{"title":"Sr 工程师"},"salary":1234.56,"manager":null}`), PublishedBy: "admin-user-id",
		},
		stream: "inter-app-events",
		fields: map[string]string{
			"eventType": "employee.updated", "sourceApplication": "crm", "targetApplication": "hr", "entityId": userID,
			"publishedBy": "admin-user-id",
		},
		json: map[string]string{"eventData": `{"changes":{"title":"Sr 工程师"},"salary":1234.56,"manager":null}`},
	},
	{
		payload: events.AppUserCreated{Target: "crm", UserID: userID, Email: "ada@example.com"},
		stream:  "inter-app-events",
		fields:  map[string]string{"eventType": "user.created", "targetApplication": "crm", "publishedBy": "system"},
		json:    map[string]string{"eventData": `{"userId":"` + userID + `","email":"ada@example.com"}`},
	},
	{
		payload: events.Acknowledgment{
			OriginalEventID: "evt_1735987200000_xyz789", Status: events.AckFailed,
			Data: json.RawMessage(`{"processedBy":"crm","error":"boom \"x\""}`),
		},
		stream: "acknowledgments",
		fields: map[string]string{"originalEventId": "evt_1735987200000_xyz789", "status": "failed"},
		json:   map[string]string{"acknowledgmentData": `{"processedBy":"crm","error":"boom \"x\""}`},
	},
}
