package provision

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/link"
)

// spotCheck is how often false peers try a unit's judgement: on the first serial number of an order and on every hundredth
// after it, and on each until the order has a finished unit. It shows that the firmware refuses, which one unit in a
// hundred shows as well as all, for two handshakes more.
const spotCheck = 100

// badge is what one side shows of itself in a handshake, and the key behind it.
type badge struct {
	id         []byte // ID_CRED_x
	credential []byte // CRED_x
	key        *ecdsa.PrivateKey
}

// shift is the station's own badge, the same for all units of a run: the key is made in memory when the first unit asks
// for it and goes with the process.
type shift struct {
	sync.Mutex
	badge *badge
}

// badge gives the station's badge, which the order key signs on the first call.
func (u *unit) badge() (badge, error) {
	s := u.station
	s.shift.Lock()
	defer s.shift.Unlock()
	if s.shift.badge != nil {
		return *s.shift.badge, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return badge{}, err
	}
	certificate, err := s.Order.SignStation(rand.Reader, &u.key, &key.PublicKey, s.Test, s.Now())
	switch {
	case errors.Is(err, ca.ErrPolicy):
		return badge{}, err
	case err != nil:
		return badge{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	s.shift.badge = &badge{ca.IDCred(certificate, s.Order.Certificate), certificate.Raw, key}
	return *s.shift.badge, nil
}

// shake makes a full handshake (RFC 9528, method 0) with the unit that was just installed: it shows the very certificates
// of its record, proves its key, and accepts the station, which it does before the seal alone. Where the spot check falls on
// it, false peers follow, which it must refuse.
func (u *unit) shake(ctx context.Context, i installed) (shaken, error) {
	u.begin(Handshake)
	own, err := u.badge()
	if err != nil {
		return shaken{}, err
	}
	other := counterpart{u.conversation, u.chip, i.certificate, u.station.Order.Certificate}
	turn, err := other.meet(ctx, own)
	switch {
	case err != nil:
		return shaken{}, err
	case turn.Outcome == link.Failed && turn.Check != 0:
		return shaken{}, fmt.Errorf("chip %x refuses the station's certificate: %v: %w", u.chip, turn.Check, ErrSetAside)
	case turn.Outcome == link.Failed:
		return shaken{}, fmt.Errorf("chip %x refuses the station's message_3: %w", u.chip, ErrRetry)
	}
	wanted, err := u.spotChecked(ctx, i.recorded)
	if err != nil || !wanted {
		return shaken{installed: i}, err
	}
	return shaken{i, true}, u.tryFalsePeers(ctx, own, other)
}

func (u *unit) spotChecked(ctx context.Context, r recorded) (bool, error) {
	order := u.station.Order
	if (r.Serial-uint64(order.Certificate.Range.First))%spotCheck == 0 {
		return true, nil
	}
	summary, err := u.station.Book.Summary(ctx, order.Number())
	return summary.Closed == 0, err
}

// tryFalsePeers lets a unit that has just accepted the station meet two that are not: one with certificates of its own
// making, and one with the station's, which are no secret, but not its key.
func (u *unit) tryFalsePeers(ctx context.Context, own badge, other counterpart) error {
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	station, order, err := u.station.Order.ForgeStation(rand.Reader, &stranger.PublicKey, u.station.Now())
	if err != nil {
		return err
	}
	for _, peer := range []struct {
		shows string
		badge
	}{
		{"certificates that it made itself", badge{ca.IDCred(station, order), station.Raw, stranger}},
		{"the station's certificate without its key", badge{own.id, own.credential, stranger}},
	} {
		turn, err := other.meet(ctx, peer.badge)
		if err != nil {
			return err
		}
		if turn.Outcome != link.Failed {
			return fmt.Errorf("chip %x accepts a peer that shows %s: %w", u.chip, peer.shows, ErrSetAside)
		}
	}
	return nil
}

// counterpart is a unit that must have the key of a certificate.
type counterpart struct {
	*link.Conversation
	chip        [9]byte
	certificate *ca.UnitCertificate
	order       *ca.OrderCertificate
}

// meet leads a handshake as Initiator, until the unit has proven itself and judged the badge: Complete, and then its
// message_4 is good too, or Failed.
func (c counterpart) meet(ctx context.Context, own badge) (link.Turn, error) {
	h, err := c.knock(ctx, own)
	if err != nil {
		return link.Turn{}, err
	}
	defer h.Close()
	message, err := h.Write()
	if err != nil {
		return link.Turn{}, err
	}
	turn, err := c.Handshake(ctx, 3, message)
	if err != nil {
		return link.Turn{}, fault(err)
	}
	if turn.Outcome == link.Complete {
		if err := h.Read(turn.Message); err != nil {
			return link.Turn{}, fmt.Errorf("chip %x does not confirm the handshake: %w: %w", c.chip, err, ErrSetAside)
		}
	}
	return turn, nil
}

// noMessage3 is an EDHOC error message: unspecified, with a text (RFC 9528, section 6.2).
const noMessage3 = "\x01\x6ano message3"

// prove has a unit that accepts no station prove its key all the same, which message_2 does, and then breaks off.
func (c counterpart) prove(ctx context.Context) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	h, err := c.knock(ctx, badge{id: []byte{0x00}, credential: []byte{0x00}, key: key}) // nobody is told these
	if err != nil {
		return err
	}
	h.Close()
	if _, err := c.Handshake(ctx, 3, []byte(noMessage3)); err != nil {
		return fault(err)
	}
	return nil
}

// knock begins a handshake as Initiator and reads message_2, in which the unit shows its certificates and proves its key: the
// signature covers the fresh keys of both sides. Whoever calls it closes the handshake.
func (c counterpart) knock(ctx context.Context, own badge) (*device.Handshake, error) {
	h, err := device.NewHandshake(device.Initiator, device.HandshakeConfig{
		Identity:   own.key,
		ID:         own.id,
		Credential: own.credential,
		Resolve:    c.resolve,
		Methods:    1 << 0,
		Suites:     []byte{2, 3},
		Connection: []byte{0x00},
	})
	if err != nil {
		return nil, err
	}
	if err := c.exchange(ctx, h); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// exchange carries message_1 and message_2.
func (c counterpart) exchange(ctx context.Context, h *device.Handshake) error {
	message, err := h.Write()
	if err != nil {
		return err
	}
	turn, err := c.Handshake(ctx, 1, message)
	if err != nil {
		return fault(err)
	}
	if turn.Outcome == link.Failed {
		return fmt.Errorf("chip %x refuses message_1: %w", c.chip, ErrRetry)
	}
	if err := h.Read(turn.Message); err != nil {
		return fmt.Errorf("chip %x does not prove in the handshake that it holds the key of its certificate: %w: %w", c.chip, err, ErrSetAside)
	}
	return nil
}

// resolve accepts the certificates of this unit and no others.
func (c counterpart) resolve(attempt int, id []byte) (credential []byte, key [64]byte, err error) {
	if attempt > 0 || !bytes.Equal(id, ca.IDCred(c.certificate, c.order)) {
		return nil, key, device.ErrAuth
	}
	public, err := c.certificate.Key.Bytes()
	if err != nil {
		return nil, key, err
	}
	return c.certificate.Raw, [64]byte(public[1:]), nil
}
