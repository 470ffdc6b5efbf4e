package webhook

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
)

// Event is the body of a request. Receivers must ignore members that they do
// not know.
type Event struct {
	ID      string          `json:"id"`        // identity of the event, unique within tenant and type
	Type    string          `json:"type"`      // canonical name, "user_created"
	Time    time.Time       `json:"timestamp"` // of the event
	Tenant  string          `json:"tenant"`
	Entity  events.Entity   `json:"entity"`
	Stream  string          `json:"stream"`
	Attempt int             `json:"attempt"` // 1 at first
	Data    json.RawMessage `json:"data"`    // object in the catalogue's field names
}

func encode(d *freshet.Delivery) ([]byte, error) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(Event{
		ID:      d.Identity,
		Type:    d.TypeName(),
		Time:    d.Time,
		Tenant:  d.Tenant,
		Entity:  d.Entity,
		Stream:  d.Stream,
		Attempt: d.Attempt,
		Data:    d.Data,
	})
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	return bytes.TrimSuffix(body.Bytes(), []byte("\n")), nil
}

// messageID is the webhook-id. An identity is unique within a tenant and a
// fact, may hold anything, and a full stop in it would make the signed text
// ambiguous: hence a digest.
func messageID(e *events.Envelope) string {
	fact := e.TypeName()
	if e.Type != nil && e.Type.Fact != "" {
		fact = e.Type.Fact
	}
	digest := sha256.New()
	for _, part := range []string{e.Tenant, fact, e.Identity} {
		fmt.Fprintf(digest, "%d:%s,", len(part), part)
	}
	return "msg_" + hex.EncodeToString(digest.Sum(nil)[:16])
}
