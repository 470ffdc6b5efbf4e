package web

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/repair"
)

// Config of a dashboard.
type Config struct {
	Inspector *inspect.Inspector
	Repairer  *repair.Repairer // nil: the dashboard changes nothing
	Copy      *sql.DB          // local copy (package replica), only read; nil: there is none
	Server    string           // address of the Redis server as it is shown, without secrets

	// OperateToken logs in to look, change and reveal, ViewToken to look. With
	// neither, everybody who reaches the dashboard under a name of this machine
	// may do all, so it must be served on the loopback interface alone.
	OperateToken, ViewToken string

	Log *slog.Logger // who revealed or changed what; nil: slog.Default
}

// requestTimeout bounds what one page may wait for.
const requestTimeout = 2 * time.Second

// Dashboard serves the pages. Close it before the Inspector.
type Dashboard struct {
	cfg      Config
	log      *slog.Logger
	handler  http.Handler
	sessions sessions
	jobs     jobs
	tails    chan struct{} // a place for each live tail
	finds    chan struct{} // a place for each search
	dead     deadCounts
	watch    watch

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	parts  sync.WaitGroup
}

// New returns a dashboard. It looks at the server while pages are asked for.
func New(cfg Config) *Dashboard {
	d := &Dashboard{cfg: cfg, log: cfg.Log, tails: make(chan struct{}, maxTails), finds: make(chan struct{}, findAtOnce), watch: newWatch()}
	if d.log == nil {
		d.log = slog.Default()
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.handler = d.guard(d.routes())
	d.parts.Go(func() {
		d.watch.keep(d.ctx, func(ctx context.Context) (*inspect.Diagnosis, error) {
			return cfg.Inspector.Diagnose(ctx, inspect.DiagnoseConfig{})
		})
	})
	return d
}

// Close ends redrives that run, what is left of them stays a dead letter, and
// live tails.
func (d *Dashboard) Close() {
	d.cancel()
	d.parts.Wait()
}

// ServeHTTP implements [http.Handler].
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) { d.handler.ServeHTTP(w, r) }

func (d *Dashboard) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /assets/", assets())
	mux.Handle("GET /login", d.page("login", d.loginPage))
	mux.Handle("POST /login", d.page("login", d.login))
	mux.Handle("POST /logout", d.page("login", d.logout))

	look := func(pattern, template string, f pageFunc) {
		mux.Handle("GET "+pattern, d.requires(viewer, d.page(template, f)))
	}
	change := func(pattern, template string, f pageFunc) {
		mux.Handle("POST "+pattern, d.requires(operator, d.page(template, f)))
	}
	look("/{$}", "overview", d.overview)
	look("/find", "find", d.find)
	look("/streams", "streams", d.streams)
	look("/stream", "stream", d.stream)
	look("/event", "event", d.event)
	change("/event", "event", d.event) // reveals
	look("/groups", "groups", d.groups)
	look("/group", "group", d.group)
	look("/deadletters", "deadletters", d.deadLetters)
	look("/deadletters/cluster", "cluster", d.cluster)
	look("/deadletter", "deadletter", d.deadLetter)
	change("/deadletter", "deadletter", d.deadLetter) // reveals
	look("/entities", "entities", d.entities)
	look("/entity", "entity", d.entity)
	change("/entities", "entities", d.entities) // reveals
	change("/entity", "entity", d.entity)       // reveals
	look("/doctor", "doctor", d.doctor)
	look("/jobs", "jobs", d.jobList)
	look("/job", "job", d.jobPage)
	mux.Handle("GET /live", d.requires(viewer, http.HandlerFunc(d.live)))

	change("/deadletters/redrive", "deadletters", d.redrive)
	change("/deadletters/drop", "confirm", d.drop)
	change("/deadletter/edit", "edit", d.edit)
	change("/group/rewind", "rewind", d.rewind)
	change("/group/delete", "groupdelete", d.deleteGroup)
	change("/group/consumer/remove", "consumerremove", d.removeConsumer)
	change("/job/cancel", "job", d.cancelJob)
	mux.Handle("/", d.requires(viewer, d.page("error", func(*http.Request) (*view, error) {
		return nil, &pageError{http.StatusNotFound, "There is no such page."}
	})))
	return mux
}

// problem says in a sentence what keeps a part of a page from being shown.
func problem(part string, err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return part + " could not be read: the server did not answer within " + requestTimeout.String()
	}
	return part + " could not be read: " + err.Error()
}
