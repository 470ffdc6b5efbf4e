package inspect

import (
	"cmp"
	"regexp"
	"slices"
	"time"
)

// DeadLetterCluster are dead letters of one stream and group that failed
// alike.
type DeadLetterCluster struct {
	Stream, Group, Reason string
	Error                 string // with the particulars of the single letters left out
	Count                 int
	FirstSeen, LastSeen   time.Time // first and last failure; zero where no letter says
	Example               string    // id of one of them, the newest
}

// DeadLetterClusters sorts dead letters into clusters. The zero value is
// ready.
type DeadLetterClusters struct {
	clusters map[clusterKey]*DeadLetterCluster
}

type clusterKey struct{ stream, group, reason, err string }

// Add counts a dead letter.
func (c *DeadLetterClusters) Add(l *DeadLetter) {
	if c.clusters == nil {
		c.clusters = map[clusterKey]*DeadLetterCluster{}
	}
	key := clusterKey{l.Stream, l.Group, l.Reason, Fingerprint(l.Error)}
	cluster := c.clusters[key]
	if cluster == nil {
		cluster = &DeadLetterCluster{Stream: l.Stream, Group: l.Group, Reason: l.Reason, Error: key.err}
		c.clusters[key] = cluster
	}
	cluster.Count++
	cluster.Example = l.ID
	if !l.FirstFailed.IsZero() && (cluster.FirstSeen.IsZero() || l.FirstFailed.Before(cluster.FirstSeen)) {
		cluster.FirstSeen = l.FirstFailed
	}
	if l.LastFailed.After(cluster.LastSeen) {
		cluster.LastSeen = l.LastFailed
	}
}

// List returns the clusters, the largest first.
func (c *DeadLetterClusters) List() []DeadLetterCluster {
	list := make([]DeadLetterCluster, 0, len(c.clusters))
	for _, cluster := range c.clusters {
		list = append(list, *cluster)
	}
	slices.SortFunc(list, func(a, b DeadLetterCluster) int {
		return cmp.Or(
			cmp.Compare(b.Count, a.Count),
			cmp.Compare(a.Stream, b.Stream),
			cmp.Compare(a.Group, b.Group),
			cmp.Compare(a.Reason, b.Reason),
			cmp.Compare(a.Error, b.Error),
		)
	})
	return list
}

var (
	quoted      = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|\B'[^']*'\B|` + "`[^`]*`")
	particulars = regexp.MustCompile(`[\w-]*\d[\w-]*(?:[.:][\w-]*\d[\w-]*)*|\b(?:[a-f]{8,}|[A-F]{8,})\b`)
)

// Fingerprint leaves out of an error's text what differs between errors of one
// cause: quoted text, and words with digits, such as numbers, ids and times.
func Fingerprint(err string) string {
	return particulars.ReplaceAllString(quoted.ReplaceAllString(err, "<text>"), "<n>")
}
