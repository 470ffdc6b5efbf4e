package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/inspect"
)

func (c *cli) streamsCommand() *cobra.Command {
	l := looking{rates: true}
	cmd := &cobra.Command{
		Use:   "streams [PATTERN...]",
		Short: "Show the streams: how long, how fast, how old, and who reads them",
		Long: `Show the streams that match a PATTERN (a key or a Redis glob; by default every
stream of the suite). It looks for a second, to tell how fast entries come.

HELD BACK BY is the group that keeps most from being removed by a trim, and
since when. A stream in red has entries and no group that reads them.`,
		Example: `  freshet streams
  freshet streams 'crm:*' --watch
  freshet streams -o json --jq '.length > 50000'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			l.Patterns = args
			header := []string{"STREAM", "LENGTH", "IN/S", "SIZE", "OLDEST", "NEWEST", "GROUPS", "HELD BACK BY"}
			if c.output == "wide" {
				header = append(header, "ADDED", "FIRST ID", "LAST ID")
			}
			return c.look(cmd.Context(), &l, func(s *inspect.Snapshot, r inspect.Rates) ([]row, error) {
				return c.streamRows(s, r), nil
			}, header...)
		},
	}
	l.addFlags(cmd, false)
	return cmd
}

type streamJSON struct {
	Stream   string         `json:"stream"`
	Length   *int64         `json:"length"`
	Bytes    *int64         `json:"bytes"`
	Added    *int64         `json:"added"`
	In       *float64       `json:"in_per_second"`
	Oldest   *entryAtJSON   `json:"oldest"`
	Newest   *entryAtJSON   `json:"newest"`
	Groups   []string       `json:"groups"` // null: unknown
	HeldBack *unsettledJSON `json:"held_back_by"`
}

func (c *cli) streamRows(snapshot *inspect.Snapshot, rates inspect.Rates) []row {
	now := snapshot.At
	rows := make([]row, len(snapshot.Streams))
	for n, s := range snapshot.Streams {
		value := streamJSON{
			Stream: s.Key, Length: known(s.Length), Bytes: known(s.Bytes), Added: known(s.Added), In: perSecond(rates.In[s.Key]),
			Oldest: entryAt(s.FirstID, s.FirstAt, now), Newest: entryAt(s.LastID, s.LastAt, now),
			HeldBack: unsettled(s.HeldBack, now),
		}
		if s.GroupsUnknown == "" {
			value.Groups = groupNames(&s)
		}
		rows[n] = row{value: value, name: s.Key, cells: []string{
			s.Key, countCell(s.Length), rateCell(rates.In[s.Key]), sizeCell(s.Bytes), agoCell(s.FirstAt, now), agoCell(s.LastAt, now),
			readersCell(&s), heldBackCell(s.HeldBack, now),
		}}
		if unread(&s) {
			rows[n].style = red
		}
		if c.output == "wide" {
			rows[n].cells = append(rows[n].cells, countCell(s.Added), orDash(s.FirstID), orDash(s.LastID))
		}
	}
	return rows
}

// unread tells whether a stream has entries that no group is there for.
func unread(s *inspect.Stream) bool {
	return s.Length > 0 && len(s.Groups) == 0 && s.GroupsUnknown == ""
}

func groupNames(s *inspect.Stream) []string {
	names := make([]string, len(s.Groups))
	for n, g := range s.Groups {
		names[n] = g.Name
	}
	return names
}

func readersCell(s *inspect.Stream) string {
	switch {
	case s.GroupsUnknown != "":
		return "?"
	case unread(s):
		return "nobody reads it"
	case len(s.Groups) > 3:
		return strconv.Itoa(len(s.Groups))
	}
	return orDash(strings.Join(groupNames(s), ", "))
}

func heldBackCell(h *inspect.Hold, now time.Time) string {
	if h == nil {
		return "-"
	}
	return fmt.Sprintf("%s: %s since %s", h.Group, stateOfHold(h), span(now.Sub(h.At)))
}

func sizeCell(n int64) string {
	if n < 0 {
		return "?"
	}
	return bytesCell(n)
}
