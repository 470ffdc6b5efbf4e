package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/internal/telemetry/alerttest"
)

// The groups of the incident: two copies, an application that uses the SDK and
// one that is written in another language.
const (
	crmCopy   = "crm-copy"   // is stopped, and a stream trimmed past it
	auditCopy = "audit-copy" // lives throughout, and serves the metrics
	billing   = "billing"    // cannot handle some events
	hr        = "hr"         // a consumer of it dies with entries in hand
)

const creditStream = "credit-events"

// TestIncident has several things go wrong at once. Doctor finds each, an alert
// fires for each, the dashboard says the worst, and the commands that doctor
// prints, run in a shell as they are printed, mend it all.
func TestIncident(t *testing.T) {
	b := startIncident(t)
	calm := b.metrics()
	b.goWrong()

	report := b.findings()
	b.alertsFire(calm)
	b.overviewSays(report)

	b.mend(report)
	b.isWell()
}

// bus is the suite that the incident happens to.
type bus struct {
	*testing.T
	server  *redistest.Server
	sdk     *freshet.Bus
	dir     string // where commands run: it has freshet on its PATH and the copy's file
	http    string // address of the metrics
	crm     *process
	hrMu    sync.Mutex  // held by hr-2 at work
	bugFree atomic.Bool // billing's handler has been mended
	credits []freshet.Message
}

// startIncident starts the suite two hours ago by the server's clock, and has
// it handle some events.
func startIncident(t *testing.T) *bus {
	b := &bus{T: t, server: redistest.StartWithClock(t, "--appendonly", "yes"), dir: t.TempDir()}
	b.server.MoveClock(-2 * time.Hour)
	var err error
	if b.sdk, err = freshet.Open(t.Context(), freshet.Config{URL: b.server.URL(), App: "wrapper-api"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.sdk.Close() })

	b.crm = b.shell("exec freshet run --app crm --replica sqlite://suite.db")
	b.serveBilling()
	b.publishUsers("early", 20)
	b.publishCredits(5)
	b.serveHR()
	eventually(t, "the copy has settled everything", func() bool { return allSettled(b.server, crmCopy) })
	for _, group := range []string{billing, hr} {
		eventually(t, group+" has settled the users", func() bool { return settled(b.server, doctored, group) })
	}
	// It looks at the groups when it begins, and then every 15 seconds.
	audit := start(t, nil, "run", "--redis", b.server.URL(), "--app", "audit", "--http", anyPort, "--replica", "sqlite://"+filepath.Join(b.dir, "audit.db"))
	b.http = audit.address(t)
	eventually(t, "the other copy has settled everything", func() bool { return allSettled(b.server, auditCopy) })
	eventually(t, "there are metrics of the groups", func() bool {
		_, page := get("http://"+b.http+"/metrics", "")
		return strings.Contains(page, `freshet_group_trimmed_unread{group="crm-copy",stream="`+creditStream+`"} 0`)
	})
	return b
}

// goWrong stops a consumer, has another die with entries in hand, trims a
// stream past a group, lets two hours pass, and publishes poison.
func (b *bus) goWrong() {
	b.crm.signal(b.T, syscall.SIGTERM)
	if code := b.crm.exit(b.T); code != 0 {
		b.Fatalf("the copy ended with %d\n%s", code, b.crm.stderr.String())
	}
	b.hrMu.Lock() // hr-2 has a break: hr-1 takes what comes, and is never seen again
	b.publishUsers("late", 3)
	b.server.Do("XREADGROUP", "GROUP", hr, "hr-1", "STREAMS", doctored, ">")
	b.hrMu.Unlock()
	b.publishUsers("later", 10)
	b.publishCredits(5)
	eventually(b.T, "the others have settled it", func() bool {
		return settled(b.server, creditStream, auditCopy) && settled(b.server, doctored, billing) && pending(b.server, hr) == 3
	})
	b.server.Do("XTRIM", creditStream, "MAXLEN", "2")
	b.server.MoveClock(0)
	b.publishUsers("poison", 2)
	eventually(b.T, "billing has given up on the poison", func() bool { return len(deadLetters(b.server, billing)) == 2 })
}

