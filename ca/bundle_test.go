package ca

import (
	"crypto/rand"
	"testing"
)

// A bundle verifies the links in it and the list.
func TestBundleVerifies(t *testing.T) {
	c := newChain(t)
	good := c.bundle(t, 3)
	if b, err := ParseBundle(good.Encode()); err != nil || b.Epoch() != 3 || b.Newest() != c.anchor(3) || b.List.Number != 4 {
		t.Fatalf("%+v, %v", b, err)
	}
	for name, change := range map[string]func(b *Bundle){
		"another anchor":            func(b *Bundle) { b.Anchor = c.anchor(2) },
		"a link left out":           func(b *Bundle) { b.Links = b.Links[1:] },
		"a link twice":              func(b *Bundle) { b.Links = []*Link{b.Links[0], b.Links[0]} },
		"the last link left out":    func(b *Bundle) { b.Links = b.Links[:1] }, // the list is of root 3
		"a list of an older root":   func(b *Bundle) { b.List = c.bundle(t, 2).List },
		"another authority's links": func(b *Bundle) { b.Anchor = newAnchor(RootName{1, 1}, &c[1].PublicKey, &c[5].PublicKey) },
	} {
		b := *good
		change(&b)
		_, err := ParseBundle(b.Encode())
		wantError(t, name, err, ErrVerify)
	}
	cut := *good
	cut.Links = []*Link{{Object: good.Links[0].Object[1:]}}
	_, err := ParseBundle(cut.Encode())
	wantError(t, "a link cut", err, ErrMalformed)
	cut.Links, cut.List = good.Links, &StatusList{Object: good.List.Object[1:]}
	_, err = ParseBundle(cut.Encode())
	wantError(t, "a list cut", err, ErrMalformed)
}

