package faults

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// vitals is what a process needs.
type vitals struct {
	At         time.Time
	Goroutines int
	Memory     int // bytes, resident
}

// recordVitals appends what this process needs to a file, every two seconds,
// until ctx ends. It first gives back what is not used any more.
func recordVitals(ctx context.Context, path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		debug.FreeOSMemory()
		v := vitals{At: time.Now(), Goroutines: runtime.NumGoroutine()}
		if v.Memory, err = residentMemory(); err != nil {
			return err
		}
		line, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if _, err := file.Write(append(line, '\n')); err != nil {
			return err
		}
	}
}

func residentMemory() (bytes int, err error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(string(text), "VmRSS:")
	if !found {
		return 0, errors.New("/proc/self/status: no VmRSS")
	}
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	return kib << 10, err
}

// readVitals returns what recordVitals has written so far.
func readVitals(path string) (all []vitals) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil // nothing yet
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	for {
		var v vitals
		if d.Decode(&v) != nil {
			return all
		}
		all = append(all, v)
	}
}

// What a process that runs for long may need more in the last quarter of its
// time than in the second, when it is warm: by the medians.
const (
	moreGoroutines = 10
	moreMemory     = 16 << 20
)

// flat checks that a process needed no more and more.
func (t *trial) flat(all []vitals) {
	if len(all) < 8 {
		t.check(false, "%d looks at the process are too few", len(all))
		return
	}
	quarter := len(all) / 4
	second, last := all[quarter:2*quarter], all[len(all)-quarter:]
	goroutines := func(v vitals) int { return v.Goroutines }
	memory := func(v vitals) int { return v.Memory }
	g1, g2 := median(second, goroutines), median(last, goroutines)
	m1, m2 := median(second, memory), median(last, memory)
	hours := last[0].At.Sub(second[0].At).Hours()
	t.note("goroutines %d, then %d; memory %.1f MiB, then %.1f MiB: %+.1f MiB an hour", g1, g2, mib(m1), mib(m2), mib(m2-m1)/hours)
	t.check(g2 <= g1+moreGoroutines, "%d goroutines became %d", g1, g2)
	t.check(m2 <= m1+moreMemory, "%.1f MiB of memory became %.1f", mib(m1), mib(m2))
}

func mib(bytes int) float64 { return float64(bytes) / (1 << 20) }

func median(all []vitals, of func(vitals) int) int {
	values := make([]int, len(all))
	for i, v := range all {
		values[i] = of(v)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
