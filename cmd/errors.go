package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/c509"
	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/ceremony"
	"github.com/birthmark/birthmark/chip"
	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/fleet"
	"github.com/birthmark/birthmark/hsm"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/link/sim"
	"github.com/birthmark/birthmark/provision"
)

// Exit codes (docs/commands.md, "Exit codes"). No failure exits 0.
const (
	exitGood        = 0
	exitInternal    = 1
	exitUsage       = 2
	exitPolicy      = 3
	exitRetry       = 4
	exitSetAside    = 5
	exitPort        = 6
	exitHSM         = 7
	exitLedger      = 8
	exitVerify      = 9
	exitInterrupted = 130
)

var (
	errUsage  = errors.New("usage")
	errHSM    = errors.New("HSM")    // whatever package hsm said while a key was opened or tried
	errLedger = errors.New("ledger") // whatever package ledger said
	errPort   = errors.New("port")   // a port that this user may not open

	errRefused  = errors.New("refused")   // units of made fleets refused each other
	errCutShort = errors.New("cut short") // by a signal, what does not go on where it stopped
)

// usage is an error in what was typed or configured.
func usage(format string, args ...any) error { return coded{fmt.Errorf(format, args...), errUsage} }

// coded is an error with one more thing that it is, for the table below, and not one more word for people.
type coded struct {
	error
	kind error
}

func (c coded) Unwrap() []error { return []error{c.error, c.kind} }

func inHSM(err error) error    { return mark(err, errHSM) }
func inLedger(err error) error { return mark(err, errLedger) }

// atPort is for what a conversation with a unit ends with.
func atPort(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return mark(err, errPort)
	}
	return err
}

func mark(err, kind error) error {
	if err == nil {
		return nil
	}
	return coded{err, kind}
}

