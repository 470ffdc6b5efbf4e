package web

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/personal"
)

const (
	rowsPage       = 50
	historyEvents  = 100  // shown of one entity
	historyLooked  = 4000 // entries looked at for them, over all streams
	historyPerRead = 500
)

// table is a table of the copy as the dashboard shows it.
type table struct {
	Name, Title string
	Key         string   // column that names a row within its tenant
	Columns     []string // shown in the list
	Entity      string   // entity type of its events
	Person      bool     // its names are those of persons
	EventKey    string   // column with the id that events give the entity
}

var tables = []table{
	{Name: "users", Title: "Users", Key: "user_id", Columns: []string{"user_id", "email", "first_name", "last_name", "is_active", "deleted_at"}, Entity: "user", Person: true, EventKey: "user_id"},
	{Name: "roles", Title: "Roles", Key: "role_id", Columns: []string{"role_id", "app", "name", "is_active", "updated_at", "deleted_at"}, Entity: "role", EventKey: "role_id"},
	{Name: "role_assignments", Title: "Role assignments", Key: "assignment_id", Columns: []string{"assignment_id", "user_id", "role_id", "assigned_at", "expires_at", "deleted_at"}, Entity: "role_assignment", EventKey: "assignment_id"},
	{Name: "organizations", Title: "Organizations", Key: "org_code", Columns: []string{"org_code", "name", "type", "parent_id", "is_active"}, Entity: "organization", EventKey: "org_code"},
	{Name: "organization_assignments", Title: "Memberships", Key: "assignment_key", Columns: []string{"assignment_key", "user_id", "organization_id", "access_level", "is_active", "deleted_at"}, Entity: "organization_assignment", EventKey: "assignment_id"},
	{Name: "credit_balances", Title: "Balances", Key: "entity_id", Columns: []string{"entity_id", "allocated", "consumed", "balance"}, Entity: "credit", EventKey: "entity_id"},
	{Name: "credit_entries", Title: "Credit entries", Key: "entry_id", Columns: []string{"entry_id", "entity_id", "kind", "amount", "user_id", "occurred_at"}, Entity: "credit", EventKey: "entity_id"},
}

func tableOf(name string) *table {
	for i := range tables {
		if tables[i].Name == name {
			return &tables[i]
		}
	}
	return nil
}

type entitiesView struct {
	Tenants      []string
	Tenant, Find string
	Tables       []tableCount
	Table        *table
	Rows         []entityRow
	More         string
	Revealed     bool
	Personal     bool // something in the rows is masked, or would be
}

type tableCount struct {
	*table
	Count   string
	Address string
}

type entityRow struct {
	Key     string
	Address string
	Cells   []string
}

// entities shows the tenants of the copy, or the rows of one.
func (d *Dashboard) entities(r *http.Request) (*view, error) {
	if d.cfg.Copy == nil {
		return nil, notFound("This dashboard was started without a copy (--replica).")
	}
	body := &entitiesView{Tenant: r.FormValue("tenant"), Find: r.FormValue("find"), Table: tableOf(r.FormValue("table")), Revealed: r.Method == http.MethodPost}
	v := &view{Title: "Entities", Section: "entities", Body: body}
	var err error
	if body.Tenants, err = d.tenants(r.Context()); err != nil {
		return nil, fmt.Errorf("the copy could not be read: %w", err)
	}
	if body.Tenant == "" {
		return v, nil
	}
	if body.Table == nil {
		body.Table = &tables[0]
	}
	v.Title = body.Table.Title + " of " + body.Tenant
	for i := range tables {
		t := &tables[i]
		count, err := d.countUpTo(r.Context(), t, body.Tenant)
		if err != nil {
			v.Problems = append(v.Problems, problem(t.Title, err))
		}
		body.Tables = append(body.Tables, tableCount{t, count, to("/entities", "tenant", body.Tenant, "table", t.Name)})
	}
	if body.Revealed {
		d.audit(r, "revealed rows of the copy", "tenant", body.Tenant, "table", body.Table.Name)
	}
	if err := d.rows(r.Context(), body, r.FormValue("after")); err != nil {
		return nil, fmt.Errorf("the copy could not be read: %w", err)
	}
	return v, nil
}

