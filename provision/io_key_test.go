//go:build cgo

package provision

import (
	"bytes"
	"os"
	"testing"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/link/sim"
)

// Chips with an IO protection key and chips without are two products' chips: a unit whose firmware makes, or whose chip has, what the
// profile does not want is set aside as it is.
func TestIOKey(t *testing.T) {
	for _, protected := range []bool{false, true} {
		profile := demoProfile(t)
		if protected {
			profile = demoProfile(t, `options: "0000"`, `options: "6102"`)
		}
		f := newFactoryWith(t, 10, ca.InitRequest{Test: true, RootURI: "root.key", NextURI: "next.key"}, profile)
		s := f.station()
		good := f.unit(sim.Options{})
		f.pass(s, good)

		image := f.image()
		image.IOKey = !protected
		other := f.unit(sim.Options{Image: image})
		f.fail(s, other.Port(), Hello, ErrSetAside, ca.ErrPolicy)
		if i := f.inspect(other); i.State != link.Blank || i.Locks.Configuration() {
			t.Errorf("protected %t: a unit of another firmware was changed: %+v", protected, i)
		}
		if r := (&GoodsIn{Profile: profile, Begun: f.begun("begun.txt"), Baud: 115200}).at(t, other.Port())[0]; r.Captured != nil || r.Stage != Hello {
			t.Errorf("protected %t: goods-in took a unit of another firmware: %v", protected, r.Err)
		}

		prepareAlone(t, other)
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		rebuilt := f.unit(sim.Options{Dir: f.dir, Index: 2, Image: f.image()})
		f.fail(s, rebuilt.Port(), Hello, ErrSetAside)
		f.audit(good)
	}
}

// prepareAlone takes a unit through stage 2 and no further.
func prepareAlone(t *testing.T, u *sim.Unit) {
	t.Helper()
	port, err := link.Open(u.Port(), 115200)
	if err != nil {
		t.Fatal(err)
	}
	c := link.Dial(port)
	defer c.Close()
	if _, err := c.Hello(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A chip that comes to another board, or back to one whose flash was erased, is set aside before it gets a serial number.
func TestIOKeyLost(t *testing.T) {
	f := newFactoryWith(t, 10, ca.InitRequest{Test: true, RootURI: "root.key", NextURI: "next.key"}, demoProfile(t, `options: "0000"`, `options: "6102"`))
	s := f.station()
	u := f.unit(sim.Options{})
	prepareAlone(t, u)
	if err := u.Unplug(); err != nil {
		t.Fatal(err)
	}
	flash := f.dir + "/unit-01.flash"
	kept, err := os.ReadFile(flash)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(flash, bytes.Repeat([]byte{0xFF}, len(kept)), 0o600); err != nil {
		t.Fatal(err)
	}
	f.plug(u)
	f.fail(s, u.Port(), Prepare, ErrSetAside)
	f.auditBook(0)
	if err := u.Unplug(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(flash, kept, 0o600); err != nil {
		t.Fatal(err)
	}
	f.plug(u)
	f.pass(s, u)
	f.audit(u)
}
