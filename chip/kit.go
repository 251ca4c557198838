package chip

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The kit protocol: one line of text each way, target:command[:sub](hex) and status(hex). The first letter of a target or
// command decides, in either case; there is no checksum beyond the groups' own.
const maxKitLine = 512 // characters

// Statuses of a reply. Hosts tell 00 from the rest; what else kits send is in no public document.
const (
	kitGood    = 0x00
	kitUnknown = 0xE2 // not understood
	kitSilent  = 0xE7 // the chip does not answer
)

// Kit is a kit board with one chip on it.
type Kit struct{ device *Device }

// NewKit puts a chip on a kit board.
func NewKit(d *Device) *Kit { return &Kit{d} }

// Serve answers on a line until that ends: nil for its orderly end.
func (k *Kit) Serve(line io.ReadWriter) error {
	in := bufio.NewReaderSize(line, maxKitLine)
	for {
		request, err := in.ReadSlice('\n')
		tooLong := false
		for errors.Is(err, bufio.ErrBufferFull) {
			tooLong = true
			_, err = in.ReadSlice('\n')
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		answer := reply(kitUnknown, nil)
		if !tooLong {
			answer = k.Answer(string(request))
		}
		if _, err := io.WriteString(line, answer); err != nil {
			return err
		}
	}
}

// Answer gives the reply to one request, with its line feed.
func (k *Kit) Answer(request string) string {
	request, _, _ = strings.Cut(strings.ToLower(request), "\n")
	path, argument, opened := strings.Cut(strings.TrimSuffix(request, "\r"), "(")
	argument, closed := strings.CutSuffix(argument, ")")
	bytes, err := hex.DecodeString(argument)
	names := strings.Split(path, ":")
	for _, name := range names {
		if name == "" {
			return reply(kitUnknown, nil)
		}
	}
	if !opened || !closed || err != nil || len(names) < 2 {
		return reply(kitUnknown, nil)
	}
	switch {
	case names[0][0] == 'b' && len(names) == 2 && names[1][0] == 'd':
		return k.listed(bytes)
	case names[0][0] != 'e':
		return reply(kitUnknown, nil)
	case len(names) == 3 && names[1][0] == 'p' && names[2][0] == 's':
		if len(bytes) != 1 || bytes[0] != k.address() {
			return reply(kitSilent, nil)
		}
		return reply(kitGood, nil)
	case len(names) == 2:
		return k.command(names[1][0], bytes)
	}
	return reply(kitUnknown, nil)
}

// listed is the line about one of the places on the board, of which the first has the chip.
func (k *Kit) listed(place []byte) string {
	if len(place) == 1 && place[0] == 0 {
		return fmt.Sprintf("ECC608 TWI 00(%02X)\n", k.address())
	}
	return reply(kitSilent, nil)
}

func (k *Kit) address() byte { return k.device.eeprom.image[atI2CAddress] }

// command is one to the chip: wake, idle, sleep, or talk with a command group.
func (k *Kit) command(letter byte, group []byte) string {
	if (letter == 't') == (len(group) == 0) {
		return reply(kitUnknown, nil)
	}
	var answer []byte
	switch letter {
	case 'i':
		k.device.Idle()
		return reply(kitGood, nil)
	case 's':
		k.device.Sleep()
		return reply(kitGood, nil)
	case 'w':
		answer = k.device.Wake()
	case 't':
		answer = k.device.Exchange(group)
	default:
		return reply(kitUnknown, nil)
	}
	if answer == nil {
		return reply(kitSilent, nil)
	}
	return reply(kitGood, answer)
}

func reply(status byte, answer []byte) string { return fmt.Sprintf("%02X(%X)\n", status, answer) }
