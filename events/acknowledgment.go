package events

import (
	"encoding/json"
	"fmt"
)

// Values of Acknowledgment.Status.
const (
	AckProcessed = "processed"
	AckFailed    = "failed"
	AckTimeout   = "timeout"
)

// Acknowledgment tells a publisher what became of one of its events. It has
// no tenant.
type Acknowledgment struct {
	OriginalEventID string          `json:"originalEventId" event:"id,required"`
	Status          string          `json:"status" event:"required" doc:"processed, failed or timeout"`
	Data            json.RawMessage `json:"acknowledgmentData" doc:"a JSON object; default {}"`
}

var acknowledgment = define[Acknowledgment](Type{
	Name:   "acknowledgment",
	Stream: "acknowledgments",
	Shape:  ShapeAcknowledgment,
	Entity: "event",
	Action: "acknowledged",
	Key:    []string{"originalEventId"},
})

// Type implements Payload.
func (Acknowledgment) Type() *Type { return acknowledgment }

// SetData sets Data to the JSON object of data.
func (e *Acknowledgment) SetData(data map[string]any) error {
	b, err := appendJSON(nil, data)
	if err != nil {
		return fmt.Errorf("acknowledgment data: %w", err)
	}
	e.Data = b
	return nil
}

// KnownStatus tells whether s is one of the statuses.
func KnownStatus(s string) bool {
	return s == AckProcessed || s == AckFailed || s == AckTimeout
}
