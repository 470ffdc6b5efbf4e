package inspect_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redistest"
)

// busy is a server on which a group has read and settled everything, and a
// consumer of it lives.
func busy(t *testing.T, group string) *redistest.Server {
	t.Helper()
	s := redistest.Start(t, safe...)
	for n := range 5 {
		add(t, s, users, "*", n)
	}
	s.Do("XGROUP", "CREATE", users, group, "0")
	for _, id := range reads(t, s, users, group, "c-1", 10) {
		s.Do("XACK", users, group, id)
	}
	return s
}

// reads reads as a consumer does, and returns the ids.
func reads(t *testing.T, s *redistest.Server, stream, group, consumer string, n int) (ids []string) {
	t.Helper()
	reply := s.Do("XREADGROUP", "GROUP", group, consumer, "COUNT", fmt.Sprint(n), "STREAMS", stream, ">")
	streams, ok := reply.([]any)
	if !ok {
		t.Fatalf("nothing to read: %v", reply)
	}
	for _, e := range streams[0].([]any)[1].([]any) {
		ids = append(ids, e.([]any)[0].(string))
	}
	return ids
}

// claimed gives entries to a consumer as if it had them for some time, after so
// many deliveries.
func claimed(s *redistest.Server, group, consumer string, idle time.Duration, deliveries int, ids ...string) {
	args := append([]string{"XCLAIM", users, group, consumer, "0"}, ids...)
	s.Do(append(args, "IDLE", fmt.Sprint(idle.Milliseconds()), "RETRYCOUNT", fmt.Sprint(deliveries), "JUSTID")...)
}

func TestDoctorFindsNothingOnABusThatIsWell(t *testing.T) {
	s := busy(t, "crm")
	nothing(t, s.URL(), inspect.DiagnoseConfig{Groups: []string{"crm"}})
	d := diagnose(t, s.URL(), inspect.DiagnoseConfig{})
	if v := d.Verdict(); v != "Healthy: 5 events on 1 stream, read by 1 group; all are settled." {
		t.Error(v)
	}
	add(t, s, users, "*", 7)
	reads(t, s, users, "crm", "c-1", 1)
	nothing(t, s.URL(), inspect.DiagnoseConfig{})
}

func TestDoctorNoConsumer(t *testing.T) {
	s := redistest.StartWithClock(t, safe...)
	for n := range 3 {
		add(t, s, users, "*", n)
	}
	add(t, s, deleted, "*", 1)
	for _, stream := range []string{users, deleted} {
		s.Do("XGROUP", "CREATE", stream, "crm-consumers", "0")
		s.Do("XGROUP", "CREATE", stream, "suite-copy", "0")
	}
	s.Do("XGROUP", "CREATECONSUMER", users, "crm-consumers", "c-1")
	s.MoveClock(3*time.Hour + 12*time.Minute + 5*time.Second)
	d := diagnose(t, s.URL(), inspect.DiagnoseConfig{Checks: []string{"no_consumer"}})
	if len(d.Findings) != 2 || d.Worst() != inspect.Critical {
		t.Fatalf("%+v", d.Findings)
	}
	f := d.Findings[0]
	if f.Subject != "group crm-consumers" || f.Summary != "crm-consumers has had no live consumer for 3 h 12 min: 4 events wait on 2 streams" ||
		d.At.Sub(f.Since).Round(time.Minute) != 3*time.Hour+12*time.Minute || f.Command != "" {
		t.Errorf("%+v", f)
	}
	if v := d.Verdict(); !strings.HasPrefix(v, f.Summary+". Start the application that consumes as crm-consumers") || !strings.HasSuffix(v, "(1 more critical)") {
		t.Error(v)
	}
	if f = d.Findings[1]; f.Summary != "suite-copy has no consumer: 4 events wait on 2 streams" || !strings.HasPrefix(f.Command, "freshet run --app suite ") {
		t.Errorf("%+v", f)
	}
}

func TestDoctorNoConsumerAndNothingWaits(t *testing.T) {
	s := busy(t, "crm")
	s.Do("XGROUP", "DELCONSUMER", users, "crm", "c-1")
	if f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "no_consumer"); f.Severity != inspect.Warning {
		t.Errorf("%+v", f)
	}
}

