package web

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/personal"
)

const (
	lettersPage    = 50   // dead letters on a page
	lettersPerLook = 500  // read at one time
	lettersSampled = 3000 // looked at for one page, at most
)

// clusterKey names those dead letters of a stream and group that failed alike.
func clusterKey(reason, fingerprint string) string {
	sum := sha256.Sum256([]byte(reason + "\x00" + fingerprint))
	return hex.EncodeToString(sum[:8])
}

func clusterOf(l *inspect.DeadLetter) string {
	return clusterKey(l.Reason, inspect.Fingerprint(l.Error))
}

type deadLettersView struct {
	Counts        []inspect.DeadLetterCount
	Total         int64
	Clusters      []clusterRow
	Sampled       int64 // letters that the clusters were made of
	Stream, Group string
	Jobs          []jobView
	Done          string
}

type clusterRow struct {
	inspect.DeadLetterCluster
	Key     string
	Share   int  // percent of all that were looked at
	Partial bool // there are dead letters that were not looked at
}

// deadLetters shows which failures there are, of all streams and groups or of
// some.
func (d *Dashboard) deadLetters(r *http.Request) (*view, error) {
	q := r.URL.Query()
	body := &deadLettersView{Stream: q.Get("stream"), Group: q.Get("group"), Jobs: d.jobs.list(), Done: q.Get("done")}
	v := &view{Title: "Dead letters", Section: "deadletters", Body: body}
	counts, err := d.deadLetterCounts(r.Context())
	if err != nil {
		return nil, err
	}
	counts = slices.DeleteFunc(counts, func(c inspect.DeadLetterCount) bool {
		return body.Stream != "" && c.Stream != body.Stream || body.Group != "" && c.Group != body.Group
	})
	body.Counts = counts
	for _, c := range counts {
		body.Total += c.Count
	}
	if len(counts) == 0 {
		return v, nil
	}
	var clusters inspect.DeadLetterClusters
	partial := map[inspect.DeadLetterCount]bool{}
	each := max(lettersSampled/len(counts), 100)
	for n, c := range counts {
		if n >= lettersSampled/100 {
			partial[inspect.DeadLetterCount{Stream: c.Stream, Group: c.Group}] = true
			continue
		}
		sampled, err := d.sample(r.Context(), c, each, &clusters)
		if err != nil {
			v.Problems = append(v.Problems, problem("The dead letters of "+text(c.Stream)+", group "+text(c.Group)+",", err))
		}
		partial[inspect.DeadLetterCount{Stream: c.Stream, Group: c.Group}] = sampled < c.Count
		body.Sampled += sampled
	}
	for _, cluster := range clusters.List() {
		body.Clusters = append(body.Clusters, clusterRow{
			DeadLetterCluster: cluster, Key: clusterKey(cluster.Reason, cluster.Error),
			Share:   int(int64(cluster.Count) * 100 / max(body.Sampled, 1)),
			Partial: partial[inspect.DeadLetterCount{Stream: cluster.Stream, Group: cluster.Group}],
		})
	}
	if len(body.Clusters) > 200 {
		body.Clusters = body.Clusters[:200]
	}
	return v, nil
}

// sample sorts the oldest dead letters of a stream and group into clusters.
func (d *Dashboard) sample(ctx context.Context, c inspect.DeadLetterCount, most int, clusters *inspect.DeadLetterClusters) (sampled int64, err error) {
	for after := ""; sampled < int64(most); {
		letters, err := d.cfg.Inspector.DeadLetterPage(ctx, c.Stream, c.Group, after, min(lettersPerLook, most))
		if err != nil {
			return sampled, err
		}
		for _, l := range letters {
			clusters.Add(l)
		}
		sampled += int64(len(letters))
		if len(letters) < min(lettersPerLook, most) {
			break
		}
		after = letters[len(letters)-1].ID
	}
	return sampled, nil
}

type clusterView struct {
	Stream, Group, Key string
	Reason, Error      string
	Foreign            bool // records that are no dead letters
	Letters            []letterRow
	More               string // address of what follows
	First              bool
	Job                *jobView // that deals with this stream and group now
}

type letterRow struct {
	*inspect.DeadLetter
	Type, Tenant string
	Data         string
}

// cluster shows a page of the dead letters that failed alike.
func (d *Dashboard) cluster(r *http.Request) (*view, error) {
	q := r.URL.Query()
	body := &clusterView{Stream: q.Get("stream"), Group: q.Get("group"), Key: q.Get("cluster"), First: q.Get("after") == ""}
	after := q.Get("after")
	if body.Stream == "" || body.Group == "" || after != "" && !isID(after) {
		return nil, badRequest("Name a stream and a group.")
	}
	full := false
	for searched := 0; searched < lettersSampled && !full; {
		letters, err := d.cfg.Inspector.DeadLetterPage(r.Context(), body.Stream, body.Group, after, lettersPerLook)
		if err != nil {
			return nil, err
		}
		for _, l := range letters {
			after = l.ID
			if body.Key != "" && clusterOf(l) != body.Key {
				continue
			}
			if len(body.Letters) == 0 && body.Key != "" {
				body.Reason, body.Error, body.Foreign = l.Reason, inspect.Fingerprint(l.Error), l.Foreign
			}
			body.Letters = append(body.Letters, letterRow{l, l.Envelope.TypeName(), l.Envelope.Tenant, short(160, string(dataOf(l.Envelope, false)))})
			if full = len(body.Letters) == lettersPage; full {
				break
			}
		}
		searched += len(letters)
		if len(letters) < lettersPerLook && !full {
			after = ""
			break
		}
	}
	if after != "" {
		body.More = to("/deadletters/cluster", "stream", body.Stream, "group", body.Group, "cluster", body.Key, "after", after)
	}
	body.Job = d.jobs.of(body.Stream, body.Group)
	title := "Dead letters of " + body.Group
	return &view{Title: title, Section: "deadletters", Body: body}, nil
}

type letterView struct {
	*inspect.DeadLetter
	Cluster    string
	Data, Meta string
	Fields     []events.Field
	Revealed   bool
}

// deadLetter shows one; posted to, it shows what is masked as well.
func (d *Dashboard) deadLetter(r *http.Request) (*view, error) {
	l, err := d.findLetter(r)
	if err != nil {
		return nil, err
	}
	revealed := r.Method == http.MethodPost
	if revealed {
		d.audit(r, "revealed a dead letter", "stream", l.Stream, "group", l.Group, "id", l.ID)
	}
	body := letterView{DeadLetter: l, Cluster: clusterOf(l), Revealed: revealed, Fields: l.Envelope.Fields.List(),
		Data: pretty(dataOf(l.Envelope, revealed)), Meta: pretty(l.Envelope.Metadata)}
	if !revealed {
		body.Fields = personal.Fields(body.Fields)
		body.Meta = pretty(personal.JSON(l.Envelope.Metadata))
	}
	return &view{Title: "Dead letter " + l.ID, Section: "deadletters", Body: body}, nil
}

// findLetter finds the dead letter that a request names.
func (d *Dashboard) findLetter(r *http.Request) (*inspect.DeadLetter, error) {
	stream, group, id := r.FormValue("stream"), r.FormValue("group"), r.FormValue("id")
	if stream == "" || group == "" || !isID(id) {
		return nil, badRequest("Name a stream, a group and the id of a dead letter.")
	}
	l, err := d.cfg.Inspector.DeadLetterByID(r.Context(), stream, group, id)
	if err == nil && l == nil {
		err = notFound("There is no dead letter %s of group %s. It may have been redriven or dropped.", id, text(group))
	}
	return l, err
}