// outcomes sorts errors into exit codes, each with what the person should do. The first that fits decides, so what is
// particular stands before what is general.
var outcomes = []struct {
	is   error
	code int
	hint string
}{
	{errCutShort, exitInterrupted, "the answer has what was seen until then; the same command begins anew"},
	{context.Canceled, exitInterrupted, "nothing is lost: run the same command again, it goes on where it stopped"},

	{provision.ErrProvisioned, exitPolicy, "nothing was done to it; take the next unit, or look at this one with 'birthmark unit inspect --port PORT'"},
	{provision.ErrRefused, exitVerify, "look at both with 'birthmark unit inspect': units refuse who is of another authority or product, and what is revoked"},
	{fleet.ErrFault, exitSetAside, "put this unit into the red bin: nothing but its own record says whom it may talk to"},
	{fleet.ErrNotGenuine, exitVerify, "an impostor stays outside; if it should be a unit of yours, look at it with 'birthmark unit inspect'"},
	{fleet.ErrNotPaired, exitPolicy, "--hold UNIT releases a unit's pairing; --policy says with whom an open unit pairs"},
	{errRefused, exitVerify, "the reasons are in the answer; fleets that are to refuse each other exit 9 as well, and --json has the count of each cell"},
	{fleet.ErrSilent, exitRetry, "run the same command again"},
	{fleet.ErrNotProvisioned, exitPolicy, "provision it first: 'birthmark provision'"},
	{fleet.ErrSameUnit, exitUsage, "name two units"},
	{fleet.ErrNotMade, exitUsage, "name another path, or remove what is there: a fleet is made where nothing is, or goes on where it stopped"},
	{fleet.ErrUnfinished, exitVerify, "start the same 'birthmark fleet make' again: it goes on where it stopped"},
	{fleet.ErrOther, exitUsage, "give the values that this fleet was begun with, or another path"},
	{chip.ErrImage, exitUsage, "name another file, or put a copy of the right one in its place: a chip's EEPROM is not made anew over a file"},
	{sim.ErrNoEmulator, exitUsage, "install QEMU's emulator for ARM: Debian's package is qemu-system-arm"},
	{sim.ErrFirmware, exitUsage, "give the ELF file that 'make firmware' built from this release's sources"},
	{sim.ErrFile, exitUsage, "remove all files of this simulated unit, or put copies in their place: a unit is not repaired"},
	{provision.ErrNotProvisioned, exitPolicy, "provision it first: 'birthmark provision'"},
	{provision.ErrSameUnit, exitUsage, "give the ports of two units"},
	{ceremony.ErrNotRehearsed, exitPolicy, "rehearse the plan as it is now: 'birthmark ceremony rehearse'"},
	{ceremony.ErrDeclined, exitUsage, "nothing was done since; repeat the command when everybody agrees"},
	{ceremony.ErrKeyTaken, exitHSM, "choose another name in the plan, and rehearse it again"},
	{ceremony.ErrNoReturn, exitPolicy, "repeat 'birthmark ceremony run': it goes on where it stopped"},
	{ceremony.ErrComplete, exitPolicy, "a new ceremony takes a new folder"},
	{ceremony.ErrNoRun, exitUsage, "check --dir; a rehearsal needs no abort, remove its folder"},
	{ca.ErrTest, exitPolicy, "a test authority's units must never be sold: give --test only where test units are wanted"},
	{ca.ErrOtherRoot, exitSetAside, "flash the firmware that was built with this authority's constants ('birthmark ca bundle --c'), then try again"},
	{ca.ErrRevoked, exitVerify, "keep it apart and tell the security officer: it stays outside as long as the status list has it ('birthmark ca show')"},
	{ca.ErrUnknownRoot, exitPolicy, "ask the security officer for the newest bundle ('birthmark ca bundle'): this one is older than the root"},
	{ca.ErrClosedRoot, exitVerify, "keep it and tell the security officer: somebody who has the old root's key signs orders"},
	{ca.ErrUnknownOrder, exitVerify, "find out before anything is closed: this is an older copy of the authority's folder, or somebody else signs orders"},
	{provision.ErrRelease, exitPolicy, "ask for a release of the serial number and generation that 'birthmark unit inspect' shows"},
	{provision.ErrSetAside, exitSetAside, "put this unit into the red bin and do not try it again before somebody has looked at it; the next unit is not affected"},

	{hsm.ErrLeft, exitHSM, "put the token right and repeat the command, with --existing where it has that: it takes the key if it was made, and makes it if not"},
	{hsm.ErrPINLocked, exitHSM, "ask the token's security officer to unlock or reset the PIN; do not try again"},
	{hsm.ErrPINDefault, exitHSM, "set a user PIN of your own with the token's tools; this one was not offered"},
	{hsm.ErrPIN, exitHSM, "the PIN was tried once and will not be tried again by itself; check its source before you run this again, tokens lock after a few"},
	{hsm.ErrAmbiguous, exitHSM, "add serial=... to the URI so that exactly one token matches; 'birthmark hsm list' shows the serial numbers"},
	{hsm.ErrNoToken, exitHSM, "plug the token in, or correct the URI; 'birthmark hsm list' shows what is there"},
	{hsm.ErrNoKey, exitHSM, "check the key's name or path; 'birthmark hsm list' shows a token's keys, object=... in the URI is the label"},
	{hsm.ErrHalfKey, exitHSM, "a run was cut short while it made this key: choose another name; the token's own tools remove the half"},
	{hsm.ErrKeyExists, exitHSM, "choose another name, or give --existing to use the key that is there"},
	{hsm.ErrLost, exitHSM, "plug the token in again and repeat the command; nothing was signed that is not in the ledger"},
	{hsm.ErrShare, exitUsage, "look at the paper again: each line has its own checksum; nothing was put into a token"},
	{hsm.ErrUnsupported, exitHSM, "install a build with cgo, or use key files for a test authority"},
	{provision.ErrKey, exitHSM, "the unit is unharmed; check the token with 'birthmark hsm test', then run the same command again"},
	{hsm.ErrSign, exitHSM, "check the token with 'birthmark hsm test', then repeat the command"},
	{errHSM, exitHSM, "check the PIN's source, the module's path and the token; 'birthmark hsm list' shows what is there"},

	{ledger.ErrExhausted, exitPolicy, "ask the security officer for the next order ('birthmark ca order')"},
	{ledger.ErrDouble, exitVerify, "keep both ledgers as they are and tell the security officer: one of the two units must be taken back"},
	{ledger.ErrTampered, exitVerify, "keep the file as it is, stop the line and tell the security officer"},
	{ledger.ErrRolledBack, exitVerify, "this is an older copy of the ledger: put the newest back before anything is signed"},
	{ledger.ErrOtherAuthority, exitLedger, "use the ledger that 'birthmark station init' made for this authority"},
	{ledger.ErrFull, exitLedger, "free disk space, then run the same command again; nothing was signed that is not recorded"},
	{ledger.ErrDisk, exitLedger, "check the disk and the space on it, then run the same command again; it finds out by itself what was recorded"},
	{ledger.ErrClock, exitLedger, "set the station's clock; it is behind the newest entry of the ledger"},
	{ledger.ErrNotLedger, exitLedger, "name the file that 'birthmark station init' made"},
	{ledger.ErrVersion, exitLedger, "use the release of birthmark that made this ledger, or a newer one"},
	{ledger.ErrNotFound, exitLedger, "check the number; 'birthmark ledger show' lists the units"},
	{ledger.ErrConflict, exitLedger, "look the unit up with 'birthmark ledger show' before anything else is done with it"},
	{ledger.ErrVoid, exitLedger, "this unit was retired; its serial number is not used again"},
	{ledger.ErrClosed, exitPolicy, "a finished unit keeps its serial number; what takes it back in the field is a status list"},
	{ledger.ErrState, exitLedger, "look the unit up with 'birthmark ledger show'"},
	{errLedger, exitLedger, "check the ledger's path, its permissions and its disk; an order that is in use never gets a new ledger"},

	{link.ErrNoPort, exitPort, "check the cable and the name; serial ports are /dev/ttyUSB*, /dev/ttyACM* or what 'birthmark fleet serve' printed"},
	{link.ErrPortBusy, exitPort, "close the other program that has the port open"},
	{errPort, exitPort, "serial ports belong to the group dialout: 'ls -l' shows, and whoever looks after the machine can add you to it"},
	{link.ErrGone, exitPort, "plug the unit in again and run the same command: it goes on where it stopped"},
	{link.ErrSilent, exitRetry, "check that the unit has power and sits in the jig, then run the same command again"},
	{link.ErrGarbage, exitRetry, "check --baud and the cable, and that this is a Birthmark unit, then run the same command again"},
	{provision.ErrRetry, exitRetry, "reseat the unit and run the same command again: it goes on where it stopped"},

	{ca.ErrNotCaptured, exitPolicy, "put goods-in's list where --captured points; a unit that goods-in never had is captured by 'birthmark station capture', while its chip is blank"},
	{ca.ErrVerify, exitVerify, "do not use it; ask whoever handed it over for the right one"},
	{ca.ErrPolicy, exitPolicy, "ask the security officer; policy is not overridden at the line"},
	{ca.ErrMalformed, exitUsage, "check the file or value that the message names"},
	{c509.ErrMalformed, exitUsage, "check the file that the message names"},
	{c509.ErrUnsupported, exitUsage, "this certificate has no such form; 'birthmark cert convert --help' says which there are"},
	{device.ErrNoCgo, exitUsage, "install a build with cgo"},
	{fleet.ErrRange, exitUsage, "give a value in the range that the message names"},
	{errUsage, exitUsage, "'birthmark COMMAND --help' shows flags and examples"},
	{fs.ErrExist, exitUsage, "nothing is overwritten: choose another name, or move the old one away yourself"},
	{fs.ErrNotExist, exitUsage, "check the path; --config names the settings file, and a flag names each file in it"},
	{fs.ErrPermission, exitUsage, "check who owns it and what its mode is"},
	{syscall.ENOSPC, exitUsage, "free disk space, then run the same command again"},
	{syscall.EAGAIN, exitUsage, "another process has it: stop that one first"},
}

