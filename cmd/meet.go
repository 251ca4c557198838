package cmd

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/fleet"
)

func (p *program) fleetMeet() *cobra.Command {
	var r fleet.MeetRequest
	var dir string
	var many matrixFlags
	c := &cobra.Command{
		Use:   "meet ([--dir DIR] UNIT UNIT | --fleet PATH...)",
		Short: "Let two simulated units meet, pair and talk, or all units of made fleets",
		Long: `Lets two units that 'fleet serve' made and 'provision' finished meet on a line
between them, in simulated time, and shows what goes over it: the first begins,
and they authenticate each other; they pair, unless they are paired already; and
each sends a text to the other, which travels encrypted. A unit is named as
'fleet serve' prints it, or by its name in --dir. What the units keep without
power, pairings above all, stays in their files; 'fleet serve' must not run them
meanwhile.

Whether an open unit pairs is for its board to say, by --policy:

  expected  with the unit that it was told; each is told the other's serial
  gesture   with the first that asks after a press; both buttons are pressed
  wired     with the first genuine unit

A unit that is paired meets nobody but its peer until its pairing is released,
as --hold does. An --impostor stands in the second unit's place: he has all of
it but what never leaves its chip, and shows its certificates, 'copied', or
'self-made' ones with the same names under a root of his own.

It exits 9 if an impostor is refused, or a unit because it is not taken for
genuine; 3 if a genuine unit is not wanted; 4 if the meeting broke off; 5 if a
unit has lost its record of whom it is paired with.

With --fleet, all units of one or more fleets of 'fleet make' meet, each as if
for the first time: a whole handshake by the library's code and a record each
way, on all cores. Every two meet twice, so that each begins once, or as many
are drawn as --sample says. A unit trusts its own fleet's authority and accepts
the peers of its profile; fleets of one --seed have one root, whatever their
profiles, and a unit that two of them have does not meet itself. With --bundle,
typed, the units of its authority know what is in it, such as a status list.
The answer is a matrix: who begins in rows, who answers in columns, and the
reasons of those that were refused; one row for each unit up to 64, above for
each order. --html writes it as a page with a picture. It exits 9 if any unit
refused another, also where fleets are meant to: --json has the count of each
cell.`,
		Example: `  birthmark fleet meet --dir units unit-01 unit-02
  birthmark fleet meet --dir units unit-03 unit-01 --hold unit-01
  birthmark fleet meet units/unit-01 units/unit-02 --impostor copied
  birthmark fleet meet --fleet sensors.cbor --fleet valves.cbor --sample 10000 \
    --html matrix.html`,
		Args: func(c *cobra.Command, args []string) error {
			if err := many.check(c.Flags().Changed); err != nil {
				return err
			}
			if len(many.fleets) > 0 {
				return exactly(0, "units beside --fleet")(c, args)
			}
			return exactly(2, "units")(c, args)
		},
		RunE: func(c *cobra.Command, units []string) error {
			if len(many.fleets) > 0 {
				many.bundle = c.Flags().Changed("bundle")
				return p.runMatrix(c.Context(), many)
			}
			r.Units = [2]string{filepath.Join(dir, units[0]), filepath.Join(dir, units[1])}
			if r.Hold != "" {
				r.Hold = filepath.Join(dir, r.Hold)
			}
			m, err := fleet.Meet(r)
			if m == nil {
				return err
			}
			view := meet(m, err)
			return errors.Join(p.answer(view, func() { p.writeMeet(m, view, err) }), err)
		},
	}
	f := c.Flags()
	f.StringVar(&dir, "dir", "", "folder that the units' names start at")
	f.StringVar((*string)(&r.Policy), "policy", string(fleet.Expected), "when open units pair: expected, gesture or wired")
	f.StringVar(&r.Hold, "hold", "", "unit whose button is held for 5 s beforehand, which releases its pairing")
	f.StringVar((*string)(&r.Impostor), "impostor", "", "who stands in the second unit's place: self-made or copied")
	f.StringVar(&r.Text, "say", "", "what each unit sends to the other, at most 547 bytes (default: a greeting)")
	f.StringArrayVar(&many.fleets, "fleet", nil, "what 'fleet make' made, whose units all meet; may be given again")
	f.IntVar(&many.sample, "sample", 0, "with --fleet: so many meetings, drawn from all (default: all)")
	f.StringVar(&many.seed, "seed", "", "of the sample, any text")
	f.StringVar(&many.html, "html", "", "with --fleet: page to write, one file with a picture")
	settingFlags(c, "bundle")
	return c
}

// meetJSON is a meeting of simulated units as --json shows it.
type meetJSON struct {
	Units    []metJSON         `json:"units"`
	Messages []lineMessageJSON `json:"messages"`
	Texts    []textJSON        `json:"texts"`
	New      bool              `json:"new"`    // they paired in this meeting
	Paired   bool              `json:"paired"` // with each other, and their texts came
	Ms       float64           `json:"ms"`
	Error    string            `json:"error,omitempty"`
}

type metJSON struct {
	Name     string      `json:"name"`
	Impostor string      `json:"impostor,omitempty"`
	Serial   string      `json:"serial"`
	Code     string      `json:"code"`
	Before   pairingJSON `json:"before"`
	After    pairingJSON `json:"after"`
	Trust    trustJSON   `json:"trust"` // after the meeting
}

