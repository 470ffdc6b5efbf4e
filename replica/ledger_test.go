package replica_test

import (
	"fmt"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/replica"
)

// Shorthands for the four kinds of credit events of entity o1.
func onLedger(minute int, id, amount string) *events.Envelope {
	return credit(events.CreditAllocated{}, minute, "allocationId", id, amount)
}

func onSync(minute int, id, amount string) *events.Envelope {
	return credit(events.CreditAllocatedSync{}, minute, "allocationId", id, amount)
}

// credit makes a credit event. The decoder takes an allocation or operation id
// for the event's identity.
func credit(p events.Payload, minute int, field, id, amount string) *events.Envelope {
	if id == "" {
		return event(p, minute, `{"entityId":"o1","amount":`+amount+`}`)
	}
	return named(id, event(p, minute, `{"`+field+`":"`+id+`","entityId":"o1","amount":`+amount+`}`))
}

func named(identity string, env *events.Envelope) *events.Envelope {
	env.Identity = identity
	return env
}

func TestLedger(t *testing.T) {
	for _, c := range []struct {
		name    string
		say     []*events.Envelope
		entries string // in order of time
		balance string
	}{
		{"one allocation on two streams, with its id",
			[]*events.Envelope{onLedger(1, "x", "1000"), onSync(2, "x", "1000")},
			"x", "1000"},
		{"one allocation on two streams, the copy without an id",
			[]*events.Envelope{onLedger(1, "x", "1000"), onSync(2, "", "1000.00")},
			"x", "1000"},
		{"neither with an id",
			[]*events.Envelope{onLedger(1, "", "1000"), onSync(2, "", "1000")},
			"evt_001", "1000"},
		{"two allocations of one amount, each with its copy",
			[]*events.Envelope{onLedger(1, "x", "5"), onLedger(2, "y", "5"), onSync(3, "", "5"), onSync(4, "", "5")},
			"x y", "10"},
		{"more copies than entries: the latest copies are entries",
			[]*events.Envelope{onLedger(9, "x", "5"), onSync(1, "", "5"), onSync(3, "", "5"), onSync(2, "", "5")},
			"evt_002 evt_003 x", "15"},
		{"an entry that was seen by its id takes no copy",
			[]*events.Envelope{onLedger(1, "x", "5"), onSync(2, "x", "5"), onSync(3, "", "5")},
			"x evt_003", "10"},
		{"a copy of another amount is an entry",
			[]*events.Envelope{onLedger(1, "x", "5"), onSync(2, "", "5.5")},
			"x evt_002", "10.5"},
		{"the sync stream alone",
			[]*events.Envelope{onSync(1, "", "5"), onSync(2, "", "5"), onSync(3, "y", "5")},
			"evt_001 evt_002 y", "15"},
		{"published again with other event ids",
			[]*events.Envelope{onLedger(1, "x", "1000"), onLedger(2, "x", "1000"), onLedger(3, "x", "1000")},
			"x", "1000"},
		{"one id, two amounts: credit-events is believed, and its earliest",
			[]*events.Envelope{onSync(1, "x", "7"), onLedger(3, "x", "9"), onLedger(2, "x", "8")},
			"x", "8"},
		{"one identity and time, two amounts",
			[]*events.Envelope{onLedger(1, "", "9"), onLedger(1, "", "7")},
			"evt_001", "7"},
		{"copies of one time: the last by identity counts",
			[]*events.Envelope{onLedger(9, "x", "5"), named("b", onSync(1, "", "5")), named("a", onSync(1, "", "5")), named("c", onSync(1, "", "5"))},
			"b c x", "15"},
		{"a copy that turns out to be earlier counts no longer",
			[]*events.Envelope{onLedger(9, "x", "5"), named("b", onSync(2, "", "5")), named("a", onSync(3, "", "5")), named("a", onSync(1, "", "5"))},
			"b x", "10"},
		{"consumption",
			[]*events.Envelope{
				onLedger(1, "x", "10"),
				credit(events.CreditConsumed{}, 2, "operationId", "op", "2.5"),
				credit(events.CreditConsumedSync{}, 3, "operationId", "op", "2.5"),
				credit(events.CreditConsumedSync{}, 4, "operationId", "", "2.5"),
			},
			"x op evt_004", "5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var first string
			s := open(t)
			for order := range permutations(len(c.say)) {
				wipe(t, s)
				for _, i := range order {
					apply(t, s, c.say[i])
				}
				if diff := cmp.Diff(c.entries, entries(t, s)); diff != "" {
					t.Fatalf("order %v: -want +got\n%s", order, diff)
				}
				if got, want := query(t, s, "SELECT balance FROM credit_balances"), "balance="+c.balance; got != want {
					t.Fatalf("order %v: got %s, want %s", order, got, want)
				}
				if first == "" {
					first = dump(t, s)
				} else if diff := cmp.Diff(first, dump(t, s)); diff != "" {
					t.Fatalf("order %v: rows differ: -first +this\n%s", order, diff)
				}
			}
		})
	}
}

func entries(t *testing.T, s *replica.Store) string {
	t.Helper()
	var ids string
	if err := s.DB().QueryRow(`SELECT group_concat(entry_id, ' ' ORDER BY occurred_at, entry_id) FROM credit_entries`).Scan(&ids); err != nil {
		t.Fatal(err)
	}
	return ids
}

// permutations yields every order of n things.
func permutations(n int) func(func([]int) bool) {
	return func(yield func([]int) bool) {
		var next func(done, left []int) bool
		next = func(done, left []int) bool {
			if len(left) == 0 {
				return yield(done)
			}
			for i := range left {
				rest := slices.Delete(slices.Clone(left), i, i+1)
				if !next(append(done[:len(done):len(done)], left[i]), rest) {
					return false
				}
			}
			return true
		}
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		next(nil, all)
	}
}

