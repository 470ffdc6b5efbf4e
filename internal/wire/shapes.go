package wire

import (
	"strconv"
	"strings"

	"github.com/freshet/freshet/events"
)

// Each shape's fields, in the order in which they are written.

func (w *writing) sync() (string, error) {
	id := w.id("", "-")
	entity := w.of(w.t.Key...)
	about := entity // whom the correlation id names
	switch w.t.Entity {
	case "role_assignment":
		about = w.of("userId")
	case "credit":
		if w.t.Key[0] == "configId" {
			about = "system"
			break
		}
		if entity = w.of("allocationId"); entity == "" {
			entity = "credit_" + strconv.FormatInt(w.Time.UnixMilli(), 10)
		}
	}
	family, _, _ := strings.Cut(w.t.Name, "_")
	metadata, err := w.metadata(
		member{"correlationId", w.correlation(family, about)},
		member{"version", `"1.0"`},
		member{"retryCount", `0`},
		member{"sourceTimestamp", w.quotedTime},
	)
	if err != nil {
		return "", err
	}
	source := "wrapper-api"
	if family == "org" || family == "credit" {
		source = "wrapper"
	}
	w.add("streamId", w.stream)
	w.add("messageId", id)
	w.add("timestamp", w.time)
	w.add("sourceApp", w.source(source))
	w.add("eventType", w.t.Name)
	w.add("entityType", w.t.Entity)
	w.add("entityId", entity)
	w.add("tenantId", w.Tenant)
	w.add("action", w.t.Action)
	w.add("data", w.wireData())
	w.add("metadata", metadata)
	return id, nil
}

// wireData is data with the amount of an allocation under the name that its
// consumers know.
func (w *writing) wireData() string {
	if w.t.Name != "credit_allocated" {
		return w.object
	}
	b := append(w.scratch[:0], '{')
	for _, m := range w.data {
		if m.name == "amount" {
			m.name = "allocatedCredits"
		}
		b = appendMember(b, m)
	}
	w.scratch = append(b, '}')
	return w.text(w.scratch)
}

func (w *writing) assignment() (string, error) {
	version := "1.0"
	if w.t.Action == "created" || w.t.Action == "updated" {
		version = "1.1"
	}
	data, err := w.dataWithMetadata()
	if err != nil {
		return "", err
	}
	id := w.stamp.uuid.String()
	w.add("eventId", id)
	w.add("eventType", w.t.Name)
	w.add("source", w.source("wrapper-app"))
	w.add("version", version)
	w.add("timestamp", w.time)
	w.add("tenantId", w.Tenant)
	w.add("data", data)
	return id, nil
}

// dataWithMetadata puts metadata into data, where assignments carry it.
func (w *writing) dataWithMetadata() (string, error) {
	if len(w.Metadata) == 0 && w.CorrelationID == "" && w.Traceparent == "" {
		return w.object, nil
	}
	var own []member
	for _, m := range w.data {
		if m.name != "metadata" {
			continue
		}
		if m.kind() != jsonObject {
			return "", w.fail("data.metadata", "must be a JSON object")
		}
		if err := w.scan("data.metadata", m.value); err != nil {
			return "", err
		}
		own = w.json.members
	}
	if w.CorrelationID != "" {
		own = setMember(own, member{"correlationId", w.correlation("", "")})
	}
	metadata, err := w.metadata(own...)
	if err != nil {
		return "", err
	}
	b := append(w.scratch[:0], '{')
	for _, m := range w.data {
		if m.name != "metadata" {
			b = appendMember(b, m)
		}
	}
	w.scratch = append(appendMember(b, member{"metadata", metadata}), '}')
	return w.text(w.scratch), nil
}

