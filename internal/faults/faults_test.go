package faults

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redistest"
)

// handleAckedBefore reads new entries as a consumer does that acknowledges before it
// handles, and has done every nth when it dies.
func handleAckedBefore(t *trial, server *redistest.Server, j *journal, nth int) {
	for _, stream := range loadStreams {
		t.do(server, "XGROUP", "CREATE", stream, group, "0", "MKSTREAM")
		t.do(server, "XREADGROUP", "GROUP", group, "scratch", "NOACK", "STREAMS", stream, ">")
		for i, e := range entries(server, stream) {
			if i%nth == 0 {
				t.must(j.add(&freshet.Delivery{Envelope: &events.Envelope{Identity: e.event, Stream: stream, ID: e.id}}, true))
			}
		}
	}
}

func TestAccountFindsWhatAnEarlyAcknowledgmentLoses(t *testing.T) {
	for _, tt := range []struct{ nth, lost int }{{1, 0}, {2, 49}} {
		result := try(t.Context(), fault{run: func(t *trial) {
			server := t.redis()
			l, j := t.load(server.URL()), &journal{}
			t.many(l, 100)
			handleAckedBefore(t, server, j, tt.nth)
			t.settled(server, group, time.Second)
			t.noneLost(server, group, l, j)
		}}, Options{})
		if result.lost != tt.lost || len(result.failures) != min(tt.lost, 1) || result.published != 100 {
			t.Errorf("handling every %d of %d: %d lost, failures %q", tt.nth, result.published, result.lost, result.failures)
		}
	}
}

func TestAccountKnowsEveryPlaceOfAnEvent(t *testing.T) {
	result := try(t.Context(), fault{run: func(t *trial) {
		server := t.redis()
		l, j := t.load(server.URL()), &journal{}
		t.many(l, 30) // of which the group gets the first five of each stream
		for _, stream := range loadStreams {
			t.do(server, "XGROUP", "CREATE", stream, group, "0")
			t.do(server, "XREADGROUP", "GROUP", group, "c", "COUNT", "5", "STREAMS", stream, ">")
			first := entries(server, stream)[0]
			t.do(server, "XADD", "{"+stream+"}:dlq:"+group, "*", "messageId", first.event)
			t.do(server, "XACK", stream, group, first.id)
		}
		if s := t.noneLost(server, group, l, j); len(s.deadLetters) != 2 || len(s.pending) != 8 || len(s.unread) != 20 {
			t.check(false, "%d dead letters, %d pending, %d unread", len(s.deadLetters), len(s.pending), len(s.unread))
		}
		t.must(j.add(&freshet.Delivery{Envelope: &events.Envelope{Identity: "never published"}}, true))
		known := entries(server, loadStreams[0])[7].event
		for range 3 {
			t.must(j.add(&freshet.Delivery{Envelope: &events.Envelope{Identity: known}}, true))
		}
		t.account(server, group, l, j)
	}}, Options{})
	if result.twice != 2 || len(result.failures) != 1 || !strings.Contains(result.failures[0], "never published") {
		t.Errorf("%d repeated, failures %q", result.twice, result.failures)
	}
}

func TestOrderOfEffects(t *testing.T) {
	effect := func(identity, entry string) record {
		return record{Effect: true, Identity: identity, Entity: "acme/u", Stream: "s", Entry: entry}
	}
	other := func(identity, entry string) record {
		return record{Effect: true, Identity: identity, Entity: "acme/u", Stream: "other", Entry: entry}
	}
	for _, tt := range []struct {
		records []record
		bad     int
	}{
		{[]record{effect("a", "9-0"), effect("b", "10-0"), effect("a", "9-0")}, 0}, // repeated, which is no disorder
		{[]record{effect("b", "10-0"), effect("a", "9-0")}, 1},
		{[]record{effect("b", "10-0"), other("a", "9-0")}, 1},
		{[]record{effect("b", "10-1"), effect("a", "10-0")}, 1},
		{[]record{effect("b", "10-0"), other("a", "10-0")}, 0}, // of one millisecond
	} {
		result := &trial{}
		result.inOrder(&journal{records: tt.records})
		if len(result.failures) != tt.bad {
			t.Errorf("%v: %q", tt.records, result.failures)
		}
	}
}