// Before Redis 7.2 a consumer that finds nothing to read is silent, however
// well it is.
func TestDoctorConsumerWithNothingToRead(t *testing.T) {
	s := redistest.StartWithClock(t, safe...)
	add(t, s, users, "*", 1)
	s.Do("XGROUP", "CREATE", users, "crm", "0")
	s.Do("XACK", users, "crm", reads(t, s, users, "crm", "c-1", 1)[0])
	s.MoveClock(time.Hour)
	cfg := inspect.DiagnoseConfig{Checks: []string{"no_consumer"}}
	d := diagnose(t, s.URL(), cfg)
	if f := found(t, d, "no_consumer"); f.Severity != inspect.Info || !d.Healthy() {
		t.Errorf("%+v", f)
	}
	add(t, s, users, "*", 2) // which it has not got to yet
	if d = diagnose(t, s.URL(), cfg); !d.Healthy() {
		t.Errorf("%+v", d.Findings)
	}
	s.MoveClock(time.Hour + 15*time.Second)
	if f := found(t, diagnose(t, s.URL(), cfg), "no_consumer"); f.Severity != inspect.Critical || f.Summary != "crm has had no live consumer for 1 h: 1 event waits on 1 stream" {
		t.Errorf("%+v", f)
	}
}

// A consumer may not be known on a stream from which it was never given
// anything.
func TestDoctorConsumerThatLivesElsewhere(t *testing.T) {
	s := busy(t, "crm")
	s.Do("XGROUP", "CREATE", deleted, "crm", "0", "MKSTREAM")
	nothing(t, s.URL(), inspect.DiagnoseConfig{})
	add(t, s, deleted, "*", 1)
	nothing(t, s.URL(), inspect.DiagnoseConfig{}) // it may be reading it now
	s.Do("DEL", deleted)
	add(t, s, deleted, fmt.Sprintf("%d-0", time.Now().Add(-10*time.Minute).UnixMilli()), 1)
	s.Do("XGROUP", "CREATE", deleted, "crm", "0")
	f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "no_consumer")
	if f.Severity != inspect.Warning || f.Subject != "group crm on "+deleted {
		t.Errorf("%+v", f)
	}
}

func TestDoctorLag(t *testing.T) {
	s := redistest.Start(t, safe...)
	add(t, s, users, fmt.Sprintf("%d-0", time.Now().Add(-10*time.Minute).UnixMilli()), 1)
	add(t, s, users, "*", 2)
	s.Do("XGROUP", "CREATE", users, "crm", "0")
	s.Do("XGROUP", "CREATECONSUMER", users, "crm", "c-1")
	f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "lag")
	if f.Severity != inspect.Warning || f.Summary != "crm is behind on "+users+": 2 events wait, the oldest for 10 min" && !strings.Contains(f.Summary, "10 min ") {
		t.Errorf("%+v", f)
	}
	limits := inspect.DefaultThresholds()
	limits.LagAge = inspect.Levels[time.Duration]{Warning: time.Hour, Critical: 2 * time.Hour}
	nothing(t, s.URL(), inspect.DiagnoseConfig{Thresholds: &limits})
}

func TestDoctorUnknownLag(t *testing.T) {
	s := redistest.Start(t, safe...)
	s.Do("EVAL", "for i = 1, 1500 do redis.call('XADD', KEYS[1], '*', 'x', 'y') end", "1", "credit-events")
	s.Do("XGROUP", "CREATE", "credit-events", "crm", s.Do("XRANGE", "credit-events", "-", "+", "COUNT", "100").([]any)[99].([]any)[0].(string))
	s.Do("XGROUP", "CREATECONSUMER", "credit-events", "crm", "c-1")
	d := diagnose(t, s.URL(), inspect.DiagnoseConfig{Checks: []string{"unknown_lag"}})
	if f := found(t, d, "unknown_lag"); f.Severity != inspect.Info || !d.Healthy() || !strings.Contains(f.Summary, ">=") {
		t.Errorf("%+v", f)
	}
}