// findings has doctor look, and checks that it sees everything that is wrong.
func (b *bus) findings() doctorReport {
	b.Helper()
	var r doctorReport
	eventually(b.T, "the consumers that live are seen to", func() bool {
		code, out := b.runShell("freshet doctor -o json")
		if code != exitFindings {
			b.Fatalf("exit %d\n%s", code, out)
		}
		r = doctorReport{}
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		return !slices.ContainsFunc(r.Findings, func(f reported) bool { return f.Check == "no_consumer" && f.Subject != "group "+crmCopy })
	})
	var found []string
	for _, f := range r.Findings {
		found = append(found, fmt.Sprintf("%s %s: %s", f.Severity, f.Check, f.Subject))
	}
	want := []string{
		"critical no_consumer: group crm-copy",
		"critical dead_consumer: group hr on " + doctored,
		"critical trimmed_unread: group crm-copy on " + creditStream,
		"critical lag: group hr on " + doctored,                // by what the dead consumer holds
		"warning retention: group crm-copy on " + creditStream, // which is trimmed, and not read to the end
		"warning dead_letters: group billing on " + doctored,
	}
	if !slices.Equal(found, want) {
		b.Errorf("found %q, want %q", found, want)
	}
	return r
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// metrics scrapes the copy that lives.
func (b *bus) metrics() alerttest.Families {
	b.Helper()
	code, page := get("http://"+b.http+"/metrics", "")
	if code != 200 {
		b.Fatalf("metrics: %d %s", code, page)
	}
	scraped := alerttest.Parse(b.T, strings.NewReader(page))
	delete(scraped, "freshet_snapshot_timestamp_seconds") // promtool's time is 1970
	return scraped
}

// alertsFire has Prometheus look at what was there before and what is now.
func (b *bus) alertsFire(calm alerttest.Families) {
	b.Helper()
	eventually(b.T, "the metrics tell of the dead letters, and of who lives", func() bool {
		_, page := get("http://"+b.http+"/metrics", "")
		return strings.Contains(page, `freshet_group_dead_letters{group="billing",stream="`+doctored+`"} 2`) &&
			strings.Contains(page, `freshet_group_consumers{group="hr",state="live",stream="`+doctored+`"} 1`)
	})
	alerttest.Check(b.T, "../../deploy/prometheus-alerts.yml", alerttest.Situation{
		Name: "alerts", Series: alerttest.Step(calm, b.metrics()), By: "alertname, group", Firing: []string{
			`{alertname="FreshetNoLiveConsumer", group="crm-copy"}`,
			`{alertname="FreshetLagCritical", group="crm-copy"}`,
			`{alertname="FreshetTrimmedUnread", group="crm-copy"}`,
			`{alertname="FreshetDeadLettersGrowing", group="billing"}`,
			`{alertname="FreshetLagCritical", group="hr"}`,
		},
	})
}

// overviewSays compares the dashboard's first sentence with doctor's.
func (b *bus) overviewSays(report doctorReport) {
	b.Helper()
	address := start(b.T, b.env(), "dashboard", "--http", anyPort).address(b.T)
	worst := report.Findings[0]
	verdict := html.EscapeString(worst.Summary + ". Run: " + *worst.Command + " (")
	eventually(b.T, "the overview says the worst", func() bool {
		_, page := get("http://"+address+"/", "")
		return strings.Contains(page, verdict)
	})
}

// mend runs the command of each finding as it was printed, and does what the
// advice says besides.
func (b *bus) mend(report doctorReport) {
	b.Helper()
	b.bugFree.Store(true)
	for _, f := range report.Findings {
		command := text(f.Command)
		switch {
		case f.Severity == "info":
		case f.Check == "no_consumer": // runs until it is stopped
			b.shell("exec " + command)
		case f.Check == "dead_consumer":
			b.succeeds(command)
		case f.Check == "trimmed_unread":
			b.publishAgain() // as the advice says: nobody else has the events any more
			b.succeeds(command)
		case f.Check == "dead_letters": // the command shows why, the advice has the one that mends
			b.succeeds(command)
			_, again, _ := strings.Cut(text(f.Advice), "once more: ")
			b.succeeds(again)
		default: // lag, retention: the command shows what is held up, by what others mend
			b.succeeds(command)
		}
	}
}

// isWell waits until all is well, and compares the copy with that which never
// stopped.
func (b *bus) isWell() {
	b.Helper()
	var out string
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		var code int
		if code, out = b.runShell("freshet doctor"); code == exitOK {
			break
		}
		if time.Now().After(deadline) {
			b.Fatalf("doctor: %d\n%s", code, out)
		}
	}
	// To doctor, what came a moment ago and is at work is well too.
	for _, group := range []string{crmCopy, auditCopy} {
		eventually(b.T, group+" has settled everything", func() bool { return allSettled(b.server, group) })
	}
	for _, group := range []string{billing, hr} {
		eventually(b.T, group+" has nothing pending", func() bool { return pending(b.server, group) == 0 })
	}
	if n := len(deadLetters(b.server, billing)); n != 0 {
		b.Errorf("%d dead letters are left", n)
	}
	got, want := dump(b.T, filepath.Join(b.dir, "suite.db")), dump(b.T, filepath.Join(b.dir, "audit.db"))
	if got != want {
		b.Errorf("the copies differ: %s", difference(got, want))
	}
}