// trustJSON is how far a unit's trust goes.
type trustJSON struct {
	Epoch      int    `json:"root"`      // of the newest
	ListEpoch  int    `json:"list_root"` // epoch and number of the status list, 0: none
	ListNumber uint32 `json:"list_number"`
}

// String says it in words.
func (v trustJSON) String() string {
	if v.ListEpoch == 0 {
		return fmt.Sprintf("root %d", v.Epoch)
	}
	return fmt.Sprintf("root %d, status list %d of root %d", v.Epoch, v.ListNumber, v.ListEpoch)
}

type pairingJSON struct {
	State      string `json:"state"`
	Generation uint32 `json:"generation"`
	Serial     string `json:"serial,omitempty"` // of the peer
	Code       string `json:"code,omitempty"`
}

type lineMessageJSON struct {
	Name   string  `json:"name"`
	From   string  `json:"from"`
	Bytes  int     `json:"bytes"`
	Frames int     `json:"frames"`
	Ms     float64 `json:"ms"`
}

type textJSON struct {
	From   string `json:"from"`
	Sent   string `json:"sent"`
	Record string `json:"record"`
	Came   string `json:"came"`
}

func meet(m *fleet.Meeting, err error) meetJSON {
	v := meetJSON{Messages: []lineMessageJSON{}, Texts: []textJSON{}, New: m.New, Paired: err == nil, Ms: milliseconds(m.Took)}
	for _, unit := range m.Parties {
		v.Units = append(v.Units, metJSON{unit.Name, string(unit.Impostor), unit.Unit.Serial.String(), unit.Unit.Code(), pairing(unit.Before), pairing(unit.After), trustJSON(unit.TrustAfter)})
	}
	for _, message := range m.Messages {
		v.Messages = append(v.Messages, lineMessageJSON{message.Name, m.Parties[message.From].Name, message.Bytes, message.Frames, milliseconds(message.At)})
	}
	for _, text := range m.Texts {
		v.Texts = append(v.Texts, textJSON{m.Parties[text.From].Name, text.Sent, hex.EncodeToString(text.Record), text.Came})
	}
	if err != nil {
		v.Error = sentence(err)
	}
	return v
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

func pairing(r device.Pairing) pairingJSON {
	v := pairingJSON{State: r.State.String(), Generation: r.Generation}
	if peer, err := ca.ParseUnitCertificate(r.Peer); err == nil { // the unit has verified it
		v.Serial, v.Code = peer.Serial.String(), peer.Code()
	}
	return v
}

// String says it in words.
func (v pairingJSON) String() string {
	switch v.State {
	case device.PairingPaired.String():
		return fmt.Sprintf("paired with %s, CERT %s, generation %d", v.Serial, v.Code, v.Generation)
	case device.PairingOpen.String():
		return fmt.Sprintf("open, generation %d", v.Generation)
	}
	return "in fault: the record of its pairing is lost"
}

const maxRecordShown = 24 // bytes of a record for people; --json has all

func (p *program) writeMeet(m *fleet.Meeting, v meetJSON, err error) {
	for _, unit := range v.Units {
		state := unit.Before.String()
		if unit.Impostor != "" {
			state = "shown by an impostor, " + unit.Impostor
		}
		fmt.Fprintf(p.Out, "%-12s %s, CERT %s: %s\n", unit.Name, unit.Serial, unit.Code, state)
	}
	width := max(len(v.Units[0].Name), len(v.Units[1].Name))
	for _, message := range v.Messages {
		frames := ""
		if message.Frames > 1 {
			frames = fmt.Sprintf(" in %d frames", message.Frames)
		}
		fmt.Fprintf(p.Out, "%-12s from %-*s  %5.0f ms  %3d bytes%s\n", message.Name, width, message.From, message.Ms, message.Bytes, frames)
	}
	for i, text := range v.Texts {
		record, more := text.Record, ""
		if len(record) > 2*maxRecordShown {
			record, more = record[:2*maxRecordShown], "..."
		}
		fmt.Fprintf(p.Out, "%-12s sends %q\non the line  %s%s, %d bytes\n%-12s gets %q\n",
			text.From, text.Sent, record, more, len(m.Texts[i].Record), v.Units[1-m.Texts[i].From].Name, text.Came)
	}
	for i, unit := range v.Units {
		if unit.Impostor == "" {
			fmt.Fprintf(p.Out, "%-12s is now %v\n", unit.Name, unit.After)
		}
		if before := trustJSON(m.Parties[i].TrustBefore); unit.Trust != before {
			fmt.Fprintf(p.Out, "%-12s trusts %v; before the meeting, %v\n", unit.Name, unit.Trust, before)
		}
	}
	switch {
	case errors.Is(err, fleet.ErrNotGenuine), errors.Is(err, fleet.ErrNotPaired):
		fmt.Fprintln(p.Out, "REFUSED")
	case err != nil:
		fmt.Fprintln(p.Out, "NO MEETING")
	case v.New:
		fmt.Fprintf(p.Out, "PAIRED       in %.1f s of their time\n", m.Took.Seconds())
	default:
		fmt.Fprintf(p.Out, "MET AGAIN    in %.1f s of their time\n", m.Took.Seconds())
	}
}