func TestDoctorDeadConsumer(t *testing.T) {
	s := busy(t, "crm")
	add(t, s, users, "*", 8)
	add(t, s, users, "*", 9)
	ids := reads(t, s, users, "crm", "gone", 2)
	claimed(s, "crm", "gone", time.Hour, 1, ids...)
	nothing(t, s.URL(), inspect.DiagnoseConfig{}) // it has just been seen
	clocked := redistest.StartWithClock(t, safe...)
	for n := range 4 {
		add(t, clocked, users, "*", n)
	}
	clocked.Do("XGROUP", "CREATE", users, "crm", "0")
	reads(t, clocked, users, "crm", "gone", 3)
	clocked.MoveClock(3 * time.Hour)
	reads(t, clocked, users, "crm", "alive", 1)
	d := diagnose(t, clocked.URL(), inspect.DiagnoseConfig{Checks: []string{"dead_consumer"}})
	f := found(t, d, "dead_consumer")
	if f.Severity != inspect.Critical || f.Summary != "1 consumer of crm on "+users+" is gone and holds 3 entries, for 3 h" || !strings.HasPrefix(f.Command, "freshet consumers prune ") {
		t.Errorf("%+v", f)
	}
	if since := d.At.Sub(f.Since); since.Round(time.Minute) != 3*time.Hour {
		t.Errorf("since %v", since)
	}
}

func TestDoctorIdleConsumers(t *testing.T) {
	s := redistest.StartWithClock(t, safe...)
	add(t, s, users, "*", 1)
	s.Do("XGROUP", "CREATE", users, "crm", "$")
	for n := range 12 {
		s.Do("XGROUP", "CREATECONSUMER", users, "crm", fmt.Sprint("left-", n))
	}
	s.MoveClock(3 * time.Hour)
	s.Do("XGROUP", "CREATECONSUMER", users, "crm", "alive")
	d := diagnose(t, s.URL(), inspect.DiagnoseConfig{})
	if f := found(t, d, "idle_consumers"); f.Severity != inspect.Info || !strings.Contains(f.Summary, "12 consumers") || f.Fix == nil || f.Fix.Idle != 2*time.Hour {
		t.Errorf("%+v", f)
	}
}

func TestDoctorPending(t *testing.T) {
	s := redistest.Start(t, safe...)
	s.Do("EVAL", "for i = 1, 1200 do redis.call('XADD', KEYS[1], '*', 'x', 'y') end", "1", users)
	for _, group := range []string{"big", "small-1", "small-2", "small-3"} {
		s.Do("XGROUP", "CREATE", users, group, "0")
	}
	cfg := inspect.DiagnoseConfig{Checks: []string{"pending"}}
	ids := reads(t, s, users, "big", "c-1", 1200)
	nothing(t, s.URL(), cfg) // in hand
	claimed(s, "big", "c-1", 10*time.Minute, 1, ids...)
	f := found(t, diagnose(t, s.URL(), cfg), "pending")
	if f.Severity != inspect.Warning || f.Subject != "group big on "+users || !strings.Contains(f.Summary, "1,200 entries") {
		t.Errorf("%+v", f)
	}
	s.Do("XGROUP", "DESTROY", users, "big")
	for _, group := range []string{"small-1", "small-2", "small-3"} {
		claimed(s, group, "c-1", 10*time.Minute, 1, reads(t, s, users, group, "c-1", 400)...)
	}
	if f = found(t, diagnose(t, s.URL(), cfg), "pending"); f.Severity != inspect.Warning || f.Subject != "stream "+users {
		t.Errorf("of many groups together: %+v", f)
	}
}

func TestDoctorTrimmedUnread(t *testing.T) {
	s := busy(t, "crm")
	for n := range 10 {
		add(t, s, users, "*", n)
	}
	s.Do("XTRIM", users, "MAXLEN", "=", "4")
	f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "trimmed_unread")
	if f.Severity != inspect.Critical || !strings.Contains(f.Summary, "crm has lost 6 events") {
		t.Errorf("%+v", f)
	}
	mended(t, f.Command)
	nothing(t, s.URL(), inspect.DiagnoseConfig{Checks: []string{"trimmed_unread"}})
	s.Do("HINCRBY", "{"+users+"}:state:crm", "total", "8") // found by a consumer: two more
	if f = found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "trimmed_unread"); !strings.Contains(f.Summary, "lost 2 events") {
		t.Errorf("%+v", f)
	}
}

