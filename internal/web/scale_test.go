//go:build scale

package web_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/fake"
	"github.com/freshet/freshet/internal/redistest"
)

// What the dashboard has to be quick with, and how quick.
const (
	scaleEntries = 1_000_000
	scalePending = 100_000
	scaleDead    = 2_000
	scaleUsers   = 100_000
	scaleLoads   = 20
	scaleMedian  = 100 * time.Millisecond
	scaleSearch  = 2 * time.Second // through thousands of entries of every stream
)

var scaleTypes = []string{"user_created", "user_deactivated", "user_deleted", "role_created", "role_assigned", "org_created", "credit_allocated", "credit_consumed"}

// TestPagesWithAMillionEntries loads every page of a large bus, and says which
// commands keep the server busy meanwhile.
func TestPagesWithAMillionEntries(t *testing.T) {
	s := open(t, nil, "--slowlog-log-slower-than", "1000", "--slowlog-max-len", "4096")
	pages := s.fill(t)
	fmt.Printf("%-44s %9s %9s  %s\n", "page", "p50", "max", "slowest command of the server, above 1 ms")
	for _, page := range pages {
		s.measure(t, page, scaleMedian)
	}
	s.measure(t, scalePage{"find what is not there", address("/find", "q", "evt-nowhere")}, scaleSearch)
	s.redis.Do("SLOWLOG", "RESET")
	begin := time.Now()
	if _, err := s.config.Inspector.Diagnose(t.Context(), inspect.DiagnoseConfig{}); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%-44s %9s %9s  %s\n", "a look at all of it, every five seconds", millis(time.Since(begin)), "", s.slowest(t))
}

// measure loads a page and fails when that takes too long at the median.
func (s *site) measure(t *testing.T, page scalePage, limit time.Duration) {
	t.Helper()
	lacks(t, s.get(t, http.StatusOK, page.path), "could not be read") // and warms
	s.redis.Do("SLOWLOG", "RESET")
	took := make([]time.Duration, scaleLoads)
	for n := range took {
		begin := time.Now()
		s.get(t, http.StatusOK, page.path)
		took[n] = time.Since(begin)
	}
	slices.Sort(took)
	median := took[len(took)/2]
	fmt.Printf("%-44s %9s %9s  %s\n", page.name, millis(median), millis(took[len(took)-1]), s.slowest(t))
	if median > limit {
		t.Errorf("%s: %s at the median, want at most %s", page.name, millis(median), millis(limit))
	}
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

type scalePage struct{ name, path string }

// fill makes the bus and the copy large, and returns all pages of them.
func (s *site) fill(t *testing.T) []scalePage {
	t.Helper()
	streams := s.fillStreams(t)
	conn := s.dial(t)
	for _, stream := range streams {
		for _, name := range []string{group, "billing-sync"} {
			conn.Do("XGROUP", "CREATE", stream, name, "0")
		}
	}
	for n := range scalePending / 1000 {
		reply := conn.Do("XREADGROUP", "GROUP", group, fmt.Sprintf("c-%d", n%4), "COUNT", "1000", "STREAMS", users, ">")
		if _, ok := reply.([]any); !ok {
			t.Fatalf("XREADGROUP: %v", reply)
		}
	}
	entries := conn.Do("XRANGE", users, "-", "+", "COUNT", strconv.Itoa(scalePending)).([]any)
	middle := idOf(entries[len(entries)/2])
	letter := ""
	for n := range scaleDead {
		reason, problem := "max_attempts", fmt.Sprintf("save user %d: dial tcp 10.0.0.4:5432: connect: connection refused", n)
		switch n % 4 {
		case 1:
			reason, problem = "permanent", "data.email: must be text"
		case 2:
			problem = fmt.Sprintf("POST https://crm.internal/users/%d: 503 Service Unavailable", n)
		}
		letter = s.bury(t, idOf(entries[n]), reason, problem, userFields(fmt.Sprint(n), "ada@example.com")...)
	}
	s.fillCopy(t)

	return []scalePage{
		{"overview", "/"},
		{"find an entry", address("/find", "q", middle, "list", "1")},
		{"streams", "/streams"},
		{"stream", address("/stream", "key", users)},
		{"stream, older", address("/stream", "key", users, "before", middle)},
		{"stream, at a time", address("/stream", "key", users, "at", time.Now().UTC().Format("2006-01-02T15:04"))},
		{"stream, of a tenant", address("/stream", "key", users, "tenant", "acme")},
		{"stream, of a tenant that is not there", address("/stream", "key", users, "tenant", "nobody")},
		{"stream, of a type that is not there", address("/stream", "key", users, "type", "user_deleted")},
		{"event, pending", address("/event", "stream", users, "id", middle)},
		{"event, unread", address("/event", "stream", streams[2], "id", idOf(conn.Do("XREVRANGE", streams[2], "+", "-", "COUNT", "1").([]any)[0]))},
		{"event, settled", address("/event", "stream", users, "id", settleOne(conn, entries[len(entries)-1]))},
		{"groups", "/groups"},
		{"group", address("/group", "name", group)},
		{"group on a stream", address("/group", "name", group, "stream", users)},
		{"group on a stream, pending further on", address("/group", "name", group, "stream", users, "after", middle)},
		{"group on a stream, pending of a consumer", address("/group", "name", group, "stream", users, "consumer", "c-3")},
		{"dead letters", "/deadletters"},
		{"dead letters that failed alike", address("/deadletters/cluster", "stream", users, "group", group, "cluster", s.clusters(t)["save"])},
		{"dead letters, of a cluster that is gone", address("/deadletters/cluster", "stream", users, "group", group, "cluster", "none")},
		{"dead letter", address("/deadletter", "stream", users, "group", group, "id", letter)},
		{"entities", "/entities"},
		{"entities, users", address("/entities", "tenant", "acme", "table", "users")},
		{"entities, users found", address("/entities", "tenant", "acme", "table", "users", "find", "u-05")},
		{"entities, assignments", address("/entities", "tenant", "acme", "table", "role_assignments")},
		{"entities, credit entries", address("/entities", "tenant", "acme", "table", "credit_entries")},
		{"entity", address("/entity", "tenant", "acme", "table", "users", "key", "u-050000")},
		{"doctor", "/doctor"},
		{"jobs", "/jobs"},
		{"login", "/login"},
	}
}

// copies adds entries that are like one, but for the entity's id.
const copies = `
for n = 1, tonumber(ARGV[1]) do
	local id, fields = string.format('u-%06d', (n + ARGV[2]) % 100000), {}
	for i = 4, #ARGV do fields[i-3] = string.gsub(ARGV[i], ARGV[3], id) end
	redis.call('XADD', KEYS[1], '*', unpack(fields))
end`

// fillStreams fills a stream for each of the types, and returns them; users is
// the first.
func (s *site) fillStreams(t *testing.T) (streams []string) {
	t.Helper()
	bus, err := freshet.Open(t.Context(), freshet.Config{URL: s.redis.URL(), App: "wrapper-api"})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	suite, conn := fake.New(1, []string{"acme"}), s.dial(t)
	const once, each = 5000, scaleEntries / 8
	for _, name := range scaleTypes {
		payloads, err := suite.One(name, "acme")
		if err != nil {
			t.Fatal(err)
		}
		receipt, err := bus.Publish(t.Context(), "acme", payloads[len(payloads)-1])
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, receipt.Stream)
		first := conn.Do("XRANGE", receipt.Stream, "-", "+", "COUNT", "1").([]any)[0].([]any)[1].([]any)
		var fields []string
		marker := ""
		for n, field := range first {
			fields = append(fields, field.(string))
			if n > 0 && first[n-1] == "entityId" {
				marker = field.(string)
			}
		}
		if marker == "" {
			marker = "no entity"
		}
		for n := 0; n < each; n += once {
			args := append([]string{"EVAL", copies, "1", receipt.Stream, strconv.Itoa(once), strconv.Itoa(n + rand.IntN(once)), strings.ReplaceAll(marker, "-", "%-")}, fields...)
			if err, failed := conn.Do(args...).(redistest.Error); failed {
				t.Fatal(err)
			}
		}
	}
	return streams
}

