package web

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/shell"
	"github.com/freshet/freshet/repair"
)

// groupOn returns a group of one stream as it is now, and what could not be
// read of it.
func (d *Dashboard) groupOn(ctx context.Context, stream, name string) (*inspect.Group, []string, error) {
	snapshot, err := d.cfg.Inspector.Snapshot(ctx, inspect.SnapshotConfig{Patterns: []string{literal(stream)}})
	if err != nil {
		return nil, nil, err
	}
	var problems []string
	for _, p := range snapshot.Problems {
		problems = append(problems, problem(partOf(p), p.Err))
	}
	for _, s := range snapshot.Streams {
		for i := range s.Groups {
			if s.Key == stream && s.Groups[i].Name == name {
				return &s.Groups[i], problems, nil
			}
		}
	}
	return nil, nil, notFound("The stream has no group of this name.")
}

type consumerView struct {
	*inspect.Group
	Consumer inspect.Consumer
}

// removeConsumer asks whether a consumer that is gone and holds nothing is to
// be removed, and removes it once that was said.
func (d *Dashboard) removeConsumer(r *http.Request) (*view, error) {
	stream, name, consumer := r.FormValue("stream"), r.FormValue("name"), r.FormValue("consumer")
	if stream == "" || name == "" || consumer == "" {
		return nil, badRequest("Name a stream, a group and a consumer.")
	}
	group, problems, err := d.groupOn(r.Context(), stream, name)
	if err != nil {
		return nil, err
	}
	body := consumerView{Group: group}
	for _, c := range group.Consumers {
		if c.Name == consumer {
			body.Consumer = c
		}
	}
	switch c := body.Consumer; {
	case c.Name == "":
		return nil, notFound("The group has no consumer of this name on this stream. It may have been removed already.")
	case c.Live:
		return nil, conflict("The consumer is at work: it asked for something %s ago. Only one that is gone is removed.", span(c.Idle))
	case c.Pending > 0:
		return nil, conflict("The consumer holds %s, which would be lost with it. A consumer of the group that is live takes them over. To give them to one and remove this one: %s",
			plural(c.Pending, "pending entry", "pending entries"), pruneCommand(stream, name))
	case r.PostFormValue("confirm") != "remove":
		return &view{Title: "Remove " + text(consumer) + "?", Section: "groups", Body: body, Problems: problems}, nil
	}
	removed, err := d.cfg.Repairer.RemoveConsumer(r.Context(), stream, name, consumer, inspect.DefaultLiveWithin)
	if err != nil {
		d.audit(r, "could not remove a consumer, or does not know", "stream", stream, "group", name, "consumer", consumer, "error", err)
		return nil, err
	}
	if !removed {
		return nil, conflict("The consumer is not as it was: it has come back, holds entries, or has gone. Nothing was changed.")
	}
	d.audit(r, "removed a consumer", "stream", stream, "group", name, "consumer", consumer)
	return &view{Redirect: to("/group", "name", name, "stream", stream, "done", "removed")}, nil
}

// pruneCommand gives what consumers that are gone hold to one that is live.
func pruneCommand(stream, group string) string {
	return shell.Command("freshet", "consumers", "prune", stream, group, "--idle", "2m")
}

type groupDeletionView struct {
	*repair.DeletedGroup
	Problem string // why what was asked for was not done
	Discard string // command that gives up what is pending; "" where nothing is
}

// Refused tells that the group cannot be deleted as it is.
func (v groupDeletionView) Refused() bool { return v.Live > 0 || v.Pending > 0 }

// deleteGroup says what goes with a group that is removed from a stream, and
// removes it once its name was typed.
func (d *Dashboard) deleteGroup(r *http.Request) (*view, error) {
	stream, name := r.FormValue("stream"), r.FormValue("name")
	if stream == "" || name == "" {
		return nil, badRequest("Name a stream and a group.")
	}
	confirmed := r.PostFormValue("confirm") == "delete"
	mistyped := confirmed && seenAs(r.PostFormValue("typed")) != seenAs(name)
	cfg := repair.DeleteGroupConfig{
		Stream: stream, Group: name, DryRun: !confirmed || mistyped,
		Unread: r.PostFormValue("unread") != "", // that there are some was on the page which was confirmed
	}
	what, err := d.cfg.Repairer.DeleteGroup(r.Context(), cfg)
	var held *repair.HeldError
	switch {
	case errors.As(err, &held):
		return deletionPage(what, "It was not deleted: it is not as it was a moment ago.", http.StatusConflict), nil
	case errors.Is(err, repair.ErrNoGroup), errors.Is(err, repair.ErrNoStream):
		return nil, notFound("The stream has no group of this name. It may have been deleted already.")
	case err != nil:
		if !cfg.DryRun {
			d.audit(r, "could not delete a group, or does not know", "stream", stream, "group", name, "error", err)
		}
		return nil, err
	case mistyped:
		return deletionPage(what, "It was not deleted: what was typed is not the name of the group.", http.StatusUnprocessableEntity), nil
	case cfg.DryRun:
		return deletionPage(what, "", http.StatusOK), nil
	}
	d.audit(r, "deleted a group", "stream", stream, "group", name, "unread", what.Unread.String(), "redriven", what.Redriven)
	return &view{Redirect: to("/stream", "key", stream, "done", "deleted")}, nil
}

func deletionPage(what *repair.DeletedGroup, problem string, status int) *view {
	body := groupDeletionView{DeletedGroup: what, Problem: problem}
	if what.Pending > 0 && what.Live == 0 {
		body.Discard = shell.Command("freshet", "groups", "delete", what.Stream, what.Group, "--dry-run")
	}
	return &view{Title: "Delete " + text(what.Group) + "?", Section: "groups", Status: status, Body: body}
}

// seenAs is how a page shows a name, and so how it is typed.
func seenAs(name string) string { return strings.Join(strings.Fields(text(name)), " ") }
