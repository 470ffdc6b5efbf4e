package wire

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/freshet/freshet/events"
)

// How far a publisher's clock may be ahead.
const (
	futureWarned  = time.Minute
	futureRefused = 24 * time.Hour
)

// newestMajor is the newest major schema version that is understood.
const newestMajor = 2

// readable sets what can be told of any entry, as far as it is valid. It
// returns what is wrong with the timestamp.
func (r *reading) readable() (badTime error) {
	n, env := &r.named, r.env
	origin := r.origin()
	if n.tenantID != "" {
		if r.badTenant = r.checkTenantID(n.tenantID); r.badTenant == nil {
			env.Tenant = n.tenantID
		}
	}
	env.Source, env.Target, env.PublishedBy, env.Action = n.source, n.target, n.publishedBy, n.action
	r.publisherID = n.publisherID()
	if r.publisherID != "" && r.checkID(r.publisherID) == nil {
		env.Identity = r.publisherID
	} else {
		env.Identity = r.place(origin)
	}
	env.Entity = events.Entity{Type: n.entityType, ID: n.entityID}
	env.Time = idTime(origin.ID)
	if n.timestamp == "" {
		return nil
	}
	// A Date keeps its JSON quotes in every era.
	text := n.timestamp
	if text[0] == '"' || text[len(text)-1] == '"' {
		text = strings.Trim(text, `"`)
	}
	t, err := parseTime(text)
	if err == nil && r.ahead(t, futureWarned) {
		r.early = true
		if r.ahead(t, futureRefused) {
			err = errors.New("more than 24 h ahead")
		}
	}
	if err == nil {
		env.Time = t
	}
	return err
}

// origin names the entry that this one is, or that it is a copy of, as far as
// the copy tells.
func (r *reading) origin() Ref {
	stream, ours := events.CopyOf(r.entry.Stream)
	ref := Ref{stream, r.entry.ID}
	if ours {
		for f := range r.entry.Fields.All() {
			if f.Name != ownPrefix+"id" {
				continue
			}
			if id, err := ParseID(f.Value); err == nil {
				ref.ID = id
			}
		}
	}
	if stream != r.base {
		if id, err := ParseID(r.named.originalID); err == nil {
			return Ref{r.base, id}
		}
	}
	return ref
}

// ahead tells whether t is further ahead than by, of our clock and of the
// server's.
func (r *reading) ahead(t time.Time, by time.Duration) bool {
	if !t.After(idTime(r.entry.ID).Add(by)) {
		return false
	}
	now := time.Now
	if r.now != nil {
		now = r.now
	}
	return t.After(now().Add(by))
}

// place names an event that has no id of its own.
func (r *reading) place(origin Ref) string {
	r.scratch = origin.append(r.scratch[:0])
	return r.text(r.scratch)
}

// checkID is events.ValidID. An entry says the entity's id in several places.
func (r *reading) checkID(id string) error {
	if id == r.validID && id != "" {
		return nil
	}
	err := events.ValidID(id)
	if err == nil {
		r.validID = id
	}
	return err
}

// badID refuses an id of the envelope, unless it is absent.
func (r *reading) badID(field, id string) *Refusal {
	if id == "" {
		return nil
	}
	if err := r.checkID(id); err != nil {
		return &Refusal{BadID, field, err.Error()}
	}
	return nil
}

// publisherID is the id that the publisher gave the event.
func (n *named) publisherID() string { return cmp.Or(n.eventID, n.acknowledgmentID, n.messageID) }

func (r *reading) checkEnvelope(badTime error) *Refusal {
	n := &r.named
	if r.env.Type.Shape != events.ShapeAcknowledgment || n.tenantID != "" {
		if refusal := r.checkTenant(); refusal != nil {
			return refusal
		}
	}
	refusal := cmp.Or(
		r.badID("eventId", n.eventID),
		r.badID("acknowledgmentId", n.acknowledgmentID),
		r.badID("messageId", n.messageID),
		r.badID("entityId", n.entityID),
	)
	if refusal != nil {
		return refusal
	}
	if refusal := r.checkVersion("version", n.version); refusal != nil {
		return refusal
	}
	if badTime != nil {
		return &Refusal{BadTimestamp, "timestamp", badTime.Error()}
	}
	if r.early {
		r.warn("timestamp: ahead of this clock")
	}
	if r.publisherID == "" {
		r.warn("eventId: absent, taken from the entry's place")
	}
	return nil
}

func (r *reading) checkTenant() *Refusal {
	tenant := r.named.tenantID
	if tenant == "" {
		return &Refusal{Reason: MissingField, Field: "tenantId"}
	}
	if r.badTenant != nil {
		return &Refusal{BadTenant, "tenantId", strings.TrimPrefix(r.badTenant.Error(), "tenant: ")}
	}
	for _, stream := range []string{"credit-events:", "crm:organization-assignments:"} {
		if of, ok := strings.CutPrefix(r.base, stream); ok && of != tenant {
			return &Refusal{TenantMismatch, "tenantId", "not the tenant of the stream"}
		}
	}
	return nil
}

// checkVersion refuses a newer major version; a version that is no number
// says nothing.
func (r *reading) checkVersion(field, version string) *Refusal {
	if version == "" || version == "1.0" {
		return nil
	}
	major, _, _ := strings.Cut(version, ".")
	if !isDigits(major) {
		return nil
	}
	if n, err := strconv.ParseUint(major, 10, 32); err != nil || n > newestMajor {
		return &Refusal{UnsupportedVersion, field, fmt.Sprintf("at most %d", newestMajor)}
	}
	return nil
}

func idTime(id ID) time.Time {
	return time.UnixMilli(int64(min(id.Ms, 1<<53))).UTC()
}