func TestDoctorTrimmedWhilePending(t *testing.T) {
	s := busy(t, "crm")
	add(t, s, users, "*", 8)
	reads(t, s, users, "crm", "c-1", 1)
	add(t, s, users, "*", 9)
	s.Do("XTRIM", users, "MAXLEN", "=", "1")
	if f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "trimmed_unread"); f.Severity != inspect.Warning || !strings.Contains(f.Evidence, "delivered to c-1") {
		t.Errorf("%+v", f)
	}
}

func TestDoctorRetention(t *testing.T) {
	const day = 24 * time.Hour
	for age, want := range map[time.Duration]inspect.Severity{25 * day: inspect.Warning, 31 * day: inspect.Critical} {
		s := redistest.Start(t, safe...)
		add(t, s, users, fmt.Sprintf("%d-0", time.Now().Add(-age).UnixMilli()), 1)
		s.Do("XGROUP", "CREATE", users, "crm", "0")
		s.Do("XGROUP", "CREATECONSUMER", users, "crm", "c-1")
		if f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "retention"); f.Severity != want || f.Subject != "group crm on "+users {
			t.Errorf("%v: %+v", age, f)
		}
	}
	// A stream that is cut at its length, and a group near its beginning.
	s := redistest.Start(t, safe...)
	past := time.Now().Add(-2 * time.Hour).UnixMilli()
	for n := range 40 {
		add(t, s, users, fmt.Sprintf("%d-0", past+int64(n)), n)
	}
	s.Do("XGROUP", "CREATE", users, "crm", "0")
	reads(t, s, users, "crm", "c-1", 21)
	for _, p := range s.Do("XPENDING", users, "crm", "-", "+", "21").([]any) {
		s.Do("XACK", users, "crm", p.([]any)[0].(string))
	}
	nothing(t, s.URL(), inspect.DiagnoseConfig{Checks: []string{"retention"}})
	s.Do("XTRIM", users, "MAXLEN", "=", "20")
	if f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "retention"); f.Severity != inspect.Warning || !strings.Contains(f.Evidence, "40 entries were added, 20 are left") {
		t.Errorf("%+v", f)
	}
}

func TestDoctorGroupMissing(t *testing.T) {
	s := busy(t, "crm")
	add(t, s, deleted, "*", 1)
	s.Do("XGROUP", "CREATE", deleted, "other", "$")
	s.Do("XGROUP", "CREATECONSUMER", deleted, "other", "o-1")
	f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{Groups: []string{"crm"}}), "group_missing")
	if f.Severity != inspect.Critical || f.Command != "freshet groups create "+deleted+" crm --start beginning" || f.Fix == nil || f.Fix.Start != "beginning" {
		t.Errorf("%+v", f)
	}
	// One that a consumer had looked after, and that somebody destroyed.
	s.Do("HSET", "{"+deleted+"}:state:crm", "at", "1700000000000-7", "pending", "1700000000000-0")
	f = found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "group_missing")
	if f.Severity != inspect.Warning || f.Fix == nil || f.Fix.Start != "1700000000000-0" || !strings.HasSuffix(f.Command, " --start "+f.Fix.Start) {
		t.Errorf("%+v", f)
	}
	_, forget, _ := strings.Cut(f.Advice, "forgotten: ")
	mended(t, forget)
	nothing(t, s.URL(), inspect.DiagnoseConfig{})
}

func TestDoctorExclusiveConflict(t *testing.T) {
	s := busy(t, "crm")
	s.Do("HSET", "freshet:{crm}:active", "owner", "c-1", "token", "1")
	nothing(t, s.URL(), inspect.DiagnoseConfig{})
	// c-2 goes on reading though c-1 has the lease. Before Redis 7.2 a read shows
	// only where there is something to read.
	s.Do("XGROUP", "CREATECONSUMER", users, "crm", "c-2")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_, err := redistest.Call(s.Addr(), "EVAL", "redis.call('XADD', KEYS[1], '*', 'x', 'y') return redis.call('XREADGROUP', 'GROUP', 'crm', 'c-2', 'STREAMS', KEYS[1], '>')", "1", users)
			if err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond) // its handler takes that long
		}
	}()
	t.Cleanup(func() { stop(); <-done })
	f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{Checks: []string{"settings_conflict"}}), "settings_conflict")
	stop()
	<-done
	if f.Severity != inspect.Critical || !strings.Contains(f.Summary, "c-2 reads as crm while c-1 has its exclusive lease") {
		t.Errorf("%+v", f)
	}
	// Who was active before has read a moment ago, and does so no more.
	nothing(t, s.URL(), inspect.DiagnoseConfig{Checks: []string{"settings_conflict"}})
}