func TestBundleJudges(t *testing.T) {
	c := newChain(t)
	b := c.bundle(t, 2)
	listed := c.order(t, 2, 5)
	b.Links = append(b.Links, c.link(t, 3, listed))
	impostor := append(chain{c[0], c[1], c[2]}, newKey(t))
	for _, test := range []struct {
		name string
		o    *OrderCertificate
		want error
	}{
		{"the newest root's", c.order(t, 3, 3), nil},
		{"a closed root's", listed, nil},
		{"a closed root's that the link does not list", c.order(t, 2, 9), ErrClosedRoot},
		{"a later root's", c.order(t, 4, 3), ErrUnknownRoot},
		{"another key's", impostor.order(t, 3, 3), ErrVerify},
	} {
		wantError(t, test.name, b.VerifyOrder(test.o), test.want)
	}
	productive := *b
	productive.Anchor[0], productive.Links = 0, nil
	wantError(t, "a test order, to a production bundle", productive.VerifyOrder(c.order(t, 1, 1)), ErrVerify)
	list, err := SignStatusList(rand.Reader, c[3], c.anchor(3), StatusList{
		Number: 5, Orders: []OrderName{{1, 3, 0, 7}}, Ranges: []Range{{0x110, 0x120}}, Serials: []EUI64{0x105},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.List = list
	for _, test := range []struct {
		order         OrderName
		serial        EUI64
		revoked, held bool
	}{
		{OrderName{1, 3, 0, 1}, 0x104, false, false},
		{OrderName{1, 3, 0, 1}, 0x105, true, false},
		{OrderName{1, 3, 0, 1}, 0x110, false, true},
		{OrderName{1, 3, 0, 1}, 0x120, false, true},
		{OrderName{1, 3, 0, 1}, 0x121, false, false},
		{OrderName{1, 3, 0, 7}, 0x104, false, true},
		{OrderName{1, 2, 0, 7}, 0x104, false, false},
	} {
		var revoked, welcome error
		if test.revoked {
			revoked = ErrRevoked
		}
		if test.revoked || test.held {
			welcome = ErrRevoked
		}
		wantError(t, "revoked", b.Revoked(test.serial), revoked)
		wantError(t, "welcome", b.Welcome(test.order, test.serial), welcome)
		if b.Holds(test.order, test.serial) != test.held {
			t.Errorf("%x, %v is held", test.order, test.serial)
		}
	}
	b.List = nil
	if b.Revoked(0x105) != nil || b.Holds(OrderName{1, 3, 0, 7}, 0x110) || b.Welcome(OrderName{1, 3, 0, 7}, 0x110) != nil {
		t.Error("without a list somebody is listed")
	}
}

// A station works under what its bundle admits.
func TestAdmitOrder(t *testing.T) {
	w := newWorks(t)
	one := w.firstOrder(t, 10)
	old := w.authority.Bundle
	w.rotate(t)
	two := w.sign(t, w.requestNow(t, 10))
	if err := w.authority.Revoke(rand.Reader, w.root, RevokeRequest{Orders: []uint16{1}}); err != nil {
		t.Fatal(err)
	}
	other := newWorks(t).firstOrder(t, 10)
	wantError(t, "a root that an old bundle does not know", old.AdmitOrder(two), ErrUnknownRoot)
	wantError(t, "an order that an old bundle does not know to be listed", old.AdmitOrder(one), nil)
	wantError(t, "a listed order", w.authority.AdmitOrder(one), ErrRevoked)
	wantError(t, "the new order", w.authority.AdmitOrder(two), nil)
	wantError(t, "another authority's", w.authority.AdmitOrder(other), ErrVerify)
}

// What follows the bundle, or is in it, is good; what a unit with the bundle would refuse is not.
func TestBundleJudgesObjects(t *testing.T) {
	c := newChain(t)
	b := c.bundle(t, 2)
	wantError(t, "its own link", b.VerifyLink(b.Links[0]), nil)
	wantError(t, "the next link", b.VerifyLink(c.link(t, 3)), nil)
	wantError(t, "another link to root 2", b.VerifyLink(c.link(t, 2, c.order(t, 1, 9))), ErrVerify)
	wantError(t, "a gap", b.VerifyLink(c.link(t, 4)), ErrVerify)
	list := func(epoch int, number uint32) *StatusList {
		l, err := SignStatusList(rand.Reader, c[epoch], c.anchor(epoch), StatusList{Number: number, Serials: []EUI64{EUI64(number)}})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	wantError(t, "its own list", b.VerifyList(b.List), nil)
	wantError(t, "a newer list", b.VerifyList(list(2, b.List.Number+1)), nil)
	wantError(t, "another of its number", b.VerifyList(list(2, b.List.Number)), ErrVerify)
	wantError(t, "an older list", b.VerifyList(list(2, b.List.Number-1)), ErrVerify)
	wantError(t, "an older root's list", b.VerifyList(list(1, b.List.Number+1)), ErrVerify)
	wantError(t, "a later root's list", b.VerifyList(list(3, 0)), ErrVerify)
	b.List = nil
	wantError(t, "the first list", b.VerifyList(list(2, 0)), nil)
	wantError(t, "an older root's first list", b.VerifyList(list(1, 0)), ErrVerify)
}

func TestVerifyPeer(t *testing.T) {
	w := newWorks(t)
	order := w.firstOrder(t, 3)
	o := order.Certificate
	u := w.issue(t, order, newKey(t), o.Range.First).Certificate
	b := w.authority.Bundle
	stranger := *w.profile
	stranger.Peers = []uint32{o.Product + 1}
	wantError(t, "a peer", b.VerifyPeer(o, u, w.profile), nil)
	wantError(t, "a product that talks to others", b.VerifyPeer(o, u, &stranger), ErrVerify)
	if err := w.authority.Revoke(rand.Reader, w.root, RevokeRequest{Orders: []uint16{1}}); err != nil {
		t.Fatal(err)
	}
	wantError(t, "held", w.authority.VerifyPeer(o, u, w.profile), ErrRevoked)
	wantError(t, "held, and good", w.authority.VerifyUnit(o, u), nil)
	if err := w.authority.Revoke(rand.Reader, w.root, RevokeRequest{Serials: []EUI64{u.Serial}}); err != nil {
		t.Fatal(err)
	}
	wantError(t, "revoked", w.authority.VerifyPeer(o, u, w.profile), ErrRevoked)
}
