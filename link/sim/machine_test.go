//go:build cgo

package sim

import (
	"bytes"
	"crypto/sha256"
	"sync"
	"testing"

	"github.com/birthmark/birthmark/link"
)

// The firmware as machine code goes through what the line does to a unit, with its power cut after each stage.
func TestMachine(t *testing.T) {
	s := &station{t: t, authority: newAuthority(t)}
	o := MachineOptions{Dir: t.TempDir(), Index: 7, Firmware: buildFirmware(t), Image: s.authority.image(), Console: new(console)}
	power := func() *Machine {
		t.Helper()
		m, err := StartMachine(o)
		if err != nil {
			t.Fatal(err)
		}
		s.port = m.Port()
		t.Cleanup(func() { m.Kill() })
		return m
	}
	m := power()
	if err := s.dial(); err != nil || s.hello.State != link.Blank {
		t.Fatalf("hello: %+v, %v; console: %s", s.hello, err, o.Console)
	}
	if image, err := Firmware(o.Firmware, o.Image); err != nil || s.hello.Firmware != sha256.Sum256(image) {
		t.Errorf("firmware %x is not the image's hash: %v", s.hello.Firmware, err)
	}
	for _, stage := range stages {
		if err := stage.run(s, t.Context()); err != nil {
			t.Fatalf("%s: %v", stage.name, err)
		}
		s.hangUp()
		if err := m.Kill(); err != nil {
			t.Fatal(err)
		}
		m = power()
		if err := s.dial(); err != nil || s.hello.State != stage.then {
			t.Fatalf("after %s: %+v, %v", stage.name, s.hello, err)
		}
	}
	s.hangUp()
}

// console keeps what a machine says.
type console struct {
	mutex sync.Mutex
	said  bytes.Buffer
}

func (c *console) Write(b []byte) (int, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.said.Write(b)
}

func (c *console) String() string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.said.String()
}