// fillCopy gives each of five tenants a share of the users, and as much of
// what belongs to them.
func (s *site) fillCopy(t *testing.T) {
	t.Helper()
	for _, into := range []string{
		`users (tenant_id, user_id, email, first_name, is_active, updated_from, versions) SELECT t, printf('u-%06d', n), 'ada@example.com', 'Ada', 1, 'm @ 2025', ''`,
		`roles (tenant_id, role_id, app, name, updated_from, versions) SELECT t, printf('r-%06d', n), '', 'Editor', 'm @ 2025', ''`,
		`role_assignments (tenant_id, assignment_id, user_id, role_id, updated_from, versions) SELECT t, printf('a-%06d', n), printf('u-%06d', n), 'r-1', 'm @ 2025', ''`,
		`credit_facts (tenant_id, kind, entry_id, entity_id, amount, occurred_at, updated_from, on_ledger, on_sync, has_id, counts)
			SELECT t, 'consumed', printf('e-%06d', n), t, '5', '2025', 'm @ 2025', 1, 0, 1, 1`,
	} {
		_, err := s.store.DB().ExecContext(t.Context(), `
WITH RECURSIVE i(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM i WHERE n < $1 - 1),
	rows(n, t) AS (SELECT n, CASE WHEN n % 2 = 0 THEN 'acme' ELSE 'tenant-' || (n % 9) END FROM i)
INSERT INTO `+into+` FROM rows`, scaleUsers)
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (s *site) dial(t *testing.T) *redistest.Conn {
	t.Helper()
	conn, err := redistest.Dial(s.redis.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func idOf(entry any) string { return entry.([]any)[0].(string) }

func settleOne(conn *redistest.Conn, entry any) string {
	conn.Do("XACK", users, group, idOf(entry))
	return idOf(entry)
}

// slowest is the command that has kept the server busy for longest since the
// log was emptied, and how many there were; "" when none took a millisecond.
func (s *site) slowest(t *testing.T) string {
	t.Helper()
	entries, ok := s.redis.Do("SLOWLOG", "GET", "-1").([]any)
	if !ok {
		t.Fatal("no slow log")
	}
	var most int64
	text := ""
	for _, entry := range entries {
		fields := entry.([]any)
		if took := fields[2].(int64); took > most && fields[3].([]any)[0] != "SLOWLOG" {
			var words []string
			for _, word := range fields[3].([]any) {
				words = append(words, fmt.Sprintf("%.24q", word))
			}
			most, text = took, strings.Join(words[:min(len(words), 5)], " ")
		}
	}
	if text == "" {
		return ""
	}
	return fmt.Sprintf("%.1f ms (%d logged) %s", float64(most)/1000, len(entries), text)
}
