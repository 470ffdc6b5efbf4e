package web

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/freshet/freshet/events"
)

// writtenRow is a row of the copy that an event tells of, and which event wrote
// it.
type writtenRow struct {
	Table   *table
	Key     string
	App     string // of a role that one application was told; "" of the whole suite
	Address string

	State string    // whole, partly, newer, older; "" where the row does not say
	By    string    // identity of the newest event that wrote something of it
	At    time.Time // of that event
	Find  string    // address of that event; "" where it cannot be looked for
}

// writtenRows reads the rows of the copy that an event tells of. kept tells
// whether the copy has a table for such events.
func (d *Dashboard) writtenRows(ctx context.Context, e *events.Envelope) (rows []writtenRow, kept bool, err error) {
	for i := range tables {
		t := &tables[i]
		if t.Entity != e.Entity.Type {
			continue
		}
		kept = true
		key := e.Entity.ID
		if t.Name == "credit_entries" {
			key = e.Identity // each event is one
		}
		found, err := d.writtenIn(ctx, t, key, e)
		if err != nil {
			return nil, true, err
		}
		rows = append(rows, found...)
	}
	return rows, kept, nil
}

func (d *Dashboard) writtenIn(ctx context.Context, t *table, key string, e *events.Envelope) (rows []writtenRow, err error) {
	if e.Tenant == "" || key == "" {
		return nil, nil
	}
	columns, which, args := "updated_from, versions, ''", "", []any{e.Tenant, key}
	switch t.Entity {
	case "credit":
		columns = "updated_from, '', ''"
	case "role":
		columns, which = "updated_from, versions, app", " AND app IN ('', $3)"
		args = append(args, events.Application(e.Stream))
	}
	found, err := d.cfg.Copy.QueryContext(ctx, "SELECT "+columns+" FROM "+t.Name+" WHERE tenant_id = $1 AND "+t.Key+" = $2"+which, args...)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		row := writtenRow{Table: t, Key: key, Address: to("/entity", "tenant", e.Tenant, "table", t.Name, "key", key)}
		var from, versions string
		if err := found.Scan(&from, &versions, &row.App); err != nil {
			return nil, err
		}
		row.judge(from, versions, e)
		rows = append(rows, row)
	}
	return rows, found.Err()
}

// judge says what is left in the row of what an event wrote. from is "identity
// @ time" of the newest event that wrote something of it; versions names those
// that wrote single columns before.
func (row *writtenRow) judge(from, versions string, e *events.Envelope) {
	i := strings.LastIndex(from, " @ ")
	if i < 0 {
		return
	}
	at, err := time.Parse(time.RFC3339Nano, from[i+len(" @ "):])
	if err != nil {
		return
	}
	row.By, row.At = from[:i], at
	if searchable(row.By) {
		row.Find = to("/find", "q", row.By)
	}
	mine, err := json.Marshal(e.Identity)
	wrote := at.Compare(e.Time.Truncate(time.Microsecond))
	switch {
	case row.By == e.Identity:
		row.State = "whole"
	case err == nil && strings.Contains(versions, " "+string(mine[1:])): // the end of one of its strings
		row.State = "partly"
	case wrote > 0 || wrote == 0 && row.By > e.Identity:
		row.State = "newer"
	default:
		row.State = "older"
	}
}