func TestDoctorTenantFilterConflict(t *testing.T) {
	s := busy(t, "crm")
	s.Do("HSET", "freshet:{crm}:settings", "tenants", "*")
	nothing(t, s.URL(), inspect.DiagnoseConfig{})
	s.Do("HSET", "freshet:{crm}:settings", "tenants", "acme")
	if f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "settings_conflict"); f.Severity != inspect.Critical || !strings.Contains(f.Summary, "c-1") {
		t.Errorf("%+v", f)
	}
	s.Do("XGROUP", "DELCONSUMER", users, "crm", "c-1")
	s.Do("XGROUP", "CREATECONSUMER", users, "crm", "crm-host-17-abcdefg2")
	nothing(t, s.URL(), inspect.DiagnoseConfig{})
}

// What was redriven waits like everything else.
func TestDoctorNoConsumerAndRedrivenEventsWait(t *testing.T) {
	s := busy(t, "crm-copy")
	s.Do("XGROUP", "DELCONSUMER", users, "crm-copy", "c-1")
	ago := fmt.Sprintf("%d-0", time.Now().Add(-3*time.Hour).UnixMilli())
	add(t, s, "{"+users+"}:retry:crm-copy", ago, 1)
	d := diagnose(t, s.URL(), inspect.DiagnoseConfig{Checks: []string{"no_consumer"}})
	f := found(t, d, "no_consumer")
	if f.Severity != inspect.Critical || f.Summary != "crm-copy has no consumer: 1 event waits on 1 stream" || d.At.Sub(f.Since).Round(time.Minute) != 3*time.Hour ||
		!strings.Contains(f.Evidence, "redriven to it, of these: 1; the oldest has waited for 3 h") || !strings.HasPrefix(f.Command, "freshet run --app crm ") {
		t.Errorf("%+v", f)
	}
	s.Do("XGROUP", "CREATECONSUMER", users, "crm-copy", "c-2") // which does not take it
	if f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "lag"); f.Severity != inspect.Critical || !strings.Contains(f.Evidence, "redriven 1") {
		t.Errorf("%+v", f)
	}
}

// A group that is not there has what was redriven to it waiting all the same.
func TestDoctorRedrivenToAGroupThatIsMissing(t *testing.T) {
	s := busy(t, "crm")
	retries := "{" + users + "}:retry:billing"
	add(t, s, retries, fmt.Sprintf("%d-0", time.Now().Add(-3*time.Hour).UnixMilli()), 1)
	add(t, s, "{elsewhere}:retry:billing", "*", 1) // no stream of the suite
	f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "group_missing")
	if f.Severity != inspect.Critical || f.Subject != "group billing on "+users || f.Summary != "billing does not exist on "+users+", and 1 event was redriven to it" ||
		!strings.Contains(f.Evidence, "the oldest 3 h") {
		t.Errorf("%+v", f)
	}
	found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{Patterns: []string{users}}), "group_missing")

	// One that is known to have been there is one finding.
	s.Do("HSET", "{"+users+"}:state:billing", "at", "7-0", "pending", "")
	f = found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "group_missing")
	if f.Severity != inspect.Critical || f.Fix == nil || !strings.Contains(f.Evidence, retries) {
		t.Errorf("%+v", f)
	}
	s.Do("DEL", retries)
	if f = found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "group_missing"); f.Severity != inspect.Warning {
		t.Errorf("%+v", f)
	}
}

// Where the whole stream has gone, so has the group.
func TestDoctorRedrivenToAStreamThatIsGone(t *testing.T) {
	s := busy(t, "crm")
	add(t, s, "{"+deleted+"}:retry:crm", "*", 1)
	d := diagnose(t, s.URL(), inspect.DiagnoseConfig{})
	if f := found(t, d, "group_missing"); f.Subject != "group crm on "+deleted {
		t.Errorf("%+v", f)
	}
}