// publishUsers publishes n users whose addresses begin with kind.
func (b *bus) publishUsers(kind string, n int) {
	b.Helper()
	for i := range n {
		b.publish(freshet.Message{Tenant: "acme", Key: fmt.Sprintf("%s-%d", kind, i), Time: time.Now(), Payload: events.UserCreated{
			UserID: fmt.Sprintf("%s-%d", kind, i), Email: fmt.Sprintf("%s-%d@example.com", kind, i), FirstName: "Ada", CreatedAt: time.Now(),
		}})
	}
}

// publishCredits publishes n allocations, and keeps them as their publisher
// does.
func (b *bus) publishCredits(n int) {
	b.Helper()
	for range n {
		id := fmt.Sprintf("allocation-%d", len(b.credits))
		m := freshet.Message{Tenant: "acme", Key: id, Time: time.Now(), Payload: events.CreditAllocated{
			AllocationID: id, EntityID: "o-1", Amount: decimal.NewFromInt(10), Reason: "purchase", EntityType: "organization",
		}}
		b.credits = append(b.credits, m)
		b.publish(m)
	}
}

func (b *bus) publishAgain() {
	b.Helper()
	for _, m := range b.credits {
		b.publish(m)
	}
}

func (b *bus) publish(m freshet.Message) {
	b.Helper()
	if _, err := b.sdk.PublishMessage(b.Context(), m); err != nil {
		b.Fatal(err)
	}
}

// serveBilling runs an application whose handler has a bug.
func (b *bus) serveBilling() {
	consumer := b.sdk.Consumer(freshet.ConsumerConfig{Group: billing, MaxAttempts: 2, BackoffMin: time.Millisecond})
	freshet.On(consumer, func(_ context.Context, e *freshet.Event[events.UserCreated]) error {
		if strings.HasPrefix(e.Data.Email, "poison") && !b.bugFree.Load() {
			return errors.New("no tax code")
		}
		return nil
	})
	b.inBackground(func(ctx context.Context) {
		if err := consumer.Run(ctx); err != nil && ctx.Err() == nil {
			b.Errorf("billing: %v", err)
		}
	})
}

// serveHR runs a consumer that reads and acknowledges, and knows nothing else.
func (b *bus) serveHR() {
	b.server.Do("XGROUP", "CREATE", doctored, hr, "0")
	b.inBackground(func(ctx context.Context) {
		for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
			b.hrMu.Lock()
			for _, from := range []string{"0", ">"} { // what it holds, then what is new
				read, _ := b.server.Do("XREADGROUP", "GROUP", hr, "hr-2", "STREAMS", doctored, from).([]any)
				for _, stream := range read {
					for _, e := range stream.([]any)[1].([]any) {
						b.server.Do("XACK", doctored, hr, e.([]any)[0].(string))
					}
				}
			}
			b.hrMu.Unlock()
		}
	})
}

// inBackground runs f until the end of the test.
func (b *bus) inBackground(f func(context.Context)) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	b.Cleanup(func() { stop(); <-done })
}

func (b *bus) env() []string { return []string{"REDIS_URL=" + b.server.URL()} }

// shell starts a command line in the suite's directory.
func (b *bus) shell(line string) *process {
	b.Helper()
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir, cmd.Env = b.dir, append(os.Environ(), b.env()...)
	p := &process{cmd: cmd}
	p.run(b.T)
	return p
}

// runShell runs a command line to its end.
func (b *bus) runShell(line string) (code int, stdout string) {
	b.Helper()
	p := b.shell(line)
	code = p.exit(b.T)
	return code, p.stdout.String()
}

func (b *bus) succeeds(line string) {
	b.Helper()
	p := b.shell(line)
	if code := p.exit(b.T); code != exitOK {
		b.Errorf("%s: exit %d\n%s", line, code, p.stderr.String())
	}
}
