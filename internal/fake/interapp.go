package fake

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/freshet/freshet/events"
)

// interAppKinds are the events that the story's applications address to one
// another.
var interAppKinds = []string{
	"user.created",
	"employee.updated", "benefits.updated", "performance.review",
	"partner.created", "partner.registered", "commission.updated", "referral.completed",
	"config.updated", "maintenance.scheduled", "security.alert",
}

func (t *tenant) appUserCreated() {
	u := t.anyUser()
	t.tell(events.AppUserCreated{
		Target:      "crm",
		Source:      "wrapper",
		EntityID:    u.id,
		PublishedBy: "system",
		UserID:      u.id,
		Email:       u.email,
	})
}

// interApp tells an event of any name. It is about a user, a partner or, when
// the name says nothing of either, the tenant.
func (t *tenant) interApp(name string) {
	e := events.InterApp{EventType: name, Source: "wrapper", Target: "crm", PublishedBy: t.admin()}
	var data map[string]any
	switch name {
	case "employee.updated":
		e.Source, e.Target, e.EntityID = "crm", "hr", t.anyUser().id
		data = map[string]any{"changes": map[string]any{"title": t.faker.JobTitle()}}
	case "benefits.updated":
		e.Source, e.Target, e.EntityID = "hr", "wrapper", t.anyUser().id
		data = map[string]any{"plan": pick(t.Suite, []string{"basic", "family", "premium"})}
	case "performance.review":
		e.Source, e.Target, e.EntityID = "hr", "crm", t.anyUser().id
		data = map[string]any{"rating": t.faker.IntRange(1, 5), "period": t.now().Format("2006-01")}
	case "partner.created", "partner.registered":
		e.Source, e.Target = "affiliateConnect", "crm"
		e.EntityID = t.faker.UUID()
		if name == "partner.registered" {
			e.EntityID = t.anyPartner()
		} else {
			t.addPartner(e.EntityID)
		}
		data = map[string]any{"company": t.faker.Company()}
	case "commission.updated":
		e.Source, e.Target, e.EntityID = "affiliateConnect", "crm", t.anyPartner()
		data = map[string]any{"percent": t.faker.IntRange(1, 30)}
	case "referral.completed":
		e.Source, e.Target, e.EntityID = "affiliateConnect", "crm", t.anyPartner()
		data = map[string]any{"userId": t.anyUser().id}
	case "config.updated":
		e.EntityID, data = t.id, map[string]any{"key": "locale", "value": pick(t.Suite, []string{"en", "de", "pt-BR"})}
	case "maintenance.scheduled":
		e.EntityID, e.PublishedBy = t.id, "system"
		data = map[string]any{"startsAt": t.now().AddDate(0, 0, t.faker.IntRange(1, 14)), "minutes": 30}
	case "security.alert":
		e.EntityID, e.PublishedBy = t.id, "system"
		data = map[string]any{"severity": pick(t.Suite, []string{"low", "medium", "high"}), "kind": "failed_sign_ins"}
	default:
		e.EntityID, data = t.id, map[string]any{"note": t.faker.Sentence(5)}
	}
	e.Data, _ = json.Marshal(data) // strings, numbers and times only: cannot fail
	t.tell(e)
}

// anyPartner returns a partner that partner.created has told of.
func (t *tenant) anyPartner() string {
	if len(t.partners) == 0 {
		t.interApp("partner.created")
	}
	return pick(t.Suite, t.partners)
}

func (t *tenant) addPartner(id string) {
	const remembered = 20
	if t.partners = append(t.partners, id); len(t.partners) > remembered {
		t.partners = t.partners[1:]
	}
}

// acknowledgment tells what became of an event. The suite does not know the
// ids that its events were published under, so it makes one up.
func (t *tenant) acknowledgment() {
	t.tell(events.Acknowledgment{
		OriginalEventID: fmt.Sprintf("evt_%d_%s", t.now().UnixMilli(), strings.ToLower(t.faker.LetterN(9))),
		Status:          events.AckProcessed,
		Data:            json.RawMessage(`{"processedBy":"crm"}`),
	})
}
