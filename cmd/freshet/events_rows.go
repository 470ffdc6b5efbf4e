package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/freshet/freshet/internal/personal"
)

// writtenRow is a row of the copy that an event wrote, in part or as a whole.
type writtenRow struct {
	Table string          `json:"table"`
	Row   json.RawMessage `json:"row"`
}

func (r writtenRow) json(masked bool) json.RawMessage {
	if masked {
		return personal.JSON(r.Row)
	}
	return r.Row
}

// Of one table, so many rows are shown at most.
const rowsShown = 20

// rowsOf reads the rows of a copy that say that an event wrote them: the newest
// event of a row stands in updated_from, older ones of single columns in
// versions. It changes nothing, and creates no file.
func rowsOf(ctx context.Context, replica, identity string) (rows []writtenRow, err error) {
	file, ok := strings.CutPrefix(replica, "sqlite://")
	if !ok || file == "" {
		return nil, usageError("--replica: want sqlite://FILE")
	}
	if _, err := os.Stat(file); err != nil {
		return nil, notFoundError("--replica: %w", err)
	}
	db, err := sql.Open("sqlite", readOnly(file))
	if err != nil {
		return nil, fmt.Errorf("open the copy: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tables, err := versioned(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("read the copy: %w", err)
	}
	for _, table := range tables {
		found, err := writtenIn(ctx, db, table, identity)
		if err != nil {
			return nil, fmt.Errorf("read the copy's %s: %w", table.name, err)
		}
		rows = append(rows, found...)
	}
	return rows, nil
}

func readOnly(file string) string {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath()}
	u.RawQuery = "mode=ro&_pragma=busy_timeout(5000)"
	return u.String()
}

// table is one whose rows say who wrote them.
type table struct {
	name     string
	versions bool // they say it for each column
}

func versioned(ctx context.Context, db *sql.DB) (tables []table, err error) {
	names, err := db.QueryContext(ctx, `SELECT m.name, sum(c.name = 'versions') FROM sqlite_master m JOIN pragma_table_info(m.name) c
		WHERE m.type = 'table' AND c.name IN ('updated_from', 'versions')
		GROUP BY m.name HAVING sum(c.name = 'updated_from') > 0 ORDER BY m.name`)
	if err != nil {
		return nil, err
	}
	defer names.Close()
	for names.Next() {
		var t table
		if err := names.Scan(&t.name, &t.versions); err != nil {
			return nil, err
		}
		tables = append(tables, t)
	}
	return tables, names.Err()
}

func writtenIn(ctx context.Context, db *sql.DB, t table, identity string) (rows []writtenRow, err error) {
	newest := identity + " @ "
	query := `SELECT * FROM "` + strings.ReplaceAll(t.name, `"`, `""`) + `" WHERE substr(updated_from, 1, length(?)) = ?`
	args := []any{newest, newest}
	if t.versions {
		quoted, err := json.Marshal(identity)
		if err != nil {
			return nil, err
		}
		query += " OR instr(versions, ?) > 0"
		args = append(args, " "+string(quoted[1:])) // the end of one of its strings
	}
	found, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	columns, err := found.Columns()
	if err != nil {
		return nil, err
	}
	for found.Next() && len(rows) < rowsShown {
		row, err := scanRow(found, columns)
		if err != nil {
			return nil, err
		}
		rows = append(rows, writtenRow{t.name, row})
	}
	return rows, found.Err()
}

// scanRow makes an object of a row, in the order of its columns, without the
// copy's bookkeeping.
func scanRow(found *sql.Rows, columns []string) (json.RawMessage, error) {
	values := make([]any, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	if err := found.Scan(into...); err != nil {
		return nil, err
	}
	var b strings.Builder
	for i, name := range columns {
		if name == "versions" {
			continue
		}
		value := values[i]
		if raw, is := value.([]byte); is {
			value = string(raw)
		}
		pair, err := encodeJSON(map[string]any{name: value})
		if err != nil {
			return nil, err
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.Write(pair[1 : len(pair)-1])
	}
	return json.RawMessage("{" + b.String() + "}"), nil
}
