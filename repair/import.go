package repair

import (
	"context"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

// Importer brings dead letters in. A dead letter that is there already, by
// stream, group and entry id, is left as it is, also while others import, and
// consumers dead-letter, at the same time. It is not safe for concurrent use.
type Importer struct {
	client *redisstream.Client
	there  map[string]*lettersThere // by key
}

// lettersThere is what is known of the dead letters of one stream and group.
type lettersThere struct {
	entries map[string]bool // ids of the originals
	seen    wire.ID         // of the last letter read
}

// Importer returns an Importer over r.
func (r *Repairer) Importer() *Importer {
	return &Importer{r.client, map[string]*lettersThere{}}
}

// ImportResult counts what became of records.
type ImportResult struct {
	Imported int
	Present  int // were there already
}

// Import stores records that ParseRecord has read, those of a stream and group
// in order. After an error, to import the same again is safe.
func (im *Importer) Import(ctx context.Context, records []Record) (ImportResult, error) {
	var result ImportResult
	for len(records) > 0 {
		n := portion(records)
		imported, err := im.store(ctx, records[:n])
		if err != nil {
			return result, err
		}
		result.Imported += imported
		result.Present += n - imported
		records = records[n:]
	}
	return result, nil
}

// portion returns how many of the records are stored by one command: the
// server does nothing else meanwhile.
func portion(records []Record) (n int) {
	const maxBytes = 4 << 20
	size := 0
	for _, r := range records {
		for _, f := range r.Fields {
			size += len(f.Name) + len(f.Value)
		}
		if n > 0 && (n == batch || size > maxBytes || r.Stream != records[0].Stream || r.Group != records[0].Group) {
			break
		}
		n++
	}
	return n
}

// store stores those of one stream and group that are not there. It begins
// again when others have come meanwhile, for they may be the same.
func (im *Importer) store(ctx context.Context, records []Record) (imported int, err error) {
	stream, group := records[0].Stream, records[0].Group
	key := redisstream.DeadLetterKey(stream, group)
	there := im.there[key]
	if there == nil {
		there = &lettersThere{entries: map[string]bool{}}
		im.there[key] = there
	}
	for {
		if err := im.look(ctx, key, there); err != nil {
			return 0, err
		}
		fresh := map[string]bool{}
		var letters [][]events.Field
		for _, r := range records {
			if !there.entries[r.entryID] && !fresh[r.entryID] {
				fresh[r.entryID] = true
				letters = append(letters, r.Fields)
			}
		}
		if len(letters) == 0 {
			return 0, nil
		}
		last, ok, err := im.client.StoreLetters(ctx, stream, group, there.seen, letters)
		if err != nil {
			return 0, err
		}
		if ok {
			there.seen = last
			for id := range fresh {
				there.entries[id] = true
			}
			return len(letters), nil
		}
	}
}

// look reads the dead letters that have come since the last look.
func (im *Importer) look(ctx context.Context, key string, there *lettersThere) error {
	for {
		page, err := im.client.Range(ctx, key, there.seen, 5*batch)
		if err != nil {
			return err
		}
		for _, e := range page {
			there.seen = e.ID
			_, note, ok := redisstream.SplitLetter(e.Fields.List())
			if id, err := wire.ParseID(note.ID); ok && err == nil {
				there.entries[id.String()] = true
			}
		}
		if len(page) < 5*batch {
			return nil
		}
	}
}