func (w *writing) credit() (string, error) {
	id := w.id("evt_", "_")
	consumed := w.t.Shape == events.ShapeConsumption
	flat := func(name string) bool {
		switch name {
		case "entityId", "amount":
			return true
		case "userId", "operationType", "operationId":
			return consumed
		}
		return false
	}
	own := make([]member, 0, 16)
	if w.CorrelationID != "" {
		own = append(own, member{"correlationId", w.correlation("", "")})
	}
	amount := ""
	for _, m := range w.data {
		if m.name == "amount" {
			amount = m.value
		}
		if !flat(m.name) {
			own = append(own, m)
		}
	}
	metadata, err := w.metadata(own...)
	if err != nil {
		return "", err
	}
	w.add("eventId", id)
	w.add("eventType", w.t.Name)
	w.add("tenantId", w.Tenant)
	w.add("entityId", w.of("entityId"))
	if consumed {
		w.add("userId", w.of("userId"))
	}
	w.add("amount", amount)
	if consumed {
		w.add("operationType", w.of("operationType"))
		w.add("operationId", w.of("operationId"))
	}
	w.add("timestamp", w.time)
	w.add("source", w.source("wrapper"))
	w.add("metadata", metadata)
	return id, nil
}

func (w *writing) interApp() (string, error) {
	to := address(w.Payload)
	id := w.id("inter_", "_")
	w.add("eventId", id)
	w.add("eventType", to.EventType)
	w.add("sourceApplication", or(to.Source, w.source("wrapper")))
	w.add("targetApplication", to.Target)
	w.add("tenantId", w.Tenant)
	w.add("entityId", to.EntityID)
	w.add("timestamp", w.time)
	w.add("eventData", w.object)
	w.add("publishedBy", or(to.PublishedBy, "system"))
	return id, nil
}

func (w *writing) acknowledgment() (string, error) {
	id := w.id("ack_", "_")
	data := "{}"
	for _, m := range w.data {
		if m.name == "acknowledgmentData" {
			data = m.value
		}
	}
	w.add("acknowledgmentId", id)
	w.add("originalEventId", w.of("originalEventId"))
	w.add("status", w.of("status"))
	w.add("timestamp", w.time)
	w.add("source", w.source("wrapper"))
	w.add("acknowledgmentData", data)
	return id, nil
}

func (w *writing) roleFanOut() (string, error) {
	id := w.id(application(w.Payload)+"_", "_")
	w.add("eventId", id)
	w.add("timestamp", w.time)
	w.add("eventType", w.t.Name)
	w.add("tenantId", w.Tenant)
	w.add("entityType", w.t.Entity)
	w.add("entityId", w.of("roleId"))
	w.add("data", w.object)
	w.add("publishedBy", or(w.of("createdBy", "updatedBy", "deletedBy"), "system"))
	return id, nil
}

func (w *writing) rolePermissions() (string, error) {
	role := w.of("roleId")
	metadata, err := w.metadata(
		member{"correlationId", w.correlation("role_permissions", role)},
		member{"version", `"1.0"`},
		member{"sourceTimestamp", w.quotedTime},
		member{"sourceApp", w.quoted(w.source("wrapper"))},
	)
	if err != nil {
		return "", err
	}
	id := w.stamp.uuid.String()
	w.add("eventId", id)
	w.add("timestamp", w.time)
	w.add("eventType", w.t.Name)
	w.add("tenantId", w.Tenant)
	w.add("entityType", w.t.Entity)
	w.add("entityId", role)
	w.add("action", w.t.Action)
	w.add("data", w.object)
	w.add("metadata", metadata)
	return id, nil
}

// application returns the application that a fan-out is for.
func application(p events.Payload) string {
	switch p := p.(type) {
	case events.RoleCreated:
		return p.App
	case *events.RoleCreated:
		return p.App
	case events.AppRoleUpdated:
		return p.App
	case *events.AppRoleUpdated:
		return p.App
	case events.RoleDeleted:
		return p.App
	case *events.RoleDeleted:
		return p.App
	}
	return ""
}

// address returns the envelope of an inter-app event.
func address(p events.Payload) events.InterApp {
	switch p := p.(type) {
	case events.InterApp:
		return p
	case *events.InterApp:
		return *p
	case events.AppUserCreated:
		return events.InterApp{
			EventType:   p.Type().Name,
			Target:      p.Target,
			Source:      p.Source,
			EntityID:    or(p.EntityID, p.UserID),
			PublishedBy: p.PublishedBy,
		}
	case *events.AppUserCreated:
		return address(*p)
	}
	return events.InterApp{}
}