func TestVerdicts(t *testing.T) {
	defer func(all []fault) { table = all }(table)
	ended := 0
	table = []fault{
		{"A", "holds", true, func(t *trial) { t.atEnd(func() { ended++ }) }},
		{"B", "is checked", true, func(t *trial) { t.check(false, "broken %d", 1) }},
		{"C", "cannot go on", true, func(t *trial) {
			t.atEnd(func() { ended++ })
			t.until("never", time.Millisecond, func() bool { return false })
			ended = -10
		}},
		{"D", "panics", true, func(t *trial) { panic("at the disco") }},
		{"E", "is too slow", true, func(t *trial) { t.recovered("waking", 2*time.Second, time.Second) }},
		{"F", "is for long runs", false, func(t *trial) { panic("must not run") }},
	}
	var out bytes.Buffer
	passed, err := Run(t.Context(), Options{Quick: true, Seed: 7, Out: &out})
	if passed || err != nil || ended != 2 {
		t.Errorf("passed %t, %v, %d ends", passed, err, ended)
	}
	for _, want := range []string{"seed 7\n", "FAILED: broken 1", "FAILED: not within 1ms: never", "FAILED: panic: at the disco", "waking took 2s, may take 1s", "\n1 passed, 4 failed\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if passed, err := Run(t.Context(), Options{Only: []string{"a"}, Out: &out}); !passed || err != nil {
		t.Errorf("A alone: %t, %v", passed, err)
	}
	if _, err := Run(t.Context(), Options{Only: []string{"F99"}, Out: &out}); err == nil {
		t.Error("no error of a fault that there is not")
	}
}

func TestProxyDoesItsHarm(t *testing.T) {
	result := try(t.Context(), fault{run: func(t *trial) {
		server := t.redis()
		p := t.proxy(server.Addr())
		addr := p.listener.Addr().String()
		rule := map[string]harm{"BEFORE": cutBefore, "AFTER": cutAfter}
		p.at(func(command []string) harm { return rule[command[len(command)-1]] })
		if reply, err := redistest.Call(addr, "RPUSH", "k", "a\r\n", ""); err != nil || reply != int64(2) {
			t.check(false, "without harm: %v, %v", reply, err)
		}
		for _, value := range []string{"BEFORE", "AFTER"} {
			reply, err := redistest.Call(addr, "RPUSH", "k", value)
			t.check(err != nil, "%s was answered with %v", value, reply)
		}
		t.until("the server has acted", 10*time.Second, func() bool { return server.Do("LLEN", "k") == int64(3) })
		got := fmt.Sprintf("%q", server.Do("LRANGE", "k", "0", "-1"))
		t.check(got == `["a\r\n" "" "AFTER"]`, "the server has %s", got)

		p.at(nil)
		conn, err := net.Dial("tcp", addr)
		t.must(err)
		defer conn.Close()
		ask := func(within time.Duration) error {
			t.must(conn.SetDeadline(time.Now().Add(within)))
			if _, err := conn.Write([]byte("*1\r\n$4\r\nPING\r\n")); err != nil {
				return err
			}
			_, err := conn.Read(make([]byte, 7))
			return err
		}
		t.check(ask(10*time.Second) == nil, "a connection without harm does not work")
		p.freeze()
		t.check(errors.Is(ask(200*time.Millisecond), os.ErrDeadlineExceeded), "a frozen connection is not silent")
		reply, err := redistest.Call(addr, "PING")
		t.check(reply == "PONG", "a connection after the freeze: %v, %v", reply, err)
		p.cut()
		err = ask(10 * time.Second)
		t.check(errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE), "a connection that was cut is open: %v", err)
	}}, Options{})
	if len(result.failures) > 0 {
		t.Errorf("%q", result.failures)
	}
}
