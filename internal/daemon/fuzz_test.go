package daemon_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/daemon"
)

// canary stands for a secret that somebody wrote into a file.
const canary = "c4n4ry"

// mayQuote are the problems that name a key, or a variable of the environment,
// as it stands in the file. A secret in such a place is a name.
var mayQuote = []string{": unknown key", ": stands twice", ": the environment has no "}

// FuzzReadFile takes the text of a file in two halves, between which a secret
// stands.
func FuzzReadFile(f *testing.F) {
	for _, text := range []string{
		"redis: redis://app:\x00@localhost:6379\nreplica: sqlite://copy.db\n",
		"redis: rediss://app:${PASSWORD}@localhost:6379/?x=\x00\nconsumer:\n  group: g\n  streams: [\"*:sync:*\"]\n  lease: 30s\n",
		"redis: \"redis://app:\x00\n",
		"redis: {url: \x00}\n",
		"redis: [\x00]\n",
		"redis: redis://app: \x00: x\n",
		"redis: !!binary \x00\n",
		"redis: 'a'\x00'b'\n",
		"redis:\n\t\x00\n",
		"redis: redis://${\x00}@localhost\n",
		"redis: |\n  \x00\nredis: again\n",
		"redis redis://app:\x00@localhost\n",
		"tls:\n  cert: \x00\n  certt: 5\n",
		"consumer:\n  max_attempts: \x00\n  lease: 99999999999999999999s\n  exclusive: maybe\n",
		"a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c]\nredis: *d\n\x00",
		"<<: {redis: \x00}\n",
		"---\nredis: \x00\n---\nredis: x\n",
		"? redis\n: \x00\n",
		strings.Repeat("[", 200) + "\x00",
		strings.Repeat("- ", 200) + "\x00",
		strings.Repeat("{a: ", 40) + "\x00" + strings.Repeat("}", 40),
		"\ufeffredis: \x00\r\n# \xff\n",
	} {
		before, after, _ := strings.Cut(text, "\x00")
		f.Add(before, after)
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		path := filepath.Join(t.TempDir(), "freshet.yaml")
		if err := os.WriteFile(path, []byte(before+canary+after), 0o600); err != nil {
			t.Fatal(err)
		}
		var cfg daemon.Config
		start := time.Now()
		err := cfg.ReadFile(path, func(string) bool { return false })
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("reading %d bytes took %v", len(before)+len(after), took)
		}
		if err == nil {
			_ = cfg.Validate() // what it refuses it may name: only Redis has secrets
			return
		}
		for line := range strings.Lines(err.Error()) {
			if strings.Contains(line, canary) && !names(line) {
				t.Errorf("the error has the secret: %s", line)
			}
		}
	})
}

func names(problem string) bool {
	for _, what := range mayQuote {
		if strings.Contains(problem, what) {
			return true
		}
	}
	return false
}
