package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/personal"
)

// rowsPerSecond is what a person can follow.
const rowsPerSecond = 20

// feed shows what a consumer has settled, a row each, and counts what comes
// faster than a person can read.
type feed struct {
	c       *cli
	reveal  bool
	rows    chan freshet.Settlement
	skipped atomic.Int64
}

func newFeed(c *cli, reveal bool) *feed {
	return &feed{c: c, reveal: reveal, rows: make(chan freshet.Settlement, rowsPerSecond)}
}

// settled is told of each entry by the consumer, which it never holds up.
func (f *feed) settled(s freshet.Settlement) {
	if s.Outcome != freshet.Handled && s.Outcome != freshet.DeadLettered {
		return
	}
	select {
	case f.rows <- s:
	default:
		f.skipped.Add(1)
	}
}

// show prints rows until stop is closed and those that came before are
// printed.
func (f *feed) show(stop <-chan struct{}) {
	table := f.c.list(false, "TIME", "TENANT", "EVENT", "ENTITY", "WHAT")
	copy(table.widths, []int{8, 8, 31, 9}) // so that columns need not move
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for shown := 0; ; {
		select {
		case s := <-f.rows:
			if shown++; shown > rowsPerSecond {
				f.skipped.Add(1)
				continue
			}
			f.print(table, s)
		case <-second.C:
			shown = 0
			f.printSkipped()
		case <-stop:
			for len(f.rows) > 0 {
				f.print(table, <-f.rows)
			}
			f.printSkipped()
			return
		}
	}
}

func (f *feed) print(table *listing, s freshet.Settlement) {
	e := s.Envelope
	style, what := plain, ""
	if s.Outcome == freshet.DeadLettered {
		style, what = red, "dead-lettered: "+s.Reason
	} else {
		data := e.Data
		if !f.reveal {
			data = personal.JSON(data)
		}
		what = f.describe(e, data)
	}
	// A terminal that is gone is no reason to stop consuming.
	_ = table.add(nil, style, time.Now().Format(time.TimeOnly), f.c.idCell(e.Tenant), typeCell(e), f.c.idCell(e.Entity.ID), what)
}

func (f *feed) printSkipped() {
	if n := f.skipped.Swap(0); n > 0 {
		fmt.Fprintf(f.c.stdout, "… and %d more\n", n)
	}
}

// describe says in a few words what an event tells about its entity.
func (f *feed) describe(e *events.Envelope, data json.RawMessage) string {
	var d struct {
		Name, FirstName, LastName, Email     string
		UserID, RoleID, RoleName             string
		OrgName, OrganizationID, AccessLevel string
		Amount                               json.Number
		OperationType                        string
	}
	_ = json.Unmarshal(data, &d) // what is not as expected stays empty
	id := f.c.idCell
	switch {
	case d.Amount != "" && strings.Contains(e.TypeName(), "consumed"):
		return strings.TrimSpace("-" + d.Amount.String() + " credits " + d.OperationType)
	case d.Amount != "":
		return "+" + d.Amount.String() + " credits"
	case d.OrganizationID != "":
		return strings.TrimSpace("user " + id(d.UserID) + " in " + id(d.OrganizationID) + " " + d.AccessLevel)
	case d.UserID != "" && d.RoleID != "":
		return "user " + id(d.UserID) + ", role " + id(d.RoleID)
	case d.RoleName != "":
		return d.RoleName
	case d.OrgName != "":
		return d.OrgName
	case d.FirstName != "" || d.LastName != "":
		return strings.TrimSpace(d.FirstName + " " + d.LastName)
	}
	return cmp.Or(d.Name, d.Email)
}