// outcome finds an error's exit code and hint.
func outcome(err error) (code int, hint string) {
	for _, o := range outcomes {
		if errors.Is(err, o.is) {
			return o.code, o.hint
		}
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return exitUsage, "check the path and the disk that it is on"
	}
	return exitInternal, "this should not happen; please report it with the command and this message"
}

// report tells the person what happened to command c and what to do, and gives the exit code.
func (p *program) report(c *cobra.Command, err error) int {
	if err == nil {
		return exitGood
	}
	if r, ok := err.(reported); ok {
		return r.code
	}
	code, hint := outcome(err)
	hint = strings.ReplaceAll(hint, "birthmark COMMAND", c.CommandPath())
	fmt.Fprintf(p.Err, "birthmark: error: %s\nbirthmark: hint: %s\n", sentence(err), hint)
	return code
}

// sentence is an error's text on one line, without Go's name for being interrupted.
func sentence(err error) string {
	text := ""
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSpace(line)
		switch {
		case text == "" || line == "":
		case strings.HasSuffix(text, ":"):
			text += " "
		default:
			text += "; "
		}
		text += line
	}
	return strings.ReplaceAll(text, context.Canceled.Error(), "interrupted")
}

// reported is a run whose failures were already told, unit by unit.
type reported struct{ code int }

func (reported) Error() string { return "units failed" }
