package web

import (
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/repair"
)

const (
	keptJobs   = 50      // that have ended
	maxLetters = 1 << 20 // of one job
)

// jobs are redrives and drops of many dead letters, which go on when the page
// is closed. They end with the process.
type jobs struct {
	mu   sync.Mutex
	jobs []*job // the oldest first
}

type job struct {
	jobView // by jobs.mu
	cancel  context.CancelFunc
}

// jobView is how a job stands.
type jobView struct {
	ID            string
	Kind          string // redrive, drop
	Stream, Group string
	Cluster       string // "" for single dead letters
	Rate          float64
	Started       time.Time
	Ended         time.Time // zero: it runs
	Collected     bool      // it is known how many there are
	Found         int       // to be dealt with
	Done          int
	Redriven      int
	Dropped       int
	Gone          int // were no longer there
	Refused       int // are no dead letters
	NotDecoded    int // left out: to be redriven one by one
	Error         string
	Cancelled     bool
}

// Percent is how much is done.
func (j jobView) Percent() int {
	switch {
	case !j.Collected:
		return 0
	case j.Found == 0:
		return 100
	}
	return j.Done * 100 / j.Found
}

// State is one word for how the job stands.
func (j jobView) State() string {
	switch {
	case j.Ended.IsZero():
		return "running"
	case j.Cancelled:
		return "cancelled"
	case j.Error != "":
		return "failed"
	}
	return "done"
}

// Left is how long the rest will take at the pace so far; 0: not known.
func (j jobView) Left() time.Duration {
	if j.Done == 0 || j.Done >= j.Found || !j.Ended.IsZero() {
		return 0
	}
	return time.Duration(float64(time.Since(j.Started)) / float64(j.Done) * float64(j.Found-j.Done))
}

func (s *jobs) list() []jobView {
	s.mu.Lock()
	defer s.mu.Unlock()
	views := make([]jobView, len(s.jobs))
	for i, j := range s.jobs {
		views[len(views)-1-i] = j.jobView
	}
	return views
}

func (s *jobs) running() (n int) {
	for _, j := range s.list() {
		if j.Ended.IsZero() {
			n++
		}
	}
	return n
}

// of returns the job that deals with the dead letters of a stream and group
// now.
func (s *jobs) of(stream, group string) *jobView {
	for _, j := range s.list() {
		if j.Stream == stream && j.Group == group && j.Ended.IsZero() {
			return &j
		}
	}
	return nil
}

func (s *jobs) find(id string) *jobView {
	for _, j := range s.list() {
		if j.ID == id {
			return &j
		}
	}
	return nil
}

// add keeps a job, unless another one deals with the same dead letters.
func (s *jobs) add(j *job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.jobs {
		if other.Stream == j.Stream && other.Group == j.Group && other.Ended.IsZero() {
			return false
		}
	}
	if len(s.jobs) >= keptJobs {
		if i := slices.IndexFunc(s.jobs, func(j *job) bool { return !j.Ended.IsZero() }); i >= 0 {
			s.jobs = slices.Delete(s.jobs, i, i+1)
		}
	}
	s.jobs = append(s.jobs, j)
	return true
}

func (s *jobs) update(j *job, f func(*jobView)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&j.jobView)
}

// redrive begins to redrive the dead letters that a form names.
func (d *Dashboard) redrive(r *http.Request) (*view, error) {
	rate := 0.0
	if s := r.PostFormValue("rate"); s != "" {
		var err error
		if rate, err = strconv.ParseFloat(s, 64); err != nil || !(rate > 0) || rate > 1e6 {
			return nil, badRequest("%q is no rate: write how many a second, or nothing for as fast as it goes.", short(20, s))
		}
	}
	return d.begin(r, "redrive", rate)
}

type confirmView struct {
	Stream, Group, Cluster string
	IDs                    []string
	All                    bool
}

// drop asks whether the dead letters that a form names are to be deleted, and
// does so once that was said.
func (d *Dashboard) drop(r *http.Request) (*view, error) {
	if r.PostFormValue("confirm") == "drop" {
		return d.begin(r, "drop", 0)
	}
	body := confirmView{r.FormValue("stream"), r.FormValue("group"), r.PostFormValue("cluster"), r.PostForm["id"], r.PostFormValue("all") != ""}
	if !body.All && len(body.IDs) == 0 {
		return nil, badRequest("No dead letter was chosen.")
	}
	return &view{Title: "Delete for good?", Section: "deadletters", Body: body}, nil
}

