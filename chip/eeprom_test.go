package chip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chip")
	d, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 || info.Size() != imageSize {
		t.Errorf("file: %v, %v", info, err)
	}
	if _, err := Open(path, Options{}); !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Errorf("second Open: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err = Open(path, Options{}); err != nil {
		t.Fatal(err)
	}
	d.Close()

	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, make([]byte, imageSize-1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(short, Options{}); err == nil {
		t.Error("a short file was opened")
	}
	if _, err := Open(filepath.Join(short, "nowhere"), Options{}); err == nil {
		t.Error("a path below a file was opened")
	}
}

// TestFileFails: when the disk takes no more, the chip falls silent and Close says why.
func TestFileFails(t *testing.T) {
	d, err := Open(filepath.Join(t.TempDir(), "chip"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := host{t, d}
	h.Wake()
	d.eeprom.file.Close()
	if got := h.Exchange(wrap(byte(opLock), lockConfig|lockNoCRC, 0, 0)); got != nil {
		t.Errorf("Lock gives % x", got)
	}
	h.PowerUp()
	if got := h.Wake(); got != nil {
		t.Errorf("wake gives % x", got)
	}
	if err := d.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Close: %v", err)
	}
}

// supply is a power supply that fails before the EEPROM byte that comes after the next n.
type supply struct {
	armed bool
	n     int
}

func (s *supply) cut(int) bool {
	if !s.armed {
		return false
	}
	s.n--
	return s.n < 0
}

// TestPowerCut cuts the supply at each byte that a command writes. The chip must be silent, be the same
// from its file as from its memory, and be in a state that check accepts; then the command must work.
func TestPowerCut(t *testing.T) {
	block := bytes.Repeat([]byte{0xB1}, 32)
	tests := []struct {
		name   string
		op     opcode
		mode   byte
		param2 uint16
		data   []byte
		bytes  int // that the command writes
		check  func(h host, before []byte, cut int)
	}{
		{"GenKey", opGenKey, genKeyPrivate, 2, nil, 37, func(h host, before []byte, cut int) {
			if cut == 0 {
				h.get(64, opGenKey, genKeyPublic, 2)
			} else {
				h.want(executionError, opGenKey, genKeyPublic, 2) // no key rather than half of one
			}
		}},
		{"Write", opWrite, zoneBlock | zoneData, 8 << 3, block, 32, func(h host, before []byte, cut int) {
			got := h.get(32, opRead, zoneBlock|zoneData, 8<<3)
			if want := append(block[:cut:cut], before[slotStart(8)+cut:slotStart(8)+32]...); !bytes.Equal(got, want) {
				h.t.Errorf("cut at %d: slot holds % x", cut, got)
			}
		}},
		{"Counter", opCounter, 1, 1, nil, 8, func(h host, before []byte, cut int) {
			old := decodeCounter(before[atCounter+8:])
			got := binary.LittleEndian.Uint32(h.get(4, opCounter, 0, 1))
			if got != old && got != old+1 {
				h.t.Errorf("cut at %d: counter went from %d to %d", cut, old, got)
			}
		}},
		{"Lock", opLock, lockSlot | 8<<2, 0, nil, 1, func(h host, _ []byte, _ int) {
			h.want(success, opWrite, zoneBlock|zoneData, 8<<3, block...)
		}},
	}
	l := product()
	l[2].slot, l[2].key = 0x2081, 0x0013
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &supply{}
			path := filepath.Join(t.TempDir(), "chip")
			locked := locked(t, l)
			if err := os.WriteFile(path, locked.eeprom.image[:], 0o600); err != nil {
				t.Fatal(err)
			}
			d, err := Open(path, Options{Cut: s.cut})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			h := host{t, d}
			body := binary.LittleEndian.AppendUint16([]byte{byte(tt.op), tt.mode}, tt.param2)
			command := wrap(append(body, tt.data...)...)
			for cut := range tt.bytes {
				before := d.eeprom.image
				*s = supply{armed: true, n: cut}
				h.Wake()
				if got := h.Exchange(command); got != nil {
					t.Fatalf("cut at %d: the chip answers % x", cut, got)
				}
				if got := h.Wake(); got != nil {
					t.Fatalf("cut at %d: wake without supply gives % x", cut, got)
				}
				file, err := os.ReadFile(path)
				if err != nil || !bytes.Equal(file, d.eeprom.image[:]) {
					t.Fatalf("cut at %d: the file is not the memory's image (%v)", cut, err)
				}
				s.armed = false
				h.PowerUp()
				h.Wake()
				tt.check(h, before[:], cut)
			}
			*s = supply{armed: true, n: tt.bytes}
			h.fresh()
			if got := h.Exchange(command); got == nil {
				t.Fatalf("the command writes more than %d bytes", tt.bytes)
			}
		})
	}
}

// TestCounterPowerCut cuts each byte of each count through every turn of the two thermometers: no count
// is lost or skipped.
func TestCounterPowerCut(t *testing.T) {
	for value := range uint32(100) {
		for cut := range 9 {
			s := &supply{armed: true, n: cut}
			e := &eeprom{cut: s.cut}
			encodeCounter(e.image[atCounter:], value)
			e.countUp(0)
			if got := e.count(0); got != value && got != value+1 {
				t.Fatalf("count %d cut at byte %d became %d", value, cut, got)
			}
			torn := e.count(0)
			e.cut, e.err = nil, nil
			if !e.countUp(0) || e.count(0) != torn+1 {
				t.Fatalf("count %d cut at byte %d: %d then counts to %d", value, cut, torn, e.count(0))
			}
		}
	}
}
