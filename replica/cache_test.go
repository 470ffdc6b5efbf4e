package replica

import (
	"fmt"
	"strings"
	"testing"
)

func TestCacheIsBounded(t *testing.T) {
	var c cache
	c.begin(1)
	row := func(id string, size int) []any { return []any{"t", id, strings.Repeat("x", size)} }
	rel := &relation{"r", []string{"tenant", "id"}, []string{"text"}, true}
	get := func(id string) int {
		found := c.get(rel, []any{"t", id})
		if found == nil {
			return -1
		}
		return len(found[2].(string))
	}
	for i := range 40 {
		id := fmt.Sprint(i)
		c.put(rel, row(id, 1))
		c.put(rel, row(id, 1<<20))
		if get(id) != 1<<20 {
			t.Fatalf("row %d has %d bytes, want the last that was put", i, get(id))
		}
		kept := 0
		for _, row := range c.rows[rel] {
			kept += rowBytes(row)
		}
		if kept != c.bytes || kept > cacheBytes {
			t.Fatalf("%d bytes are kept, %d counted, at most %d allowed", kept, c.bytes, cacheBytes)
		}
	}
	c.put(rel, row("39", cacheBytes))
	if get("39") != -1 {
		t.Error("a row that outgrew the cache is kept as it was")
	}
	c.put(rel, row("a", 1))
	c.drop(rel, []any{"t", "a"})
	if get("a") != -1 || c.bytes != 0 {
		t.Errorf("a deleted row is kept, or its %d bytes", c.bytes)
	}
	c.put(rel, row("b", 1))
	if c.begin(1); get("b") != 1 {
		t.Error("forgotten without cause")
	}
	if c.begin(2); get("b") != -1 {
		t.Error("kept although another connection has written")
	}
}
