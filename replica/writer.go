package replica

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
)

// relation is a table as far as statements need to know it.
type relation struct {
	name    string
	key     []string // primary key; tenant_id first
	columns []string // the others
	cached  bool     // rows are written again and again, by upsert and remove alone
}

// chunks are the numbers of rows that one statement carries. Few sizes, so
// that each is prepared once; no larger, because preparing and binding large
// ones costs more than it saves.
var chunks = []int{32, 8, 1}

// writer runs statements on one connection, in one transaction at a time. It
// speaks to the driver: what database/sql does for each value and row would
// cost as much as the database itself.
type writer struct {
	conn       *sql.Conn
	driver     driver.Conn // of conn, within use
	dialect    dialect
	statements map[statement]*prepared
	texts      map[string]*prepared
	args       []driver.NamedValue // of one call; kept for the next
	cache      cache
}

// prepared is a statement of a driver that takes contexts, as those of
// database/sql's age do.
type prepared struct {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// statement names a prepared statement of a relation.
type statement struct {
	relation *relation
	kind     byte // 's'elect, 'u'psert, 'd'elete
	rows     int
}

func newWriter(conn *sql.Conn, d dialect) *writer {
	return &writer{conn: conn, dialect: d, statements: map[statement]*prepared{}, texts: map[string]*prepared{}}
}

// use runs f, within which the other methods work.
func (w *writer) use(f func() error) error {
	return w.conn.Raw(func(c any) error {
		w.driver = c.(driver.Conn)
		return f()
	})
}

// discard closes the connection.
func (w *writer) discard() {
	_ = w.use(func() error {
		for _, s := range w.statements {
			s.Close()
		}
		for _, s := range w.texts {
			s.Close()
		}
		return driver.ErrBadConn // closes it
	})
}

// begin begins a transaction that writes.
func (w *writer) begin() error {
	if err := w.exec(w.dialect.begin); err != nil {
		return err
	}
	s, err := w.text(w.dialect.changes)
	if err != nil {
		return err
	}
	return w.query(s, nil, 1, func(row []any) error {
		w.cache.begin(row[0].(int64))
		return nil
	})
}

// load reads the rows of the keys that exist, key columns first. They must not
// be changed.
func (w *writer) load(rel *relation, keys [][]any, each func(row []any) error) error {
	missing := keys
	if rel.cached {
		missing = nil
		for _, key := range keys {
			row := w.cache.get(rel, key)
			if row == nil {
				missing = append(missing, key)
			} else if err := each(row); err != nil {
				return err
			}
		}
	}
	return inChunks(missing, func(chunk [][]any) error {
		s, err := w.of(statement{rel, 's', len(chunk)})
		if err != nil {
			return err
		}
		return w.query(s, w.flatten(chunk), len(rel.key)+len(rel.columns), each)
	})
}

// upsert writes rows, key columns first. No key stands twice. The rows must
// not be changed afterwards.
func (w *writer) upsert(rel *relation, rows [][]any) error {
	if err := w.write(rel, 'u', rows); err != nil || !rel.cached {
		return err
	}
	for _, row := range rows {
		w.cache.put(rel, row)
	}
	return nil
}

// remove deletes the rows of the keys.
func (w *writer) remove(rel *relation, keys [][]any) error {
	if err := w.write(rel, 'd', keys); err != nil || !rel.cached {
		return err
	}
	for _, key := range keys {
		w.cache.drop(rel, key)
	}
	return nil
}

func (w *writer) write(rel *relation, kind byte, rows [][]any) error {
	return inChunks(rows, func(chunk [][]any) error {
		s, err := w.of(statement{rel, kind, len(chunk)})
		if err != nil {
			return err
		}
		_, err = s.ExecContext(context.Background(), w.flatten(chunk))
		return err
	})
}

// exec runs a statement that returns nothing.
func (w *writer) exec(text string, args ...any) error {
	s, err := w.text(text)
	if err != nil {
		return err
	}
	_, err = s.ExecContext(context.Background(), w.flatten([][]any{args}))
	return err
}

// one reads at most one row, of as many strings as dest has, and tells whether
// there was one.
func (w *writer) one(text string, args []any, dest ...*string) (found bool, err error) {
	s, err := w.text(text)
	if err != nil {
		return false, err
	}
	err = w.query(s, w.flatten([][]any{args}), len(dest), func(row []any) error {
		found = true
		for i := range dest {
			*dest[i], _ = row[i].(string)
		}
		return nil
	})
	return found, err
}

func (w *writer) query(s *prepared, args []driver.NamedValue, width int, each func(row []any) error) (err error) {
	rows, err := s.QueryContext(context.Background(), args)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, rows.Close()) }()
	if len(rows.Columns()) != width {
		return fmt.Errorf("%d columns, want %d", len(rows.Columns()), width)
	}
	dest := make([]driver.Value, width)
	row := make([]any, width)
	for {
		switch err := rows.Next(dest); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		for i, v := range dest {
			row[i] = v
		}
		if err := each(row); err != nil {
			return err
		}
	}
}

func (w *writer) text(text string) (*prepared, error) {
	if s := w.texts[text]; s != nil {
		return s, nil
	}
	s, err := w.prepare(text)
	if err == nil {
		w.texts[text] = s
	}
	return s, err
}

func (w *writer) of(k statement) (*prepared, error) {
	if s := w.statements[k]; s != nil {
		return s, nil
	}
	s, err := w.prepare(k.sql(w.dialect))
	if err == nil {
		w.statements[k] = s
	}
	return s, err
}

func (w *writer) prepare(text string) (*prepared, error) {
	s, err := w.driver.Prepare(text)
	if err != nil {
		return nil, err
	}
	return &prepared{s, s.(driver.StmtExecContext), s.(driver.StmtQueryContext)}, nil
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

// flatten returns the values of the rows as arguments, valid until the next
// call.
func (w *writer) flatten(rows [][]any) []driver.NamedValue {
	w.args = w.args[:0]
	for _, r := range rows {
		for _, v := range r {
			w.args = append(w.args, driver.NamedValue{Ordinal: len(w.args) + 1, Value: v})
		}
	}
	return w.args
}
