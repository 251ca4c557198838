package cmd

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/provision"
)

func (p *program) unitHandshake() *cobra.Command {
	var ports []string
	c := &cobra.Command{
		Use:   "handshake --port PORT --port PORT",
		Short: "Let two units authenticate each other and show what was said; pairs nothing",
		Long: `Carries a handshake (EDHOC, RFC 9528) between two units that are installed or
sealed. The one on the first port begins. It shows each message with its size
and the time that the unit took for it, and whether the units accept each other.
What they say is theirs alone: this command passes it on and can read nothing
but the first message. Neither unit is paired by it or keeps anything of it. A
unit on the status list of --bundle, where there is one, is refused.`,
		Example: `  birthmark unit handshake --port /dev/ttyUSB0 --port /dev/ttyUSB1`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkPorts(ports); err != nil {
				return err
			}
			if len(ports) != 2 {
				return usage("%d ports given: a handshake takes two units", len(ports))
			}
			bundle, err := p.bundleIfAny()
			if err != nil {
				return err
			}
			m, err := provision.Relay(c.Context(), ports[0], ports[1], p.settings.Baud, bundle)
			if m == nil || err != nil && !errors.Is(err, provision.ErrRefused) {
				return atPort(err)
			}
			view := meeting(m, ports, err)
			return errors.Join(p.answer(view, func() { p.writeMeeting(m, view) }), err)
		},
	}
	c.Flags().StringArrayVar(&ports, "port", nil, "serial port of a unit; given twice")
	settingFlags(c, "bundle", "baud")
	return c
}

// meetingJSON is what --json shows of a handshake between two units.
type meetingJSON struct {
	Initiator partyJSON     `json:"initiator"`
	Responder partyJSON     `json:"responder"`
	Messages  []messageJSON `json:"messages"`
	Accepted  bool          `json:"accepted"`
	Error     string        `json:"error,omitempty"`
}

type partyJSON struct {
	Port   string `json:"port"`
	Chip   string `json:"chip"`
	State  string `json:"state"`
	Serial string `json:"serial"`
	Order  uint16 `json:"order"`
	Code   string `json:"code"`
}

type messageJSON struct {
	Name  string  `json:"name"`
	From  string  `json:"from"`
	Bytes int     `json:"bytes"`
	Ms    float64 `json:"ms"`
}

func meeting(m *provision.Meeting, ports []string, err error) meetingJSON {
	v := meetingJSON{Initiator: party(m.Initiator, ports[0]), Responder: party(m.Responder, ports[1]), Messages: []messageJSON{}, Accepted: err == nil}
	for _, message := range m.Messages {
		name, from := fmt.Sprintf("message_%d", message.Number), "initiator"
		if message.Error {
			name = "error"
		}
		if message.FromResponder {
			from = "responder"
		}
		v.Messages = append(v.Messages, messageJSON{name, from, message.Size, message.Took.Seconds() * 1e3})
	}
	if err != nil {
		v.Error = sentence(err)
	}
	return v
}

func party(i *provision.Inspection, port string) partyJSON {
	return partyJSON{port, hex.EncodeToString(i.Chip[:]), i.State.String(), i.Unit.Serial.String(), i.Order.Name.Number(), i.Unit.Code()}
}

func (p *program) writeMeeting(m *provision.Meeting, v meetingJSON) {
	for _, unit := range []struct {
		role string
		partyJSON
	}{{"initiator", v.Initiator}, {"responder", v.Responder}} {
		fmt.Fprintf(p.Out, "%-12s %s, CERT %s, order %d, %s, %s\n", unit.role, unit.Serial, unit.Code, unit.Order, unit.State, unit.Port)
	}
	for i, message := range v.Messages {
		note := ""
		if m.Messages[i].Check == link.CheckHeld {
			note = "  the other's order is on the status list: it would not pair"
		}
		fmt.Fprintf(p.Out, "%-12s from the %s  %3d bytes  %6.0f ms%s\n", message.Name, message.From, message.Bytes, message.Ms, note)
	}
	if v.Accepted {
		fmt.Fprintln(p.Out, "accepted     by both; nothing is paired")
	} else {
		fmt.Fprintln(p.Out, "REFUSED")
	}
}
