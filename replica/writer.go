package replica

import (
	"context"
	"database/sql"
	"strings"
)

// relation is a table as far as statements need to know it.
type relation struct {
	name    string
	key     []string // primary key; tenant_id first
	columns []string // the others
}

// chunks are the numbers of rows that one statement carries. Few sizes, so
// that each is prepared once; no larger, because preparing and binding large
// ones costs more than it saves.
var chunks = []int{32, 8, 1}

// writer runs statements on one connection, in one transaction at a time.
type writer struct {
	conn       *sql.Conn
	dialect    dialect
	statements map[statement]*sql.Stmt
	texts      map[string]*sql.Stmt
}

// statement names a prepared statement of a relation.
type statement struct {
	relation *relation
	kind     byte // 's'elect, 'u'psert, 'd'elete
	rows     int
}

func newWriter(conn *sql.Conn, d dialect) *writer {
	return &writer{conn: conn, dialect: d, statements: map[statement]*sql.Stmt{}, texts: map[string]*sql.Stmt{}}
}

func (w *writer) closeStatements() {
	for _, s := range w.statements {
		s.Close()
	}
	for _, s := range w.texts {
		s.Close()
	}
}

// load reads the rows of the keys that exist, key columns first. row is valid
// until each returns.
func (w *writer) load(rel *relation, keys [][]any, each func(row []any)) error {
	row := make([]any, len(rel.key)+len(rel.columns))
	dest := make([]any, len(row))
	for i := range row {
		dest[i] = &row[i]
	}
	return inChunks(keys, func(chunk [][]any) error {
		s, err := w.prepared(statement{rel, 's', len(chunk)})
		if err != nil {
			return err
		}
		return queryEach(s, flatten(chunk), dest, func() { each(row) })
	})
}

// upsert writes rows, key columns first. No key stands twice.
func (w *writer) upsert(rel *relation, rows [][]any) error { return w.write(rel, 'u', rows) }

// remove deletes the rows of the keys.
func (w *writer) remove(rel *relation, keys [][]any) error { return w.write(rel, 'd', keys) }

func (w *writer) write(rel *relation, kind byte, rows [][]any) error {
	return inChunks(rows, func(chunk [][]any) error {
		s, err := w.prepared(statement{rel, kind, len(chunk)})
		if err != nil {
			return err
		}
		_, err = s.ExecContext(context.Background(), flatten(chunk)...)
		return err
	})
}

// exec runs a statement that returns nothing.
func (w *writer) exec(text string, args ...any) error {
	s, err := w.text(text)
	if err != nil {
		return err
	}
	_, err = s.ExecContext(context.Background(), args...)
	return err
}

// one reads at most one row into dest and tells whether there was one.
func (w *writer) one(text string, args []any, dest ...any) (found bool, err error) {
	s, err := w.text(text)
	if err != nil {
		return false, err
	}
	err = queryEach(s, args, dest, func() { found = true })
	return found, err
}

func queryEach(s *sql.Stmt, args, dest []any, each func()) error {
	rows, err := s.QueryContext(context.Background(), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		each()
	}
	return rows.Err()
}

func (w *writer) text(text string) (*sql.Stmt, error) {
	if s := w.texts[text]; s != nil {
		return s, nil
	}
	s, err := w.conn.PrepareContext(context.Background(), text)
	if err == nil {
		w.texts[text] = s
	}
	return s, err
}

func (w *writer) prepared(k statement) (*sql.Stmt, error) {
	if s := w.statements[k]; s != nil {
		return s, nil
	}
	s, err := w.conn.PrepareContext(context.Background(), k.sql(w.dialect))
	if err == nil {
		w.statements[k] = s
	}
	return s, err
}

func (k statement) sql(d dialect) string {
	rel := k.relation
	key := strings.Join(rel.key, ", ")
	all := strings.Join(append(rel.key[:len(rel.key):len(rel.key)], rel.columns...), ", ")
	switch k.kind {
	case 's':
		return "SELECT " + all + " FROM " + rel.name + " WHERE (" + key + ") IN (VALUES " + tuples(d, k.rows, len(rel.key)) + ")"
	case 'd':
		return "DELETE FROM " + rel.name + " WHERE (" + key + ") IN (VALUES " + tuples(d, k.rows, len(rel.key)) + ")"
	}
	var set []string
	for _, c := range rel.columns {
		set = append(set, c+" = excluded."+c)
	}
	return "INSERT INTO " + rel.name + " (" + all + ") VALUES " + tuples(d, k.rows, len(rel.key)+len(rel.columns)) +
		" ON CONFLICT (" + key + ") DO UPDATE SET " + strings.Join(set, ", ")
}

// tuples returns "($1, $2), ($3, $4)" for two rows of width two.
func tuples(d dialect, rows, width int) string {
	var b strings.Builder
	for i := range rows * width {
		switch {
		case i == 0:
			b.WriteString("(")
		case i%width == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		b.WriteString(d.parameter(i + 1))
	}
	b.WriteString(")")
	return b.String()
}

func inChunks(rows [][]any, f func([][]any) error) error {
	for _, size := range chunks {
		for len(rows) >= size {
			if err := f(rows[:size]); err != nil {
				return err
			}
			rows = rows[size:]
		}
	}
	return nil
}

func flatten(rows [][]any) []any {
	flat := make([]any, 0, len(rows)*len(rows[0]))
	for _, r := range rows {
		flat = append(flat, r...)
	}
	return flat
}
