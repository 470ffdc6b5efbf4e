package replica

// cacheBytes bounds a cache, roughly: some ten thousand users.
const cacheBytes = 16 << 20

// cache has rows as they stand in the database, so that what is written again
// and again need not be read each time. It belongs to one connection, whose
// own writes it follows; those of others are noticed at the start of the next
// transaction, and nobody else writes during one.
type cache struct {
	changes int64 // as dialect.changes had it
	rows    map[*relation]map[string][]any
	bytes   int
	text    []byte // of a key
}

// begin empties the cache when another connection has written.
func (c *cache) begin(changes int64) {
	if c.rows == nil || c.changes != changes {
		c.clear()
		c.changes = changes
	}
}

func (c *cache) clear() {
	c.rows, c.bytes = map[*relation]map[string][]any{}, 0
}

// get returns the row of the key, which must not be changed, or nil.
func (c *cache) get(rel *relation, key []any) []any {
	c.text = appendKey(c.text[:0], key)
	return c.rows[rel][string(c.text)]
}

// put takes a row that is in the database now, key columns first.
func (c *cache) put(rel *relation, row []any) {
	c.text = appendKey(c.text[:0], row[:len(rel.key)])
	size := rowBytes(row)
	if old := c.rows[rel][string(c.text)]; old != nil {
		size -= rowBytes(old)
	}
	if c.bytes+size > cacheBytes {
		c.clear()
		size = rowBytes(row)
	}
	if size > cacheBytes {
		return
	}
	c.bytes += size
	if c.rows[rel] == nil {
		c.rows[rel] = map[string][]any{}
	}
	c.rows[rel][string(c.text)] = row
}

// drop forgets the row of the key, which was deleted.
func (c *cache) drop(rel *relation, key []any) {
	if row := c.get(rel, key); row != nil {
		c.bytes -= rowBytes(row)
		delete(c.rows[rel], string(c.text))
	}
}

func rowBytes(row []any) int {
	const overhead = 64 // of the slice, the map's key and entry
	n := overhead
	for _, v := range row {
		n += 16
		if s, ok := v.(string); ok {
			n += 16 + len(s)
		}
	}
	return n
}
