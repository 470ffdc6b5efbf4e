package events

import "encoding/json"

const interAppStream = "inter-app-events"

// AppUserCreated is the inter-application event user.created: one application
// tells another of a user. It is another fact than UserCreated.
type AppUserCreated struct {
	Target      string `json:"targetApplication" event:"required,envelope"`
	Source      string `json:"sourceApplication" event:"envelope" doc:"default: the publishing application"`
	EntityID    string `json:"entityId" event:"id,envelope" doc:"default: userId"`
	PublishedBy string `json:"publishedBy" event:"envelope" doc:"user who caused it; default system"`
	UserID      string `json:"userId" event:"id,required"`
	Email       string `json:"email" event:"required"`
}

var appUserCreated = define[AppUserCreated](Type{
	Name:   "user.created",
	Fact:   "inter-app:user.created",
	Stream: interAppStream,
	Shape:  ShapeInterApp,
	Entity: "inter-app",
	Key:    []string{"userId"},
})

// Type implements Payload.
func (AppUserCreated) Type() *Type { return appUserCreated }

func (e *AppUserCreated) fromEnvelope(env *Envelope) {
	e.Target, e.Source, e.EntityID, e.PublishedBy = env.Target, env.Source, env.Entity.ID, env.PublishedBy
}

// InterApp is any event that one application addresses to another. Its type
// is data, and its content whatever the two agree on. Of what is read,
// user.created is an AppUserCreated and not an InterApp.
type InterApp struct {
	EventType   string          `json:"eventType" event:"required,envelope" doc:"\"employee.updated\""`
	Target      string          `json:"targetApplication" event:"required,envelope"`
	Source      string          `json:"sourceApplication" event:"envelope" doc:"default: the publishing application"`
	EntityID    string          `json:"entityId" event:"id,required,envelope"`
	Data        json.RawMessage `json:"eventData" event:"envelope" doc:"a JSON object; default {}"`
	PublishedBy string          `json:"publishedBy" event:"envelope" doc:"user who caused it; default system"`
}

var interApp = define[InterApp](Type{
	Fact:   "inter-app",
	Stream: interAppStream,
	Shape:  ShapeInterApp,
	Entity: "inter-app",
})

// Type implements Payload.
func (InterApp) Type() *Type { return interApp }

func (e *InterApp) fromEnvelope(env *Envelope) {
	*e = InterApp{
		EventType:   env.WireType,
		Target:      env.Target,
		Source:      env.Source,
		EntityID:    env.Entity.ID,
		Data:        env.Data,
		PublishedBy: env.PublishedBy,
	}
}