func TestLedgerColumns(t *testing.T) {
	s := open(t)
	apply(t, s,
		named("op-1", event(events.CreditConsumed{}, 1, `{"entityId":"o1","userId":"u1","amount":50,"operationType":"api_call","operationId":"op-1"}`)),
		event(events.CreditConsumed{}, 2, `{"entityId":"o1","userId":"","amount":1.25,"operationType":"","operationId":""}`),
	)
	want := "tenant_id=" + tenant + " entry_id=evt_002 entity_id=o1 kind=consumed amount=1.25 occurred_at=2025-12-04T12:02:00.000Z updated_from=evt_002 @ 2025-12-04T12:02:00.000Z\n" +
		"tenant_id=" + tenant + " entry_id=op-1 entity_id=o1 kind=consumed amount=50 user_id=u1 operation_type=api_call operation_id=op-1 occurred_at=2025-12-04T12:01:00.000Z updated_from=op-1 @ 2025-12-04T12:01:00.000Z"
	if diff := cmp.Diff(want, query(t, s, "SELECT * FROM credit_entries ORDER BY entry_id")); diff != "" {
		t.Error("-want +got\n" + diff)
	}
}

func TestAmountsAreExact(t *testing.T) {
	s := open(t)
	for _, c := range []struct{ a, b, sum string }{
		{"0.1", "0.2", "0.3"},
		{"9007199254740993", "0", "9007199254740993"},
		{"9007199254740993", "0.000000000000000001", "9007199254740993.000000000000000001"},
		{"1e21", "1", "1000000000000000000001"},
		{"1000.00", "-0", "1000"},
		{"-5", "2.50", "-2.5"},
		{"1e-30", "1e30", "1000000000000000000000000000000.000000000000000000000000000001"},
	} {
		wipe(t, s)
		apply(t, s, onLedger(1, "a", c.a), onLedger(2, "b", c.b))
		if got, want := query(t, s, "SELECT allocated, consumed, balance FROM credit_balances"), "allocated="+c.sum+" consumed=0 balance="+c.sum; got != want {
			t.Errorf("%s + %s: got %s, want %s", c.a, c.b, got, want)
		}
	}
}

// A cell with many copies costs a batch no more than a cell with few.
func TestManyCopiesOfOneAmount(t *testing.T) {
	s := open(t)
	var copies []*events.Envelope
	for i := range 3000 {
		env := onSync(0, "", "1")
		env.Identity = fmt.Sprintf("copy_%04d", i)
		env.Time = noon.Add(time.Duration(i) * time.Millisecond)
		copies = append(copies, env)
	}
	apply(t, s, copies...)
	var ledger []*events.Envelope
	for i := range 2000 {
		ledger = append(ledger, onLedger(1, fmt.Sprintf("alloc_%04d", i), "1"))
	}
	apply(t, s, ledger...)
	want := "n=3000 copies=1000 first=copy_2000"
	got := query(t, s, `SELECT count(*) AS n, sum(entry_id LIKE 'copy%') AS copies,
		min(CASE WHEN entry_id LIKE 'copy%' THEN entry_id END) AS first FROM credit_entries`)
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	checkLedger(t, s)
}

// checkLedger compares the balances with the sums of the entries, and the
// number of entries of each entity, kind and amount with the rule.
func checkLedger(t fataler, s *replica.Store) {
	t.Helper()
	rows, err := s.DB().Query("SELECT tenant_id, entity_id, kind, amount FROM credit_entries")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	sums := map[string]*big.Rat{}
	sum := func(k string) *big.Rat {
		if sums[k] == nil {
			sums[k] = new(big.Rat)
		}
		return sums[k]
	}
	for rows.Next() {
		var tenant, entity, kind, amount string
		if err := rows.Scan(&tenant, &entity, &kind, &amount); err != nil {
			t.Fatal(err)
		}
		x, ok := new(big.Rat).SetString(amount)
		if !ok {
			t.Fatal("amount", amount)
		}
		sum(tenant+entity+kind).Add(sum(tenant+entity+kind), x)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	balances, err := s.DB().Query("SELECT tenant_id, entity_id, allocated, consumed, balance FROM credit_balances")
	if err != nil {
		t.Fatal(err)
	}
	defer balances.Close()
	seen := 0
	for balances.Next() {
		var tenant, entity, allocated, consumed, balance string
		if err := balances.Scan(&tenant, &entity, &allocated, &consumed, &balance); err != nil {
			t.Fatal(err)
		}
		a, c, b := new(big.Rat), new(big.Rat), new(big.Rat)
		a.SetString(allocated)
		c.SetString(consumed)
		b.SetString(balance)
		if a.Cmp(sum(tenant+entity+"allocated")) != 0 || c.Cmp(sum(tenant+entity+"consumed")) != 0 || b.Cmp(new(big.Rat).Sub(a, c)) != 0 {
			t.Fatalf("balance of %s: %s - %s = %s, but the entries sum up to %s and %s", entity, allocated, consumed, balance,
				sum(tenant+entity+"allocated"), sum(tenant+entity+"consumed"))
		}
		delete(sums, tenant+entity+"allocated")
		delete(sums, tenant+entity+"consumed")
		seen++
	}
	if err := balances.Err(); err != nil {
		t.Fatal(err)
	}
	if len(sums) > 0 {
		t.Fatalf("entries without a balance: %v", sums)
	}
}

type fataler interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}
