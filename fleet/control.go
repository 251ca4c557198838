package fleet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/birthmark/birthmark/ca"
)

const maxCommand = 4096 // bytes of one line

// Command is a line at the control socket: what to do with some units, and the fault or the time that belongs to it.
type Command struct {
	Do    string `yaml:"do"`
	Fault `yaml:",inline"`
}

// What to do, beside unplug and powerCut, which do at once what the faults do at a request.
const (
	giveFault   = "fault" // as an entry of a plan
	plug        = "plug"  // cable and power are back
	clearFaults = "clear"
	showState   = "state"
)

var deeds = []string{giveFault, unplug, powerCut, plug, clearFaults, showState}

// Answer is the line that a command gets.
type Answer struct {
	Error string      `json:"error,omitempty"` // what was wrong: the command, and there are no Units, or what they did
	Units []UnitState `json:"units,omitempty"` // those that the command was for, after it
}

// control takes commands from any number of clients until the context ends, which is no error.
func (j *jig) control(ctx context.Context, l net.Listener) error {
	var clients sync.WaitGroup
	defer clients.Wait()
	ctx, end := context.WithCancel(ctx)
	defer end()
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		client, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		clients.Go(func() {
			defer client.Close()
			defer context.AfterFunc(ctx, func() { client.Close() })()
			j.serve(client)
		})
	}
}

// serve answers one client, line by line, until it leaves or says too much. What is wrong with its connection is its own affair.
func (j *jig) serve(client net.Conn) {
	lines, answers := bufio.NewScanner(client), json.NewEncoder(client)
	lines.Buffer(nil, maxCommand)
	for lines.Scan() {
		if answers.Encode(j.answer(lines.Bytes())) != nil {
			return
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		_ = answers.Encode(Answer{Error: fmt.Sprintf("the line is longer than %d bytes", maxCommand)})
	}
}

// answer does what a line says, if nothing of it is wrong.
func (j *jig) answer(line []byte) Answer {
	units, err := j.obey(line)
	a := Answer{Units: units}
	if err != nil {
		a.Error = strings.Join(strings.Fields(err.Error()), " ") // YAML's have line ends
	}
	return a
}

func (j *jig) obey(line []byte) (units []UnitState, err error) {
	var c Command
	if !json.Valid(line) { // which is YAML in one form
		return nil, errors.New("not a line of JSON")
	}
	if err := ca.DecodeYAML(line, &c); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	j.mutex.Lock()
	defer j.mutex.Unlock()
	find := j.choose
	if c.Do == giveFault {
		find = j.arm
	}
	seats, err := find(c.Fault)
	for _, s := range seats {
		err = errors.Join(err, s.obey(c))
		units = append(units, s.show())
	}
	return units, err
}

// check refuses what does not belong together.
func (c Command) check() error {
	if !slices.Contains(deeds, c.Do) {
		return fmt.Errorf("do: %q, want one of %s", c.Do, strings.Join(deeds, ", "))
	}
	if c.Do == giveFault {
		return c.Fault.check()
	}
	allowed, fields := Fault{Units: c.Units, Share: c.Share}, "units, share"
	if c.Do == unplug || c.Do == powerCut {
		allowed.Back = c.Back
		fields += ", back"
	}
	if c.Fault != allowed {
		return fmt.Errorf("%s goes with %s alone", c.Do, fields)
	}
	return c.checkUnits()
}
