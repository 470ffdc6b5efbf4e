package inspect_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/inspect"
)

func TestDoctorPoison(t *testing.T) {
	s := busy(t, "crm")
	bad, good := add(t, s, users, "*", 8), add(t, s, users, "*", 9)
	reads(t, s, users, "crm", "c-1", 2)
	claimed(s, "crm", "c-1", 0, 7, bad)
	claimed(s, "crm", "c-1", 0, 2, good)
	f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "poison")
	if f.Severity != inspect.Warning || f.Command != "freshet events get "+bad+" --stream "+users || !strings.Contains(f.Summary, "1 entry of "+users+" is tried again and again by crm") {
		t.Errorf("%+v", f)
	}
	claimed(s, "crm", "c-1", 0, 40, good)
	if f = found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "poison"); f.Severity != inspect.Critical || !strings.Contains(f.Summary, "2 entries") {
		t.Errorf("%+v", f)
	}
}

func TestDoctorDeadLetters(t *testing.T) {
	s := busy(t, "crm")
	old := userLetter("crm", "1-0", "u-1", "permanent", "no")
	old.as = fmt.Sprintf("%d-0", time.Now().Add(-3*time.Hour).UnixMilli())
	old.put(t, s)
	d := diagnose(t, s.URL(), inspect.DiagnoseConfig{})
	if f := found(t, d, "dead_letters"); f.Severity != inspect.Info || !d.Healthy() || !strings.Contains(f.Summary, "1 dead letter from "+users+", the newest 3 h old") {
		t.Errorf("%+v", f)
	}
	userLetter("crm", "2-0", "u-2", "permanent", "no").put(t, s)
	if f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "dead_letters"); f.Severity != inspect.Warning || !strings.Contains(f.Summary, "1 event of "+users+" within the last hour, 2 in all") {
		t.Errorf("%+v", f)
	}
	for n := range 120 {
		userLetter("crm", fmt.Sprintf("%d-0", 100+n), "u-3", "permanent", "no").put(t, s)
	}
	if f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "dead_letters"); f.Severity != inspect.Critical || !strings.Contains(f.Summary, "at least 100 events") {
		t.Errorf("%+v", f)
	}
}

func TestDoctorRefusedAndUnknownTypes(t *testing.T) {
	s := busy(t, "crm")
	xadd(t, s, users, "*", "eventType", "user_creatd", "tenantId", "acme", "entityId", "u", "timestamp", "2025-12-04T10:00:00.000Z", "data", `{"userId":"u"}`, "sourceApp", "crm-api")
	bad := xadd(t, s, users, "*", "eventType", "user_created", "tenantId", "acme", "data", `{`)
	for _, id := range reads(t, s, users, "crm", "c-1", 2) {
		s.Do("XACK", users, "crm", id)
	}
	d := diagnose(t, s.URL(), inspect.DiagnoseConfig{})
	if f := found(t, d, "refused"); f.Severity != inspect.Warning || !strings.Contains(f.Summary, "bad_json") || !strings.Contains(f.Command, bad) {
		t.Errorf("%+v", f)
	}
	if f := found(t, d, "unknown_type"); f.Severity != inspect.Warning || !strings.Contains(f.Summary, `"user_creatd"`) || !strings.Contains(f.Advice, "user_created") || !strings.Contains(f.Advice, "crm-api") {
		t.Errorf("%+v", f)
	}
	// What is long past is no news.
	s.Do("DEL", users)
	xadd(t, s, users, "1700000000000-0", "eventType", "user_creatd", "tenantId", "acme", "data", `{}`)
	s.Do("XGROUP", "CREATE", users, "crm", "$")
	s.Do("XGROUP", "CREATECONSUMER", users, "crm", "c-1")
	nothing(t, s.URL(), inspect.DiagnoseConfig{})
}

func TestDoctorStreamLength(t *testing.T) {
	s := busy(t, "crm")
	limits := inspect.DefaultThresholds()
	limits.StreamLength = inspect.Levels[int64]{Warning: 5, Critical: 6}
	cfg := inspect.DiagnoseConfig{Thresholds: &limits}
	if f := found(t, diagnose(t, s.URL(), cfg), "stream_length"); f.Severity != inspect.Warning || f.Command != "freshet trim --older-than 30d --streams "+users {
		t.Errorf("%+v", f)
	}
	add(t, s, users, "*", 9)
	if f := found(t, diagnose(t, s.URL(), cfg), "stream_length"); f.Severity != inspect.Critical {
		t.Errorf("%+v", f)
	}
}

