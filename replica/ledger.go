package replica

import (
	"cmp"
	"fmt"

	"github.com/shopspring/decimal"
)

var (
	creditCells = &relation{"credit_cells",
		[]string{"tenant_id", "kind", "entity_id", "amount"},
		[]string{"unseen", "copies"}, true}
	creditBalances = &relation{"credit_balances",
		[]string{"tenant_id", "entity_id"},
		[]string{"allocated", "consumed", "balance", "updated_from"}, true}
)

// cellKey is the primary key of credit_cells.
type cellKey struct{ tenant, kind, entity, amount string }

func (k cellKey) row() []any { return []any{k.tenant, k.kind, k.entity, k.amount} }

// cell counts the facts that copies are matched by. Of its copies, as many
// count as there are more than unseen entries: the latest.
type cell struct {
	unseen, copies int64
	counting       int64 // copies whose row says that they count, at this moment
	reordered      bool  // a copy came that may belong among those that count
}

func (c *cell) target() int64 { return max(0, c.copies-c.unseen) }

// ledgerBatch is the work of one batch.
type ledgerBatch struct {
	w        *writer
	facts    map[factKey]*fact
	cells    map[cellKey]*cell
	balances map[balanceKey]*balance
}

// writeLedger records tellings: merges them into their facts, settles which
// copies count, and adds up.
func writeLedger(w *writer, tellings []telling) error {
	if len(tellings) == 0 {
		return nil
	}
	b := &ledgerBatch{w, map[factKey]*fact{}, map[cellKey]*cell{}, map[balanceKey]*balance{}}
	steps := []struct {
		name string
		run  func([]telling) error
	}{
		{"credit_facts", b.writeFacts},
		{"credit_cells", b.writeCells},
		{"credit_balances", b.writeBalances},
	}
	for _, step := range steps {
		if err := step.run(tellings); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

func (b *ledgerBatch) writeFacts(tellings []telling) error {
	var keys []factKey
	for _, t := range tellings {
		if b.facts[t.factKey] == nil {
			b.facts[t.factKey] = &fact{}
			keys = append(keys, t.factKey)
		}
	}
	if err := b.w.load(creditFacts, rowsOf(keys), func(row []any) error {
		f := restoreFact(row)
		*b.facts[f.factKey] = f
		return nil
	}); err != nil {
		return err
	}
	before := make(map[factKey]fact, len(keys))
	for _, k := range keys {
		before[k] = *b.facts[k]
	}
	for _, t := range tellings {
		b.facts[t.factKey].merge(t)
	}
	var changed [][]any
	for _, k := range keys {
		was, is := before[k], b.facts[k]
		if was == *is {
			continue
		}
		b.move(&was, is)
		changed = append(changed, is.row())
	}
	return b.w.upsert(creditFacts, changed)
}

// move takes what a fact was out of its cell and balance and puts what it is
// in. A copy that comes in does not count until its cell is settled.
func (b *ledgerBatch) move(was, is *fact) {
	if was.isUnseen() {
		b.cell(was.cell()).unseen--
	}
	if is.isUnseen() {
		b.cell(is.cell()).unseen++
	}
	stays := was.isCopy() && is.isCopy() && was.cell() == is.cell() && was.occurredAt == is.occurredAt
	if was.isCopy() && !stays {
		c := b.cell(was.cell())
		c.copies--
		if was.counts {
			c.counting--
		}
	}
	if is.isCopy() && !stays {
		c := b.cell(is.cell())
		c.copies++
		c.reordered = true
	}
	if !stays {
		is.counts = !is.isCopy()
	}
	if was.counts {
		b.add(was, -1)
	}
	if is.counts {
		b.add(is, +1)
	}
}

func (b *ledgerBatch) cell(k cellKey) *cell {
	if b.cells[k] == nil {
		b.cells[k] = &cell{}
	}
	return b.cells[k]
}

// writeCells settles the cells that changed, in any order: each on its own.
func (b *ledgerBatch) writeCells([]telling) error {
	var keys []cellKey
	for k := range b.cells {
		keys = append(keys, k)
	}
	stored := map[cellKey]bool{}
	if err := b.w.load(creditCells, rowsOf(keys), func(row []any) error {
		was := cell{unseen: row[4].(int64), copies: row[5].(int64)}
		k := cellKey{row[0].(string), row[1].(string), row[2].(string), row[3].(string)}
		c := b.cells[k]
		c.counting += was.target()
		c.unseen += was.unseen
		c.copies += was.copies
		stored[k] = true
		return nil
	}); err != nil {
		return err
	}
	var written, empty [][]any
	for _, k := range keys {
		c := b.cells[k]
		if err := b.settle(k, c); err != nil {
			return err
		}
		switch {
		case c.unseen != 0 || c.copies != 0:
			written = append(written, append(k.row(), c.unseen, c.copies))
		case stored[k]:
			empty = append(empty, k.row())
		}
	}
	if err := b.w.upsert(creditCells, written); err != nil {
		return err
	}
	return b.w.remove(creditCells, empty)
}

const (
	copiesWhere = ` FROM credit_facts WHERE tenant_id = $1 AND kind = $2 AND entity_id = $3 AND amount = $4` +
		` AND on_ledger = 0 AND has_id = 0 AND counts = `
	firstCounting   = `SELECT entry_id, occurred_at` + copiesWhere + `1 ORDER BY occurred_at, entry_id LIMIT 1`
	lastNotCounting = `SELECT entry_id, occurred_at` + copiesWhere + `0 ORDER BY occurred_at DESC, entry_id DESC LIMIT 1`
	setCounts       = `UPDATE credit_facts SET counts = $1 WHERE tenant_id = $2 AND kind = $3 AND entry_id = $4`
)

// settle makes the right number of copies count, and of all copies the latest.
// One copy changes at a time: that is as many as the batch brought.
func (b *ledgerBatch) settle(k cellKey, c *cell) error {
	type place struct{ id, at string }
	set := func(p place, counts bool) error {
		f := &fact{telling: telling{factKey: factKey{k.tenant, k.kind, p.id}, entity: k.entity, amount: k.amount}}
		by := int64(-1)
		if counts {
			by = +1
		}
		c.counting += by
		b.add(f, by)
		return b.w.exec(setCounts, integer(counts), k.tenant, k.kind, p.id)
	}
	for c.counting != c.target() || c.reordered && c.counting > 0 {
		var first, last place
		var isFirst, isLast bool
		var err error
		if c.counting >= c.target() {
			if isFirst, err = b.w.one(firstCounting, k.row(), &first.id, &first.at); err != nil {
				return err
			}
		}
		if c.counting <= c.target() {
			if isLast, err = b.w.one(lastNotCounting, k.row(), &last.id, &last.at); err != nil {
				return err
			}
		}
		switch {
		case c.counting > c.target() && isFirst:
			err = set(first, false)
		case c.counting < c.target() && isLast:
			err = set(last, true)
		case isFirst && isLast && cmp.Or(cmp.Compare(last.at, first.at), cmp.Compare(last.id, first.id)) > 0:
			if err = set(first, false); err == nil {
				err = set(last, true)
			}
		default:
			c.reordered = false
			if c.counting != c.target() {
				err = fmt.Errorf("cell of %s: %d copies count, want %d", k.entity, c.counting, c.target())
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// balanceKey is the primary key of credit_balances.
type balanceKey struct{ tenant, entity string }

func (k balanceKey) row() []any { return []any{k.tenant, k.entity} }

type balance struct {
	allocated, consumed decimal.Decimal
	newest              version
	changed             bool
}

func (b *ledgerBatch) balance(k balanceKey) *balance {
	if b.balances[k] == nil {
		b.balances[k] = &balance{}
	}
	return b.balances[k]
}

// add counts a fact (by 1) or takes it out (by -1).
func (b *ledgerBatch) add(f *fact, by int64) {
	amount := decimal.RequireFromString(f.amount).Mul(decimal.NewFromInt(by))
	sum := b.balance(balanceKey{f.tenant, f.entity})
	sum.changed = true
	if f.kind == "allocated" {
		sum.allocated = sum.allocated.Add(amount)
	} else {
		sum.consumed = sum.consumed.Add(amount)
	}
}

// writeBalances keeps a row for every entity that any event told of, so that
// the rows do not depend on what was believed in between.
func (b *ledgerBatch) writeBalances(tellings []telling) error {
	for _, t := range tellings {
		sum := b.balance(balanceKey{t.tenant, t.entity})
		if t.version.compare(sum.newest) > 0 {
			sum.newest = t.version
		}
	}
	var keys []balanceKey
	for k := range b.balances {
		keys = append(keys, k)
	}
	stored := map[balanceKey]bool{}
	if err := b.w.load(creditBalances, rowsOf(keys), func(row []any) error {
		k := balanceKey{row[0].(string), row[1].(string)}
		sum := b.balances[k]
		stored[k] = true
		allocated, err1 := decimal.NewFromString(row[2].(string))
		consumed, err2 := decimal.NewFromString(row[3].(string))
		newest, err3 := parseVersion(row[5].(string))
		if err := cmp.Or(err1, err2, err3); err != nil {
			return err
		}
		sum.allocated = sum.allocated.Add(allocated)
		sum.consumed = sum.consumed.Add(consumed)
		if sum.newest.compare(newest) > 0 {
			sum.changed = true
		} else {
			sum.newest = newest
		}
		return nil
	}); err != nil {
		return err
	}
	var written [][]any
	for _, k := range keys {
		if sum := b.balances[k]; sum.changed || !stored[k] {
			written = append(written, append(k.row(), sum.allocated.String(), sum.consumed.String(),
				sum.allocated.Sub(sum.consumed).String(), sum.newest.String()))
		}
	}
	return b.w.upsert(creditBalances, written)
}

func rowsOf[K interface{ row() []any }](keys []K) [][]any {
	rows := make([][]any, len(keys))
	for i, k := range keys {
		rows[i] = k.row()
	}
	return rows
}
