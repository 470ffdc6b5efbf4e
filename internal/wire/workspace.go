package wire

import (
	"strings"
	"sync"

	"github.com/freshet/freshet/events"
)

// workspace is what decoding or encoding one entry needs besides its result.
// It serves one entry after the other.
//
// The text and the bytes that it gives away are never written again: it cuts
// them from chunks, and begins another chunk when one is full. What is kept of
// an entry holds two chunks at most, and what is long is no part of one. Nor is
// an envelope that it gives away used again.
type workspace struct {
	json    scanner
	added   []member // of data that is read, beyond what the publisher wrote
	data    []member // of data that is written
	own     []member // of metadata that is written
	scratch []byte   // JSON while it is put together
	quote   []byte   // a string of it

	texts     strings.Builder
	bytes     []byte
	envelopes []events.Envelope // unused

	recent *events.Type // of the entry before
	tenant []byte       // the one that was found valid last
}

const chunk = 4 << 10 // bytes

// Together is how many envelopes are allocated at once: who keeps one keeps its
// neighbours, and what these hold. So those of longer entries than Longest, in
// bytes, have no neighbours.
const (
	Together = 16
	Longest  = 2 << 10
)

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

// text returns b as a string.
func (w *workspace) text(b []byte) string {
	if len(b) > chunk/4 {
		return string(b)
	}
	if w.texts.Len()+len(b) > w.texts.Cap() {
		w.texts = strings.Builder{}
		w.texts.Grow(chunk)
	}
	from := w.texts.Len()
	w.texts.Write(b)
	return w.texts.String()[from:]
}

// envelope returns an empty envelope for an entry of so many bytes. What is
// refused may have any size.
func (w *workspace) envelope(size int, refusal *Refusal) *events.Envelope {
	if size > Longest || refusal != nil {
		return new(events.Envelope)
	}
	if len(w.envelopes) == 0 {
		w.envelopes = make([]events.Envelope, Together)
	}
	env := &w.envelopes[0]
	w.envelopes = w.envelopes[1:]
	return env
}

// quoted returns s as a JSON string.
func (w *workspace) quoted(s string) string {
	w.quote = appendQuoted(w.quote[:0], s)
	return w.text(w.quote)
}

// keep returns a copy of s that no other copy shares a byte with.
func keep[T string | []byte](w *workspace, s T) []byte {
	if len(s) > chunk/4 {
		return []byte(s)
	}
	from := len(w.bytes)
	if from+len(s) > cap(w.bytes) {
		w.bytes, from = make([]byte, 0, min(cap(w.bytes)+chunk, 2*chunk)), 0
	}
	w.bytes = append(w.bytes, s...)
	return w.bytes[from:len(w.bytes):len(w.bytes)]
}

// lookup is events.Lookup. Entries of one type come in a row.
func (w *workspace) lookup(stream, wireType string) *events.Type {
	if t := w.recent; t != nil && t.Stream == stream && t.Name == wireType {
		return t
	}
	t := events.Lookup(stream, wireType)
	if t != nil && t.Stream == stream && t.Name == wireType {
		w.recent = t
	}
	return t
}

// checkTenantID is events.ValidTenant. Entries of one tenant come in a row.
func (w *workspace) checkTenantID(tenant string) error {
	if tenant != "" && tenant == string(w.tenant) {
		return nil
	}
	err := events.ValidTenant(tenant)
	if err == nil {
		w.tenant = append(w.tenant[:0], tenant...)
	}
	return err
}

// release lets go of the text that was scanned, and of the memory that an
// unusual one needed.
func (w *workspace) release() {
	const usual = 16 << 10 // bytes
	w.json.release()
	for _, list := range []*[]member{&w.added, &w.data, &w.own} {
		clear(*list)
		*list = (*list)[:0]
	}
	if cap(w.scratch) > usual || cap(w.quote) > usual {
		w.scratch, w.quote = nil, nil
	}
}