// begin starts a job on the dead letters that a form names: by their ids, or
// all of a cluster.
func (d *Dashboard) begin(r *http.Request, kind string, rate float64) (*view, error) {
	stream, group, cluster := r.FormValue("stream"), r.FormValue("group"), r.PostFormValue("cluster")
	ids, all := r.PostForm["id"], r.PostFormValue("all") != ""
	switch {
	case stream == "" || group == "":
		return nil, badRequest("Name a stream and a group.")
	case all:
		ids = nil
	case len(ids) == 0:
		return nil, badRequest("No dead letter was chosen.")
	case slices.ContainsFunc(ids, func(id string) bool { return !isID(id) }):
		return nil, badRequest("What was chosen is no dead letter.")
	default:
		cluster = ""
	}
	ctx, cancel := context.WithCancel(d.ctx)
	j := &job{cancel: cancel, jobView: jobView{ID: rand.Text()[:10], Kind: kind, Stream: stream, Group: group, Cluster: cluster, Rate: rate, Started: time.Now()}}
	if !d.jobs.add(j) {
		cancel()
		return nil, &pageError{http.StatusConflict, "Another redrive or drop deals with the dead letters of this stream and group. Wait until it has ended, or cancel it."}
	}
	d.audit(r, kind+" of dead letters", "stream", stream, "group", group, "job", j.ID, "all", all, "chosen", len(ids))
	d.parts.Go(func() {
		defer cancel()
		err := d.run(ctx, j, ids)
		d.dead.forget()
		d.jobs.update(j, func(v *jobView) {
			v.Ended = time.Now()
			v.Cancelled = err != nil && ctx.Err() != nil
			if err != nil && !v.Cancelled {
				v.Error = err.Error()
			}
		})
	})
	return &view{Redirect: to("/job", "id", j.ID)}, nil
}

// run does the work of a job. ids is nil for all of its cluster.
func (d *Dashboard) run(ctx context.Context, j *job, ids []string) error {
	refs, err := d.collect(ctx, j, ids)
	if err != nil {
		return err
	}
	d.jobs.update(j, func(v *jobView) { v.Collected, v.Found = true, len(refs) })
	if j.Kind == "drop" {
		for len(refs) > 0 {
			part := refs[:min(len(refs), lettersPerLook)]
			dropped, err := d.cfg.Repairer.Drop(ctx, part)
			if err != nil {
				return err
			}
			d.jobs.update(j, func(v *jobView) {
				v.Done += len(part)
				v.Dropped += dropped
				v.Gone += len(part) - dropped
			})
			refs = refs[len(part):]
		}
		return nil
	}
	result, err := d.cfg.Repairer.Redrive(ctx, refs, repair.RedriveConfig{Rate: j.Rate, Progress: func(done int) {
		d.jobs.update(j, func(v *jobView) { v.Done = done })
	}})
	d.jobs.update(j, func(v *jobView) {
		v.Redriven += result.Redriven
		v.Gone += result.Gone
		v.Refused += result.Refused
	})
	return err
}

// collect finds the dead letters of a job. Those that do not decode are
// redriven only when they were chosen one by one.
func (d *Dashboard) collect(ctx context.Context, j *job, ids []string) (refs []inspect.DeadLetterRef, err error) {
	for _, id := range ids {
		l, err := d.cfg.Inspector.DeadLetterByID(ctx, j.Stream, j.Group, id)
		if err != nil {
			return nil, err
		}
		if l == nil {
			d.jobs.update(j, func(v *jobView) { v.Gone++ })
			continue
		}
		refs = append(refs, l.DeadLetterRef)
	}
	if ids != nil {
		return refs, nil
	}
	for after := ""; len(refs) < maxLetters; {
		letters, err := d.cfg.Inspector.DeadLetterPage(ctx, j.Stream, j.Group, after, lettersPerLook)
		if err != nil {
			return nil, err
		}
		for _, l := range letters {
			after = l.ID
			switch {
			case j.Cluster != "" && clusterOf(l) != j.Cluster:
			case j.Kind == "redrive" && l.Foreign:
				d.jobs.update(j, func(v *jobView) { v.Refused++ })
			case j.Kind == "redrive" && l.Refusal != nil:
				d.jobs.update(j, func(v *jobView) { v.NotDecoded++ })
			default:
				refs = append(refs, l.DeadLetterRef)
			}
		}
		d.jobs.update(j, func(v *jobView) { v.Found = len(refs) })
		if len(letters) < lettersPerLook {
			break
		}
	}
	return refs, nil
}

func (d *Dashboard) jobList(*http.Request) (*view, error) {
	return &view{Title: "Redrives", Section: "deadletters", Refresh: 2, Body: d.jobs.list()}, nil
}

func (d *Dashboard) jobPage(r *http.Request) (*view, error) {
	j := d.jobs.find(r.FormValue("id"))
	if j == nil {
		return nil, notFound("There is no such job: it ended long ago, or with the process that ran it.")
	}
	v := &view{Title: j.Kind + " of dead letters", Section: "deadletters", Body: *j}
	if j.Ended.IsZero() {
		v.Refresh = 1
	}
	return v, nil
}

func (d *Dashboard) cancelJob(r *http.Request) (*view, error) {
	id := r.PostFormValue("id")
	d.jobs.mu.Lock()
	for _, j := range d.jobs.jobs {
		if j.ID == id {
			j.cancel()
		}
	}
	d.jobs.mu.Unlock()
	d.audit(r, "cancelled a job", "job", short(20, id))
	return &view{Redirect: to("/job", "id", id)}, nil
}
