package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// audit walks the journal and follows what it says.
type audit struct {
	tip    tip
	orders map[uint16]*permit
	states map[uint64]State
	books  map[int64][]byte // content of each import not met yet, by its journal row
	tree   []tlog.Hash      // the log's hashes as its leaves make them
	size   int64            // leaves
}

// permit is an order and what the journal has said of it so far.
type permit struct {
	Order
	added bool
	used  uint64
}

// claim is a journal row with the unit and the certificate that it speaks of.
type claim struct {
	line
	sequence int64
	chain    [32]byte
	number   sql.Null[uint16] // of the order, in rows that add one
	unit     Entry
	hasUnit  bool
}

func (b *Book) newAudit(ctx context.Context, tx *sql.Tx) (*audit, error) {
	id, err := readIdentity(ctx, tx)
	if err != nil {
		return nil, err
	}
	if id != b.identity {
		return nil, tampered("book row is not the one that was opened")
	}
	a := &audit{tip: id.start(), orders: make(map[uint16]*permit), states: make(map[uint64]State)}
	list, err := orders(ctx, tx)
	if err != nil {
		return nil, err
	}
	for _, o := range list {
		a.orders[o.Number] = &permit{Order: o}
	}
	a.books, err = importedContents(ctx, tx)
	return a, err
}

func (a *audit) journal(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, `
SELECT j.sequence, j.event, j.serial, j.order_number, j.time, j.details, j.chain,
	u.serial IS NOT NULL, u.serial, u.order_number, u.chip, u.key, u.issued_at, c.leaf, c.certificate, c.x509
FROM journal j LEFT JOIN units u ON u.serial = j.serial LEFT JOIN certificates c ON c.serial = j.serial AND j.event = ?
ORDER BY j.sequence`, Committed)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var c claim
		var order sql.Null[uint16]
		var issuedAt, leaf sql.NullInt64
		u := &c.unit
		err := rows.Scan(&c.sequence, &c.event, &c.serial, &c.number, &c.time, &c.details, blob(c.chain[:]),
			&c.hasUnit, (*number64)(&u.Serial), &order, blob(u.Chip[:]), blob(u.Key[:]), &issuedAt, &leaf, &u.Certificate, &u.X509)
		if err != nil {
			return err
		}
		u.Order, u.IssuedAt, u.Leaf = order.V, time.Unix(issuedAt.Int64, 0), leaf.Int64
		if err := a.follow(c); err != nil {
			return fmt.Errorf("journal row %d (%s): %w", c.sequence, c.name(), err)
		}
	}
	return rows.Err()
}

func (c claim) name() string {
	switch {
	case c.number.Valid:
		return fmt.Sprintf("order %d added", c.number.V)
	case c.serial != nil:
		return fmt.Sprintf("serial %x %s", c.serial, c.event)
	}
	return c.event.String()
}

// follow checks one row against its chain, then what it says against all before it.
func (a *audit) follow(c claim) error {
	if c.sequence != a.tip.sequence+1 {
		return tampered("row %d is missing", a.tip.sequence+1)
	}
	var err error
	if c.content, err = a.content(c); err != nil {
		return err
	}
	next := a.tip.next(c.line)
	if next.chain != c.chain {
		return tampered("it, or a row that it wrote, is not as it was written")
	}
	if c.time < a.tip.time {
		return tampered("time runs backwards")
	}
	a.tip = next
	switch c.event {
	case orderAdded:
		return a.add(a.orders[c.number.V])
	case bookImported:
		return nil
	}
	return a.advance(c)
}

// content builds again what the row's event wrote elsewhere, see tip.
func (a *audit) content(c claim) ([]byte, error) {
	switch c.event {
	case orderAdded:
		order := a.orders[c.number.V]
		if order == nil {
			return nil, tampered("its row of orders is missing")
		}
		return order.content(), nil
	case bookImported:
		content := a.books[c.sequence]
		delete(a.books, c.sequence)
		return content, nil
	}
	if !c.hasUnit {
		return nil, tampered("its row of units is missing")
	}
	switch State(c.event) {
	case Reserved:
		return c.unit.content(), nil
	case Committed:
		if c.unit.Certificate == nil {
			return nil, tampered("its row of certificates is missing")
		}
		return c.unit.leaf(a.tip.chain), nil
	}
	return c.serial, nil
}

func (a *audit) add(order *permit) error {
	if err := order.check(); err != nil {
		return tampered("%v", err)
	}
	for _, o := range a.orders {
		if o.added && o.First <= order.Last && order.First <= o.Last {
			return tampered("its range touches that of order %d", o.Number)
		}
	}
	order.added = true
	return nil
}

// advance follows the state machine of one unit.
func (a *audit) advance(c claim) error {
	from, to := a.states[c.unit.Serial], State(c.event)
	a.states[c.unit.Serial] = to
	switch {
	case to == Reserved && from == 0:
		return a.reserve(c)
	case to == Committed && from == Reserved:
		return a.commit(c)
	case to == Closed && from == Committed, to == Void && (from == Reserved || from == Committed):
		return nil
	}
	return tampered("%s cannot follow %s", to, from)
}

func (a *audit) reserve(c claim) error {
	order := a.orders[c.unit.Order]
	switch {
	case order == nil || !order.added:
		return tampered("order %d was not added before", c.unit.Order)
	case order.used >= order.Count || c.unit.Serial != order.First+order.used:
		return tampered("not the next serial number of order %d", order.Number)
	case c.unit.IssuedAt.Unix() != c.time:
		return tampered("issue time is not the reservation's")
	}
	order.used++
	return nil
}

func (a *audit) commit(c claim) error {
	if c.unit.Leaf != a.size {
		return tampered("leaf %d is not the next", c.unit.Leaf)
	}
	hashes, err := tlog.StoredHashes(a.size, c.content, a.reader())
	if err != nil {
		return err
	}
	a.tree = append(a.tree, hashes...)
	a.size++
	return nil
}

func (a *audit) reader() tlog.HashReader {
	return tlog.HashReaderFunc(func(positions []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(positions))
		for i, p := range positions {
			hashes[i] = a.tree[p]
		}
		return hashes, nil
	})
}
