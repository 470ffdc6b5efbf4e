package replica

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// table is a state table: its columns converge one by one.
type table struct {
	relation
	fields []string // columns that events set, in the order of the bits of versions
	index  map[string]int
}

func newTable(name, key, fields string) *table {
	t := &table{fields: strings.Fields(fields), index: map[string]int{}}
	for i, c := range t.fields {
		t.index[c] = i
	}
	t.relation = relation{name, strings.Fields(key), append(strings.Fields(fields), "updated_from", "versions"), true}
	return t
}

// patch is what one event says of one row. Values are nil, int64 or string.
type patch struct {
	table   *table
	key     []any
	version version
	values  []any
	said    columnSet
}

// columnSet has bit 0 for the first column of a table that is not key.
type columnSet uint64

// row begins to say something of the row with the key, within the tenant.
func (r *record) row(t *table, key ...string) {
	r.patch = patch{
		table:   t,
		key:     make([]any, 1, 1+len(key)),
		version: versionOf(r.env),
		values:  make([]any, len(t.fields)),
	}
	r.patch.key[0] = r.env.Tenant
	for _, k := range key {
		r.patch.key = append(r.patch.key, k)
	}
}

func (r *record) set(column string, value any) {
	i, ok := r.patch.table.index[column]
	if !ok {
		panic("replica: " + r.patch.table.name + " has no column " + column)
	}
	r.patch.values[i] = value
	r.patch.said |= 1 << i
}

func (r *record) clear(columns ...string) {
	for _, c := range columns {
		r.set(c, nil)
	}
}

// row is a row of a state table in memory.
type row struct {
	key      []any
	values   []any
	versions []version // zero: no event said it
	newest   version
	changed  bool
}

// merge takes from p what is newer than the row has. Of two values of one
// version, which only a publisher that uses an identity twice makes, the
// greater one stays.
func (r *row) merge(p *patch) {
	if p.version.compare(r.newest) > 0 || r.newest.isZero() {
		r.newest, r.changed = p.version, true
	}
	for i := range r.versions {
		if p.said&(1<<i) == 0 {
			continue
		}
		if !r.versions[i].isZero() {
			c := p.version.compare(r.versions[i])
			if c == 0 {
				c = compareValues(p.values[i], r.values[i])
			}
			if c <= 0 {
				continue
			}
		}
		r.values[i], r.versions[i], r.changed = p.values[i], p.version, true
	}
}

// compareValues orders null, numbers, text.
func compareValues(a, b any) int {
	switch a := a.(type) {
	case int64:
		if b, ok := b.(int64); ok {
			return cmp.Compare(a, b)
		}
	case string:
		if b, ok := b.(string); ok {
			return cmp.Compare(a, b)
		}
	}
	return cmp.Compare(rank(a), rank(b))
}

func rank(v any) int {
	switch v.(type) {
	case nil:
		return 0
	case int64:
		return 1
	}
	return 2
}

// stateBatch is a batch of patches, by table.
type stateBatch map[*table][]patch

func (b stateBatch) write(w *writer) error {
	for t, patches := range b {
		if err := t.write(w, patches); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return nil
}

// write merges patches into their rows: loads those there are, merges in
// memory, writes what changed.
func (t *table) write(w *writer, patches []patch) error {
	var rows []*row
	var keys [][]any
	var text []byte // of a key
	of := make([]*row, len(patches))
	byKey := make(map[string]*row, len(patches))
	for i, p := range patches {
		text = appendKey(text[:0], p.key)
		r := byKey[string(text)]
		if r == nil {
			r = &row{
				key:      p.key,
				values:   make([]any, len(t.fields)),
				versions: make([]version, len(t.fields)),
			}
			byKey[string(text)] = r
			rows = append(rows, r)
			keys = append(keys, p.key)
		}
		of[i] = r
	}
	if err := w.load(&t.relation, keys, func(stored []any) error {
		text = appendKey(text[:0], stored[:len(t.key)])
		return t.restore(byKey[string(text)], stored[len(t.key):])
	}); err != nil {
		return err
	}
	for i := range patches {
		of[i].merge(&patches[i])
	}
	var changed [][]any
	for _, r := range rows {
		if r.changed {
			changed = append(changed, t.stored(r))
		}
	}
	return w.upsert(&t.relation, changed)
}

// restore sets r from the columns behind the key.
func (t *table) restore(r *row, stored []any) (err error) {
	copy(r.values, stored)
	from, _ := stored[len(t.fields)].(string)
	versions, _ := stored[len(t.fields)+1].(string)
	if r.newest, err = parseVersion(from); err != nil {
		return err
	}
	return decodeVersions(versions, r.newest, r.versions)
}

func (t *table) stored(r *row) []any {
	s := make([]any, 0, len(t.key)+len(t.fields)+2)
	s = append(s, r.key...)
	s = append(s, r.values...)
	return append(s, r.newest.String(), encodeVersions(r.versions, r.newest))
}

// appendKey appends a primary key in a form that no other key has.
func appendKey(b []byte, key []any) []byte {
	for _, k := range key {
		b = strconv.AppendInt(b, int64(len(k.(string))), 10)
		b = append(b, ':')
		b = append(b, k.(string)...)
	}
	return b
}
