package inspect

import (
	"context"
	"fmt"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redisstream"
)

// catalogue looks at which streams there are, and whether they are those of the
// catalogue.
func (x *examination) catalogue(ctx context.Context) error {
	for _, s := range x.d.Snapshot.Streams {
		x.length(s)
		x.unread(s)
	}
	if len(x.cfg.Patterns) > 0 {
		return nil // other names were asked for
	}
	keys, err := x.client.Keys(ctx, []string{"*"})
	switch {
	case redisstream.ClassOf(err) == redisstream.NoPerm:
		return nil // the snapshot has said so
	case err != nil:
		return err
	}
	for _, key := range keys {
		x.drift(key)
	}
	return nil
}

func (x *examination) length(s Stream) {
	severity := x.limits().StreamLength.of(s.Length)
	if severity == "" {
		return
	}
	f := Finding{
		Check: "stream_length", Severity: severity, Subject: "stream " + s.Key, Since: s.FirstAt,
		Summary:  fmt.Sprintf("%s has %s, which take memory", s.Key, countOf(s.Length, "entry")),
		Evidence: fmt.Sprintf("the first is %s old", span(x.d.At.Sub(s.FirstAt))),
		Advice:   "Remove what all groups have settled, as the retention of freshet run does by itself",
		Command:  x.freshet("trim", "--older-than", "30d", "--streams", s.Key),
	}
	if s.Bytes > 0 {
		f.Evidence += fmt.Sprintf("; %d MiB", s.Bytes>>20)
	}
	if h := s.HeldBack; h != nil {
		f.Evidence += fmt.Sprintf("; %s keeps what is newer than %s", h.Group, h.ID)
	}
	x.find(f)
}

// unread looks for streams without a group. Who subscribes to all of the suite
// picks a new stream up within ten seconds. Acknowledgments are read by few.
func (x *examination) unread(s Stream) {
	if s.Length <= 0 || len(s.Groups) > 0 || s.GroupsUnknown != "" || events.BaseStream(s.Key) != s.Key {
		return
	}
	age := x.d.At.Sub(s.FirstAt)
	if age < DefaultLiveWithin {
		return
	}
	f := Finding{
		Check: "unread_stream", Severity: worse(Warning, x.limits().LagAge.of(age)), Subject: "stream " + s.Key, Since: s.FirstAt,
		Summary:  fmt.Sprintf("Nobody reads %s: it has %s, the oldest %s old", s.Key, countOf(s.Length, "event"), span(age)),
		Evidence: "XINFO GROUPS names none",
		Advice:   "Start an application that consumes it. Until then nothing but age keeps its events from being trimmed; a group keeps them",
		Command:  x.freshet("tail", s.Key, "--from", "0", "--limit", "10", "--exit-at-end"),
	}
	if s.Key == acknowledgments {
		f.Severity = Info
		f.Advice = "Acknowledgments are for publishers that want to know; where none does, consumers need not publish them"
	}
	x.find(f)
}

const acknowledgments = "acknowledgments"

// drift looks for names that are nearly those of the catalogue.
func (x *examination) drift(key string) {
	read, near := events.Covered(key), events.NearestStream(key)
	if near == "" || near == key {
		return
	}
	f := Finding{
		Check: "name_drift", Severity: Warning, Subject: "stream " + key,
		Summary:  fmt.Sprintf("%s is no stream of the catalogue, and nobody who subscribes to those reads it", key),
		Evidence: "the closest name of the catalogue is " + near,
		Advice:   "Have its publisher use the name of the catalogue. To see who that is",
		Command:  x.freshet("tail", key, "--from", "0", "--limit", "10", "--exit-at-end"),
	}
	if read {
		f.Severity = Info
		f.Summary = fmt.Sprintf("%s is no stream of the catalogue; it is read by who subscribes to all of the suite, and missed by who names streams", key)
	}
	x.find(f)
}