func TestDoctorUnreadStream(t *testing.T) {
	s := busy(t, "crm")
	add(t, s, deleted, "*", 1)
	nothing(t, s.URL(), inspect.DiagnoseConfig{}) // it has just come
	s.Do("DEL", deleted)
	past := fmt.Sprintf("%d-0", time.Now().Add(-2*time.Minute).UnixMilli())
	add(t, s, deleted, past, 1)
	xadd(t, s, "acknowledgments", past, "acknowledgmentId", "ack_1", "originalEventId", "m-1", "status", "processed", "timestamp", "2025-12-04T10:00:00.000Z")
	xadd(t, s, "somebody-elses", past, "a", "b")
	d := diagnose(t, s.URL(), inspect.DiagnoseConfig{Checks: []string{"unread_stream"}})
	if len(d.Findings) != 2 || d.Findings[0].Subject != "stream "+deleted || d.Findings[0].Severity != inspect.Warning || d.Findings[1].Severity != inspect.Info {
		t.Errorf("%+v", d.Findings)
	}
	s.Do("DEL", deleted)
	add(t, s, deleted, fmt.Sprintf("%d-0", time.Now().Add(-2*time.Hour).UnixMilli()), 1)
	if d = diagnose(t, s.URL(), inspect.DiagnoseConfig{Checks: []string{"unread_stream"}}); d.Worst() != inspect.Critical {
		t.Errorf("%+v", d.Findings)
	}
}

func TestDoctorNotAStream(t *testing.T) {
	s := busy(t, "crm")
	s.Do("SET", "credit-events", "what?")
	f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "not_a_stream")
	if f.Severity != inspect.Critical || f.Subject != "stream credit-events" {
		t.Errorf("%+v", f)
	}
	mended(t, f.Command)
	nothing(t, s.URL(), inspect.DiagnoseConfig{})
}

func TestDoctorNameDrift(t *testing.T) {
	s := busy(t, "crm")
	xadd(t, s, "orders", "*", "a", "b")
	nothing(t, s.URL(), inspect.DiagnoseConfig{})
	xadd(t, s, "credit_events", "*", "a", "b")
	f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "name_drift")
	if f.Severity != inspect.Warning || f.Subject != "stream credit_events" || !strings.Contains(f.Evidence, "credit-events") {
		t.Errorf("%+v", f)
	}
	s.Do("DEL", "credit_events")
	s.Do("XGROUP", "CREATE", "crm:sync:user:updated", "crm", "0", "MKSTREAM")
	d := diagnose(t, s.URL(), inspect.DiagnoseConfig{})
	if f = found(t, d, "name_drift"); f.Severity != inspect.Info || !d.Healthy() {
		t.Errorf("%+v", f)
	}
}

// Names and values from the server are never more than one word of a command.
func TestDoctorHostileNames(t *testing.T) {
	s := busy(t, "crm")
	group := "x'; touch /tmp/owned; '\x1b]0;"
	s.Do("XGROUP", "CREATE", users, group, "0")
	reads(t, s, users, group, "c", 1)
	claimed(s, group, "c", 0, 9, s.Do("XPENDING", users, group, "-", "+", "1").([]any)[0].([]any)[0].(string))
	limits := inspect.DefaultThresholds()
	limits.StreamPending = inspect.Levels[int64]{Warning: 1, Critical: 2}
	limits.GroupPending = inspect.Levels[int64]{Warning: 1, Critical: 2}
	userLetter(group, "2-0", "u-2", "permanent", "no").put(t, s)
	for _, f := range diagnose(t, s.URL(), inspect.DiagnoseConfig{Thresholds: &limits}).Findings {
		if strings.Contains(f.Command, group) || strings.Contains(f.Command, "\x1b") || strings.Contains(f.Command, "x'; touch") {
			t.Errorf("%s: %s", f.Check, f.Command)
		}
	}
}
