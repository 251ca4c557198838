//go:build cgo

package fleet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/birthmark/birthmark/link"
)

// servedJig is a fleet that is served at a control socket until the test ends.
type servedJig struct {
	t       *testing.T
	request Request
	ports   []string

	mutex  sync.Mutex
	events []string
}

func newServedJig(t *testing.T, units int, plan string) *servedJig {
	t.Helper()
	dir := t.TempDir()
	j := &servedJig{t: t, request: Request{Units: units, Dir: dir, Product: 7, Peers: []uint32{7}, Control: filepath.Join(dir, "control")}}
	j.request.Watch = func(port, event string) {
		j.mutex.Lock()
		defer j.mutex.Unlock()
		j.events = append(j.events, filepath.Base(port)+": "+event)
	}
	if plan != "" {
		var err error
		if j.request.Plan, err = ParsePlan([]byte("birthmark: faults/1\nseed: test\nfaults:\n" + plan)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- Serve(ctx, j.request, func(ports []string) { j.ports = ports; close(ready) })
	}()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(dir); err != nil || slices.ContainsFunc(left, func(e fs.DirEntry) bool { return !e.Type().IsRegular() }) {
			t.Errorf("ports or sockets are left: %v, %v", left, err)
		}
	})
	return j
}

// client is a connection to the control socket.
func (j *servedJig) client() net.Conn {
	j.t.Helper()
	c, err := net.Dial("unix", j.request.Control)
	if err != nil {
		j.t.Fatal(err)
	}
	j.t.Cleanup(func() { c.Close() })
	return c
}

// says sends a line and gives the answer.
func (j *servedJig) says(line string) Answer {
	j.t.Helper()
	c := j.client()
	defer c.Close()
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		j.t.Fatal(err)
	}
	return j.hears(bufio.NewReader(c))
}

func (j *servedJig) hears(r *bufio.Reader) (a Answer) {
	j.t.Helper()
	line, err := r.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	if err != nil {
		j.t.Fatalf("%q: %v", line, err)
	}
	return a
}

// happened waits for an event.
func (j *servedJig) happened(event string) {
	j.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		j.mutex.Lock()
		found := slices.Contains(j.events, event)
		j.mutex.Unlock()
		if found {
			return
		}
	}
	j.mutex.Lock()
	defer j.mutex.Unlock()
	j.t.Fatalf("%q did not happen, but %q", event, j.events)
}

// ask opens a unit's port, says hello and prepares the unit. It waits for an answer as long as one may take here, and not long
// where none is wanted.
func (j *servedJig) ask(unit int, want error) error {
	j.t.Helper()
	port, err := link.Open(j.ports[unit-1], 115200)
	if err != nil {
		return err
	}
	c := link.Dial(port)
	defer c.Close()
	c.SetPatience(0.3)
	if _, err := c.Hello(j.t.Context()); err != nil {
		return err
	}
	if want == link.ErrSilent {
		c.SetPatience(0.05)
	}
	_, err = c.Prepare(j.t.Context())
	return err
}

// Each fault, at the request that it is for and as often as it is to be, and a unit that is as before once it is over.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		fault  string
		errs   []error // of one try of the unit after the other
		events []string
	}{
		{"{fault: dead, stage: hello, times: 3}", []error{link.ErrSilent, nil}, []string{"dead at hello, request 1", "dead at hello, request 3"}},
		{"{fault: dead, stage: hello, times: 2}", []error{nil}, []string{"dead at hello, request 2"}},
		{"{fault: mute, stage: prepare, times: 3}", []error{link.ErrSilent, nil}, []string{"mute at prepare, request 4"}},
		{"{fault: garbage, bytes: 5, times: 3}", []error{link.ErrGarbage, nil}, []string{"garbage at hello, request 3"}},
		{"{fault: garbage, stage: hello, frames: 1/2}", []error{nil, nil}, nil},
		{"{fault: slow, delay: 30s, stage: hello}", []error{link.ErrSilent}, []string{"slow at hello, request 1"}},
		{"{fault: slow, pause: 100us}", []error{nil}, []string{"slow at prepare, request 2"}},
		{"{fault: unplug, stage: prepare}", []error{link.ErrGone, link.ErrNoPort}, []string{"unplug at prepare, request 2"}},
		{"{fault: unplug, back: 1ms}", []error{link.ErrGone}, []string{"unplug at hello, request 1", "back"}},
		{"{fault: power-cut, stage: prepare}", []error{link.ErrSilent, link.ErrSilent}, []string{"power-cut at prepare, request 2"}},
		{"{fault: power-cut, stage: prepare, write: 50}", []error{link.ErrSilent}, []string{"power-cut at byte 50 of prepare, request 2"}},
		{"{fault: power-cut, stage: prove, write: 1}", []error{nil}, nil},
	} {
		t.Run(test.fault, func(t *testing.T) {
			t.Parallel()
			j := newServedJig(t, 2, "  - {units: 2, "+test.fault[1:]+"\n")
			for i, want := range test.errs {
				if err := j.ask(2, want); !errors.Is(err, want) {
					t.Errorf("try %d: %v, want %v", i+1, err, want)
				}
			}
			for _, event := range test.events {
				j.happened("unit-02: " + event)
			}
			if err := j.ask(1, nil); err != nil {
				t.Errorf("the other unit: %v", err)
			}
			if one := j.says(`{"do":"state","units":1}`); len(one.Units) != 1 || one.Units[0].Requests != 2 || len(one.Units[0].Faults) != 0 {
				t.Errorf("the other unit: %+v", one)
			}
			for _, line := range []string{`{"do":"clear"}`, `{"do":"unplug"}`, `{"do":"plug"}`} { // which ends a long delay, too
				if a := j.says(line); a.Error != "" {
					t.Error(a.Error)
				}
			}
			if err := j.ask(2, nil); err != nil {
				t.Errorf("in the end: %v", err)
			}
		})
	}
}