// tenants finds up to 500 tenants, each by one look into an index.
func (d *Dashboard) tenants(ctx context.Context) (found []string, err error) {
	rows, err := d.cfg.Copy.QueryContext(ctx, `
WITH RECURSIVE t(id) AS (
  SELECT min(id) FROM (SELECT min(tenant_id) AS id FROM users UNION ALL SELECT min(tenant_id) FROM roles
    UNION ALL SELECT min(tenant_id) FROM organizations UNION ALL SELECT min(tenant_id) FROM credit_balances)
  UNION ALL
  SELECT (SELECT min(id) FROM (
    SELECT min(tenant_id) AS id FROM users WHERE tenant_id > t.id
    UNION ALL SELECT min(tenant_id) FROM roles WHERE tenant_id > t.id
    UNION ALL SELECT min(tenant_id) FROM organizations WHERE tenant_id > t.id
    UNION ALL SELECT min(tenant_id) FROM credit_balances WHERE tenant_id > t.id))
  FROM t WHERE t.id IS NOT NULL
) SELECT id FROM t WHERE id IS NOT NULL LIMIT 500`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var tenant string
		if err := rows.Scan(&tenant); err != nil {
			return nil, err
		}
		found = append(found, tenant)
	}
	return found, rows.Err()
}

// countUpTo counts a tenant's rows, but not for long.
func (d *Dashboard) countUpTo(ctx context.Context, t *table, tenant string) (string, error) {
	const most = 10_000
	var n int
	err := d.cfg.Copy.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT 1 FROM `+t.Name+` WHERE tenant_id = $1 LIMIT $2)`, tenant, most).Scan(&n)
	switch {
	case err != nil:
		return "unknown", err
	case n == most:
		return "≥ " + number(n), nil
	}
	return number(n), nil
}

// rows reads a page of a tenant's rows, in the order of their keys.
func (d *Dashboard) rows(ctx context.Context, body *entitiesView, after string) error {
	t := body.Table
	query := "SELECT " + strings.Join(t.Columns, ", ") + " FROM " + t.Name + " WHERE tenant_id = $1 AND " + t.Key + " > $2"
	args := []any{body.Tenant, after}
	if body.Find != "" { // the beginning of a key
		query += " AND " + t.Key + " >= $3 AND " + t.Key + " < $4"
		args = append(args, body.Find, body.Find+"\U0010ffff")
	}
	query += " ORDER BY " + t.Key + " LIMIT " + strconv.Itoa(rowsPage)
	rows, err := d.cfg.Copy.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		values, err := scan(rows, len(t.Columns))
		if err != nil {
			return err
		}
		row := entityRow{Key: values[0].String, Cells: make([]string, len(values))}
		row.Address = to("/entity", "tenant", body.Tenant, "table", t.Name, "key", row.Key)
		for i, value := range values {
			row.Cells[i] = cell(t, t.Columns[i], value, body.Revealed)
			body.Personal = body.Personal || t.isPersonal(t.Columns[i])
		}
		body.Rows = append(body.Rows, row)
	}
	if len(body.Rows) == rowsPage {
		body.More = to("/entities", "tenant", body.Tenant, "table", t.Name, "find", body.Find, "after", body.Rows[rowsPage-1].Key)
	}
	return rows.Err()
}

func scan(rows *sql.Rows, n int) ([]sql.NullString, error) {
	values, into := make([]sql.NullString, n), make([]any, n)
	for i := range values {
		into[i] = &values[i]
	}
	return values, rows.Scan(into...)
}

func (t *table) isPersonal(column string) bool { return t.Person && personal.Is(column) }

func cell(t *table, column string, value sql.NullString, revealed bool) string {
	switch {
	case !value.Valid:
		return ""
	case t.isPersonal(column) && !revealed:
		return personal.Text(value.String)
	case strings.HasPrefix(column, "is_") && value.String == "1":
		return "yes"
	case strings.HasPrefix(column, "is_") && value.String == "0":
		return "no"
	}
	return short(120, value.String)
}

type entityView struct {
	Tenant, Key string
	Table       *table
	Fields      [][2]string
	Revealed    bool
	Personal    bool
	History     []entryRow
	Looked      int
	Whole       bool     // all entries that there are were looked at
	Apps        []string // that a role was told to; it has a row for each
}

// entity shows one row of the copy and the events that tell of it.
func (d *Dashboard) entity(r *http.Request) (*view, error) {
	t := tableOf(r.FormValue("table"))
	body := &entityView{Tenant: r.FormValue("tenant"), Key: r.FormValue("key"), Table: t, Revealed: r.Method == http.MethodPost}
	if d.cfg.Copy == nil || t == nil || body.Tenant == "" || body.Key == "" {
		return nil, badRequest("Name a tenant, a table and a key.")
	}
	v := &view{Title: body.Key, Section: "entities", Body: body}
	id, err := d.row(r.Context(), body)
	if err != nil {
		return nil, err
	}
	if body.Revealed {
		d.audit(r, "revealed a row of the copy", "tenant", body.Tenant, "table", t.Name, "key", body.Key)
	}
	if err := d.history(r.Context(), body, id); err != nil {
		v.Problems = append(v.Problems, problem("The history", err))
	}
	return v, nil
}

// row reads the row and returns the id that events give the entity.
func (d *Dashboard) row(ctx context.Context, body *entityView) (id string, err error) {
	t := body.Table
	rows, err := d.cfg.Copy.QueryContext(ctx, "SELECT * FROM "+t.Name+" WHERE tenant_id = $1 AND "+t.Key+" = $2 LIMIT 20", body.Tenant, body.Key)
	if err != nil {
		return "", fmt.Errorf("the copy could not be read: %w", err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return "", err
	}
	for first := true; rows.Next(); {
		values, err := scan(rows, len(columns))
		if err != nil {
			return "", err
		}
		for i, column := range columns {
			switch {
			case column == "versions":
				continue
			case column == t.EventKey:
				id = values[i].String
			case column == "app" && values[i].String != "":
				body.Apps = append(body.Apps, values[i].String)
			}
			if first {
				body.Fields = append(body.Fields, [2]string{column, cell(t, column, values[i], body.Revealed)})
				body.Personal = body.Personal || t.isPersonal(column)
			}
		}
		first = false
	}
	if err := rows.Err(); err != nil {
		return "", err
	}
	if len(body.Fields) == 0 {
		return "", notFound("The copy has no such row.")
	}
	return id, nil
}

// history finds the newest events of the entity in the streams that tell of
// it, within bounds.
func (d *Dashboard) history(ctx context.Context, body *entityView, id string) error {
	streams := streamsOf(body.Table, body.Apps)
	each := max(historyLooked/max(len(streams), 1), historyPerRead)
	body.Whole = true
	begin := time.Now()
	for _, stream := range streams {
		before := ""
		for looked := 0; ; {
			items, err := d.cfg.Inspector.Page(ctx, inspect.PageConfig{Stream: stream, Before: before, Limit: historyPerRead})
			if err != nil {
				return err
			}
			for _, item := range items {
				e := item.Envelope
				before = e.ID
				if e.Tenant == body.Tenant && (e.Entity.ID == id || e.Entity.ID == body.Key) {
					body.History = append(body.History, rowOf(item))
				}
			}
			looked += len(items)
			body.Looked += len(items)
			if len(items) < historyPerRead {
				break
			}
			if looked >= each || time.Since(begin) > searchTime { // each stream is looked at, if only a little
				body.Whole = false
				break
			}
		}
	}
	slices.SortStableFunc(body.History, func(a, b entryRow) int { return b.Time.Compare(a.Time) })
	body.History = body.History[:min(len(body.History), historyEvents)]
	return nil
}

// streamsOf are the catalogue's streams with events about a table's rows, with
// those of the applications that a role was told to.
func streamsOf(t *table, apps []string) (streams []string) {
	add := func(stream string) {
		if !slices.Contains(streams, stream) {
			streams = append(streams, stream)
		}
	}
	for _, typ := range events.Catalogue() {
		switch {
		case typ.Entity != t.Entity:
		case !strings.Contains(typ.Stream, "{app}"):
			add(typ.Stream)
		default:
			for _, app := range apps {
				add(strings.ReplaceAll(typ.Stream, "{app}", app))
			}
		}
	}
	return streams
}
