package faults

import (
	"bytes"
	"encoding/json"
	"os"
	"sync"
	"time"

	"github.com/freshet/freshet"
)

// record is one line of a journal.
type record struct {
	Effect   bool // the handler's work is done; otherwise: it begins
	Identity string
	Stream   string
	Entry    string
	Entity   string
	Attempt  int
	Consumer string
	At       time.Time
}

// journal is what handlers did, in the order in which they did it: of
// consumers in this process, or in the file to which workers append.
type journal struct {
	path string // "": in memory

	mu      sync.Mutex
	records []record
}

// add notes that a handler begins with d, or that it has done its work. A
// line is appended to the file by one write: it is there or not, whatever
// becomes of the process, and lines of several processes do not mix.
func (j *journal) add(d *freshet.Delivery, effect bool) error {
	r := record{
		Effect:   effect,
		Identity: d.Identity,
		Stream:   d.Stream,
		Entry:    d.ID,
		Entity:   d.Tenant + "/" + d.Entity.ID,
		Attempt:  d.Attempt,
		Consumer: d.Consumer,
		At:       time.Now(),
	}
	if j.path == "" {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.records = append(j.records, r)
		return nil
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(j.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.Write(append(line, '\n'))
	return err
}

// all returns the records so far.
func (j *journal) all() []record {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.path == "" {
		return j.records[:len(j.records):len(j.records)]
	}
	text, err := os.ReadFile(j.path)
	if err != nil {
		return nil // no worker has written yet
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	var records []record
	for line := range bytes.Lines(text) {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			panic(err)
		}
		records = append(records, r)
	}
	return records
}

// starts and effects return the records of one kind.
func (j *journal) starts() []record  { return j.kind(false) }
func (j *journal) effects() []record { return j.kind(true) }

func (j *journal) kind(effect bool) (some []record) {
	for _, r := range j.all() {
		if r.Effect == effect {
			some = append(some, r)
		}
	}
	return some
}

// since returns the effects after a moment.
func (j *journal) since(moment time.Time) (some []record) {
	for _, r := range j.effects() {
		if r.At.After(moment) {
			some = append(some, r)
		}
	}
	return some
}

// count returns how many effects each identity had.
func (j *journal) count() map[string]int {
	n := map[string]int{}
	for _, r := range j.effects() {
		n[r.Identity]++
	}
	return n
}
