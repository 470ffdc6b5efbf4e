package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/internal/fake"
	"github.com/freshet/freshet/internal/redistest"
)

// TestCopyIsExactAfterCrashes kills the consumer again and again while events
// are published, and compares its copy with that of a consumer that nobody
// disturbed. FRESHET_KILLS and FRESHET_RATE (events a second) make it longer
// and harder: see `make crash`.
func TestCopyIsExactAfterCrashes(t *testing.T) {
	kills, rate := setting(t, "FRESHET_KILLS", 10), setting(t, "FRESHET_RATE", 500)
	server := redistest.Start(t)
	publishing, stopPublishing := context.WithCancel(t.Context())
	defer stopPublishing()
	published := make(chan int, 1)
	go func() { published <- publishSteadily(publishing, t, server, rate) }()

	dir := t.TempDir()
	run := func(group string, more ...string) []string {
		return append([]string{"run", "--redis", server.URL(), "--allow-no-persistence", "--group", group, "--replica", "sqlite://" + filepath.Join(dir, group+".db"),
			"--lease", "2s", "--handler-timeout", "1s"}, more...)
	}
	caught := 0
	for range kills {
		p := start(t, nil, run("crashing")...)
		eventually(t, "the consumer is at work", func() bool { return strings.Contains(p.stderr.String(), `"consuming"`) })
		time.Sleep(100*time.Millisecond + rand.N(400*time.Millisecond)) // the kill's moment is what varies
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = p.cmd.Wait()
		if pending(server, "crashing") > 0 {
			caught++
		}
	}
	stopPublishing()
	total := int64(<-published)
	if caught < kills/2 {
		t.Errorf("%d of %d kills caught the consumer with entries in hand, too few to prove anything", caught, kills)
	}

	drain := func(group string) (s freshet.Stats) {
		t.Helper()
		if err := json.Unmarshal([]byte(freshetCommand(t, run(group, "--drain", "-o", "json")...)), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	last := drain("crashing")
	undisturbed := drain("undisturbed")
	t.Logf("%d events, %d kills, %d of them with entries in hand; the last run handled %+v", total, kills, caught, last)
	if n := undisturbed.Handled + undisturbed.Ignored; n != total {
		t.Errorf("the undisturbed consumer settled %d of %d events", n, total)
	}
	if !allSettled(server, "crashing") {
		t.Error("not everything is settled after the last run")
	}
	if letters := deadLetters(server, "crashing"); len(letters) != 0 {
		t.Errorf("dead letters: %v", letters)
	}
	got, want := dump(t, filepath.Join(dir, "crashing.db")), dump(t, filepath.Join(dir, "undisturbed.db"))
	if got != want {
		t.Errorf("the copies differ: %s", difference(got, want))
	}
}

// publishSteadily publishes until ctx ends and returns how many events were
// acknowledged.
func publishSteadily(ctx context.Context, t *testing.T, server *redistest.Server, rate int) (count int) {
	bus, err := freshet.Open(t.Context(), freshet.Config{URL: server.URL(), PublishTimeout: time.Minute})
	if err != nil {
		t.Error(err)
		return 0
	}
	defer bus.Close()
	suite := fake.New(3, []string{"acme", "globex", "initech"})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); ; {
		select {
		case <-ctx.Done():
			return count
		case <-tick.C:
		}
		batch := make([]freshet.Message, max(0, int(time.Since(begin).Seconds()*float64(rate))-count))
		for i := range batch {
			batch[i] = suite.Next()
		}
		// A batch that has begun is finished, so that its outcome is known.
		for _, r := range bus.PublishBatch(t.Context(), batch) {
			if r.Err != nil {
				t.Error(r.Err)
				return count
			}
			count++
		}
	}
}

func setting(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		t.Fatalf("%s=%s: want a number", name, text)
	}
	return n
}

// difference lists the rows that only one of two dumps has.
func difference(got, want string) string {
	var b strings.Builder
	list := func(title, of, notIn string) {
		rows := strings.Split(notIn, "\n")
		for _, row := range strings.Split(of, "\n") {
			if !slices.Contains(rows, row) {
				b.WriteString("\n" + title + ": " + row)
			}
		}
	}
	list("got", got, want)
	list("want", want, got)
	return b.String()
}
