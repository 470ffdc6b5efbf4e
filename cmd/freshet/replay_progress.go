package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	"github.com/freshet/freshet/repair"
)

// replayProgress is how far a replay has got, as it is kept in a file.
type replayProgress struct {
	Replay replayed        `json:"replay"`
	At     repair.Position `json:"at"`    // all up to there has been sent
	Sent   int             `json:"sent"`  // events
	Bytes  int64           `json:"bytes"` // of the file that they are written to
	Done   bool            `json:"done"`

	path  string // "": it is not kept
	begun bool   // it was kept before
}

// replayed is which replay it is. Since and Until are as they were given, for
// "15m" means something else later; From and To are what they meant.
type replayed struct {
	Patterns []string `json:"patterns"`
	Group    string   `json:"group"`
	File     string   `json:"file"`
	Since    string   `json:"since"`
	Until    string   `json:"until"`
	From     string   `json:"from_id"`
	To       string   `json:"to_id"`
	Types    []string `json:"types"`
	Tenants  []string `json:"tenants"`
	Entities []string `json:"entities"`
}

// openProgress reads how far the replay has got, and gives it the bounds that
// it had.
func openProgress(r *replaying) (*replayProgress, error) {
	p := &replayProgress{path: r.resume, Replay: replayed{
		Patterns: r.Patterns, Group: r.group, File: r.file, Since: r.since, Until: r.until,
		From: r.Since, To: r.Until, Types: r.Types, Tenants: r.Tenants, Entities: r.Entities,
	}}
	if p.path == "" {
		return p, nil
	}
	text, err := os.ReadFile(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	kept := replayProgress{path: p.path, begun: true}
	if err := json.Unmarshal(text, &kept); err != nil {
		return nil, usageError("%s: not the progress of a replay", p.path)
	}
	now, was := p.Replay, kept.Replay
	now.From, now.To = was.From, was.To
	if !same(now, was) {
		return nil, usageError("%s: the progress of another replay; name another file, or repeat the flags and patterns that it was begun with", p.path)
	}
	r.Since, r.Until = was.From, was.To
	return &kept, nil
}

// same compares replays as they are written: no list is an empty one.
func same(a, b replayed) bool {
	for _, r := range []*replayed{&a, &b} {
		for _, list := range []*[]string{&r.Patterns, &r.Types, &r.Tenants, &r.Entities} {
			if len(*list) == 0 {
				*list = nil
			}
		}
	}
	return reflect.DeepEqual(a, b)
}

// save writes the file anew, whole or not at all.
func (p *replayProgress) save() error {
	if p.path == "" {
		return nil
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(p.path), filepath.Base(p.path)+".*")
	if err != nil {
		return fmt.Errorf("keep how far the replay has got: %w", err)
	}
	_, err = file.Write(append(text, '\n'))
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), p.path)
	}
	if err != nil {
		os.Remove(file.Name())
		return fmt.Errorf("keep how far the replay has got: %w", err)
	}
	return nil
}

// lines writes the lines of a replay, and keeps how far it has got every
// hundred of them.
type lines struct {
	*replayProgress
	file  *os.File // nil: stdout
	out   *bufio.Writer
	at    repair.Position
	fresh int // lines that are not kept yet
}

const linesAtOnce = 100

// output opens the file for a replay that begins, or goes on: what was written
// after the position that was kept is written again.
func (p *replayProgress) output(path string, stdout io.Writer) (*lines, error) {
	if path == "" {
		return &lines{replayProgress: p, out: bufio.NewWriter(stdout)}, nil
	}
	how := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if p.begun {
		how = os.O_WRONLY
	}
	file, err := os.OpenFile(path, how, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, usageError("%s: is there already", path)
	}
	if err != nil {
		return nil, err
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err == nil && size < p.Bytes {
		err = fmt.Errorf("%s: shorter than the replay had got", path)
	}
	if err == nil {
		err = file.Truncate(p.Bytes)
	}
	if err == nil {
		_, err = file.Seek(p.Bytes, io.SeekStart)
	}
	if err == nil {
		err = p.save() // from now on the file is this replay's
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return &lines{replayProgress: p, file: file, out: bufio.NewWriter(file)}, nil
}

func (l *lines) line(text []byte, at repair.Position) error {
	if _, err := l.out.Write(append(text, '\n')); err != nil {
		return err
	}
	l.at = at
	if l.fresh++; l.file != nil && l.fresh < linesAtOnce {
		return nil
	}
	return l.keep()
}

// keep has what was written on disk before the position says so.
func (l *lines) keep() error {
	if err := l.out.Flush(); err != nil || l.fresh == 0 {
		return err
	}
	if l.file != nil {
		if err := l.file.Sync(); err != nil {
			return err
		}
		size, err := l.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		l.Bytes = size
	}
	l.At, l.Sent, l.fresh = l.at, l.Sent+l.fresh, 0
	return l.save()
}

// close ends the output; done tells that nothing is left to write.
func (l *lines) close(done bool) error {
	err := l.keep()
	if err == nil && done {
		l.Done = true
		err = l.save()
	}
	if l.file != nil {
		err = errors.Join(err, l.file.Close())
	}
	return err
}
