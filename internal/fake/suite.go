package fake

import (
	"math/rand/v2"
	"time"

	"github.com/brianvoe/gofakeit/v7"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
)

// Suite remembers what it has told, so that what it tells next refers to it:
// a role is given to a user who exists, and nobody uses credits that an
// organization does not have. It is not safe for concurrent use.
type Suite struct {
	faker   *gofakeit.Faker
	tenants []*tenant
	queue   []freshet.Message // told, and not yet handed out
	last    time.Time
}

// New returns a suite whose story is the same for the same seed and tenants,
// but for its times: they begin now and never go back.
func New(seed uint64, tenants []string) *Suite {
	s := &Suite{faker: gofakeit.NewFaker(rand.NewPCG(seed, seed), false)}
	for _, id := range tenants {
		s.tenant(id)
	}
	return s
}

// Next returns the next event of the story, which has no end. The suite must
// have a tenant.
func (s *Suite) Next() freshet.Message {
	for len(s.queue) == 0 {
		pick(s, s.tenants).advance()
	}
	m := s.queue[0]
	s.queue = s.queue[1:]
	return m
}

// One returns an event of the type, as the last of a list. Before it stand
// the events that it refers to and that the suite has not told yet: the user
// and the role of a role_assigned, say. The name is one that [events.Parse]
// knows.
func (s *Suite) One(typeName, tenantID string) ([]events.Payload, error) {
	tell, err := teller(typeName)
	if err != nil {
		return nil, err
	}
	story := s.queue
	s.queue = nil
	tell(s.tenant(tenantID))
	told := make([]events.Payload, len(s.queue))
	for i, m := range s.queue {
		told[i] = m.Payload
	}
	s.queue = story
	return told, nil
}

func (s *Suite) tenant(id string) *tenant {
	for _, t := range s.tenants {
		if t.id == id {
			return t
		}
	}
	t := &tenant{Suite: s, id: id, emails: make(map[string]bool)}
	s.tenants = append(s.tenants, t)
	return t
}

// now is the time of the event that is being told, as exact as the wire is.
func (s *Suite) now() time.Time {
	if now := time.Now().UTC().Truncate(time.Millisecond); now.After(s.last) {
		s.last = now
	}
	return s.last
}

// chance is true in percent of 100 cases.
func (s *Suite) chance(percent int) bool { return s.faker.IntN(100) < percent }

func pick[T any](s *Suite, from []T) T { return from[s.faker.IntN(len(from))] }