// Of several faults the first that a request is for strikes it, and bytes are counted beside that, from each request anew.
func TestFaultsTogether(t *testing.T) {
	t.Parallel()
	j := newServedJig(t, 1, `
  - {fault: mute, stage: hello, times: 1}
  - {fault: garbage, stage: hello, times: 1}
  - {fault: slow, stage: prepare, delay: 1ms}
  - {fault: power-cut, stage: prepare, write: 60, times: 2}
`)
	for range 2 {
		if err := j.ask(1, link.ErrSilent); !errors.Is(err, link.ErrSilent) {
			t.Errorf("cut off: %v", err)
		}
		j.says(`{"do":"plug"}`)
	}
	if err := j.ask(1, nil); err != nil {
		t.Error(err)
	}
	want := []string{
		"mute at hello, request 1", "garbage at hello, request 2", "slow at prepare, request 4", "power-cut at byte 60 of prepare, request 4", "plug, by control",
		"slow at prepare, request 6", "power-cut at byte 60 of prepare, request 6", "plug, by control", "slow at prepare, request 8",
	}
	j.mutex.Lock()
	defer j.mutex.Unlock()
	for i, event := range j.events {
		if i >= len(want) || event != "unit-01: "+want[i] {
			t.Fatalf("%q, want %q", j.events, want)
		}
	}
	if len(j.events) != len(want) {
		t.Errorf("%q, want %q", j.events, want)
	}
}

// What is said at the socket happens, and the answer shows it.
func TestControl(t *testing.T) {
	t.Parallel()
	j := newServedJig(t, 3, "  - {units: 3, fault: dead, times: 1}\n")
	state := func(a Answer) string {
		text, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(text), j.request.Dir+"/", "")
	}
	const good = `{"unit":%d,"port":"unit-%02d","plugged":%v,"power":%v,"requests":%d,"faults":[]}`
	for _, step := range []struct {
		line, want string
		ask        error // of unit 1 then
	}{
		{`{"do":"state"}`, `{"units":[` + fmt.Sprintf(good, 1, 1, true, true, 0) + `,` + fmt.Sprintf(good, 2, 2, true, true, 0) +
			`,{"unit":3,"port":"unit-03","plugged":true,"power":true,"requests":0,"faults":[{"fault":"dead","struck":0,"over":false}]}]}`, nil},
		{`{"do":"unplug","units":1}`, `{"units":[` + fmt.Sprintf(good, 1, 1, false, false, 2) + `]}`, link.ErrNoPort},
		{`{"do":"power-cut","units":1}`, `{"units":[` + fmt.Sprintf(good, 1, 1, false, false, 2) + `]}`, link.ErrNoPort},
		{`{"do":"plug","units":1}`, `{"units":[` + fmt.Sprintf(good, 1, 1, true, true, 2) + `]}`, nil},
		{`{"do":"power-cut","units":1}`, `{"units":[` + fmt.Sprintf(good, 1, 1, true, false, 4) + `]}`, link.ErrSilent},
		{`{"do":"unplug","units":1}`, `{"units":[` + fmt.Sprintf(good, 1, 1, false, false, 4) + `]}`, link.ErrNoPort},
		{` {"do":"plug" , "units":"1"} `, `{"units":[` + fmt.Sprintf(good, 1, 1, true, true, 4) + `]}`, nil},
		{`{"do":"fault","units":"1-1","fault":"unplug","stage":"prepare"}`,
			`{"units":[{"unit":1,"port":"unit-01","plugged":true,"power":true,"requests":6,"faults":[{"fault":"unplug","stage":"prepare","struck":0,"over":false}]}]}`, link.ErrGone},
		{`{"do":"clear","units":1}`, `{"units":[` + fmt.Sprintf(good, 1, 1, false, false, 8) + `]}`, link.ErrNoPort},
		{`{"do":"plug","share":"100%"}`, `{"units":[` + fmt.Sprintf(good, 1, 1, true, true, 8) + `,` + fmt.Sprintf(good, 2, 2, true, true, 0) +
			`,{"unit":3,"port":"unit-03","plugged":true,"power":true,"requests":0,"faults":[{"fault":"dead","struck":0,"over":false}]}]}`, nil},
	} {
		if got := state(j.says(step.line)); got != step.want {
			t.Errorf("%s\n got %s\nwant %s", step.line, got, step.want)
		}
		if err := j.ask(1, step.ask); !errors.Is(err, step.ask) {
			t.Errorf("after %s: %v, want %v", step.line, err, step.ask)
		}
	}
	// Back by itself, of what was asked for and of what struck; a later word takes the place of an earlier one.
	j.says(`{"do":"unplug","units":1,"back":"1h"}`)
	j.says(`{"do":"unplug","units":1,"back":"1ms"}`)
	j.happened("unit-01: back")
	if err := j.ask(1, nil); err != nil {
		t.Error(err)
	}
}

func TestControlRefuses(t *testing.T) {
	t.Parallel()
	j := newServedJig(t, 2, "")
	for line, want := range map[string]string{
		``:                                      "not a line of JSON",
		`do: plug`:                              "not a line of JSON",
		`{"do":"plug"} {"do":"plug"}`:           "not a line of JSON",
		`null`:                                  `do: "", want one of fault, unplug, power-cut, plug, clear, state`,
		`[]`:                                    "cannot unmarshal",
		`{}`:                                    `do: ""`,
		`{"do":"explode"}`:                      `do: "explode"`,
		`{"do":"plug","unit":1}`:                "field unit not found",
		`{"Do":"plug"}`:                         "field Do not found",
		`{"do":"plug","do":"unplug"}`:           "already defined",
		`{"do":"plug","units":0}`:               `units: "0"`,
		`{"do":"plug","units":3}`:               "unit 3 of a fleet of 2: out of range",
		`{"do":"plug","back":"1s"}`:             "plug goes with units, share alone",
		`{"do":"unplug","write":1}`:             "unplug goes with units, share, back alone",
		`{"do":"state","fault":"mute"}`:         "state goes with units, share alone",
		`{"do":"fault","fault":"late"}`:         `fault: "late"`,
		`{"do":"plug","units":1,"share":"50%"}`: "give one of them",
	} {
		if a := j.says(line); !strings.Contains(a.Error, want) || strings.Contains(a.Error, "\n") || a.Units != nil {
			t.Errorf("%s: %+v, want %q", line, a, want)
		}
	}
	for range maxFaults {
		if a := j.says(`{"do":"fault","fault":"dead"}`); a.Error != "" {
			t.Fatal(a.Error)
		}
	}
	if a := j.says(`{"do":"fault","fault":"dead"}`); a.Error != "unit 1 has 64 faults already: out of range" {
		t.Errorf("one more: %+v", a)
	}
	if err := Serve(t.Context(), Request{Units: 1, Dir: t.TempDir(), Product: 7, Peers: []uint32{7}, Control: j.request.Control}, nil); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("another fleet at the same socket: %v", err)
	}
}

// Clients that do what they should not harm neither the units nor each other.
func TestControlClients(t *testing.T) {
	t.Parallel()
	j := newServedJig(t, 8, "")

	half := j.client()
	if _, err := io.WriteString(half, `{"do":"unplug","un`); err != nil {
		t.Fatal(err)
	}
	half.Close()

	whole := j.client() // without the line's end
	if _, err := io.WriteString(whole, `{"do":"state","units":1}`); err != nil {
		t.Fatal(err)
	}
	if err := whole.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if a := j.hears(bufio.NewReader(whole)); len(a.Units) != 1 {
		t.Errorf("%+v", a)
	}

	endless := j.client()
	go io.WriteString(endless, strings.Repeat("x", 1<<20)) // which ends when it is no longer heard
	said := bufio.NewReader(endless)
	if a := j.hears(said); a.Error != "the line is longer than 4096 bytes" {
		t.Errorf("%+v", a)
	}
	if rest, err := io.ReadAll(said); len(rest) > 0 {
		t.Errorf("then %q, %v", rest, err)
	}

	silent := j.client() // until the end
	defer silent.Close()

	var clients sync.WaitGroup
	for unit := 1; unit <= 8; unit++ {
		clients.Go(func() {
			c, err := net.Dial("unix", j.request.Control)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			answers := json.NewDecoder(c)
			for _, step := range []struct {
				do             string
				plugged, power bool
			}{{"power-cut", true, false}, {"unplug", false, false}, {"plug", true, true}, {"unplug", false, false}, {"plug", true, true}} {
				fmt.Fprintf(c, `{"do":%q,"units":%d}`+"\n", step.do, unit)
				var a Answer
				if err := answers.Decode(&a); err != nil || len(a.Units) != 1 || a.Units[0].Unit != unit || a.Units[0].Plugged != step.plugged || a.Units[0].Power != step.power {
					t.Errorf("unit %d, %s: %+v, %v", unit, step.do, a, err)
				}
			}
		})
	}
	clients.Wait()
	for unit := 1; unit <= 8; unit++ {
		if err := j.ask(unit, nil); err != nil {
			t.Error(err)
		}
	}
}
