package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/birthmark/birthmark/fleet"
)

// matrixFlags are those of 'fleet meet' for made fleets.
type matrixFlags struct {
	fleets []string
	sample int
	seed   string
	html   string
	bundle bool // --bundle was typed
}

// matrixJSON is what meetings of made fleets came to, as --json shows it.
type matrixJSON struct {
	Fleets   []attendingJSON `json:"fleets"`
	Met      int             `json:"met"`
	Refused  int             `json:"refused"`
	Groups   []string        `json:"groups"`   // names of rows and columns
	Cells    []cellJSON      `json:"cells"`    // those that have meetings
	Reasons  []tallyJSON     `json:"reasons"`  // of all cells, the most frequent first
	Refusals []refusalJSON   `json:"refusals"` // the first 20
	Seconds  float64         `json:"seconds"`
	Error    string          `json:"error,omitempty"`
}

// attendingJSON is a made fleet that met.
type attendingJSON struct {
	Path    string   `json:"path"`
	Units   int      `json:"units"`
	Anchor  string   `json:"anchor"`
	Product uint32   `json:"product"`
	Peers   []uint32 `json:"peers"`
}

// cellJSON has the meetings of two groups.
type cellJSON struct {
	Begins  int         `json:"begins"` // index of the group
	Answers int         `json:"answers"`
	Met     int         `json:"met"`
	Refused int         `json:"refused"`
	Reasons []tallyJSON `json:"reasons"`
}

// tallyJSON is how often units were refused for one reason.
type tallyJSON struct {
	By     string `json:"by"`
	Reason string `json:"reason"`
	Times  int    `json:"times"`
}

// refusalJSON is a meeting in which one unit refused the other.
type refusalJSON struct {
	Begins  string `json:"begins"`
	Answers string `json:"answers"`
	By      string `json:"by"`
	Reason  string `json:"reason"`
}

func (p *program) runMatrix(ctx context.Context, flags matrixFlags) error {
	r := fleet.MatrixRequest{Sample: flags.sample, Seed: flags.seed}
	for _, path := range flags.fleets {
		f, err := fleet.Open(path)
		if err != nil {
			return err
		}
		r.Fleets = append(r.Fleets, f)
	}
	var err error
	if flags.bundle {
		if r.Bundle, err = p.bundle(); err != nil {
			return err
		}
	}
	if flags.html != "" {
		if err := absent(flags.html); err != nil {
			return err
		}
	}
	bar := newBar(p.Err, "fleet meet", r.Meetings(), p.now)
	m, err := fleet.MeetAll(ctx, r, bar.show)
	bar.clear()
	if m == nil {
		return err
	}
	switch {
	case errors.Is(err, context.Canceled):
		err = mark(fmt.Errorf("%d of %d meetings were held: %w", m.Met+m.Refused, r.Meetings(), err), errCutShort)
	case err == nil && m.Refused > 0:
		err = mark(fmt.Errorf("units refused each other in %d of %d meetings", m.Refused, m.Met+m.Refused), errRefused)
	}
	if flags.html != "" {
		page, pageErr := m.Page()
		if pageErr == nil {
			pageErr = p.write(flags.html, page)
		}
		err = errors.Join(err, pageErr)
	}
	view := matrix(m, flags.fleets, err)
	return errors.Join(p.answer(view, func() { p.writeMatrix(m, view) }), err)
}

func matrix(m *fleet.Matrix, paths []string, err error) matrixJSON {
	v := matrixJSON{Met: m.Met, Refused: m.Refused, Seconds: m.Took.Seconds(), Cells: []cellJSON{}, Reasons: tallies(m.Reasons()), Refusals: []refusalJSON{}}
	for i, f := range m.Fleets {
		profile := f.Orders[0].Profile
		anchor := f.Bundle.Anchor.Hash()
		v.Fleets = append(v.Fleets, attendingJSON{paths[i], f.Head.Units, fmt.Sprintf("%x", anchor), profile.Product, profile.Peers})
	}
	for i, g := range m.Groups {
		v.Groups = append(v.Groups, m.Name(g))
		for j, c := range m.Cells[i] {
			if c.Met+c.Refused == 0 {
				continue
			}
			v.Cells = append(v.Cells, cellJSON{i, j, c.Met, c.Refused, tallies(c.Reasons)})
		}
	}
	for _, r := range m.Refusals {
		v.Refusals = append(v.Refusals, refusalJSON{m.Name(r.Begins), m.Name(r.Answers), by(r.Reason), r.Reason.String()})
	}
	if err != nil {
		v.Error = sentence(err)
	}
	return v
}

func tallies(list []fleet.Tally) []tallyJSON {
	v := []tallyJSON{}
	for _, t := range list {
		v = append(v, tallyJSON{by(t.Reason), t.Reason.String(), t.Times})
	}
	return v
}

func by(r fleet.Reason) string {
	if r.Answerer {
		return "answers"
	}
	return "begins"
}

const maxColumns = 12 // of counts for people; --json and --html have all

func (p *program) writeMatrix(m *fleet.Matrix, v matrixJSON) {
	for _, f := range v.Fleets {
		fmt.Fprintf(p.Out, "fleet    %s: %d units, product %d, TEST\n", f.Path, f.Units, f.Product)
	}
	switch {
	case m.Groups[0].Serial != 0:
		p.writeUnits(m, v.Groups)
	case len(v.Groups) <= maxColumns:
		p.writeCounts(m, v.Groups)
	}
	for _, t := range v.Reasons {
		fmt.Fprintf(p.Out, "reason:  %d times, of who %s: %s\n", t.Times, map[string]string{"begins": "began", "answers": "answered"}[t.By], t.Reason)
	}
	for _, r := range v.Refusals {
		who, did, whom := r.Begins, "began", r.Answers
		if r.By == "answers" {
			who, did, whom = whom, "answered", who
		}
		fmt.Fprintf(p.Out, "refused: %s, which %s, refuses %s: %s\n", who, did, whom, r.Reason)
	}
	if more := v.Refused - len(v.Refusals); more > 0 {
		fmt.Fprintf(p.Out, "refused: %d more\n", more)
	}
	fmt.Fprintf(p.Out, "met:     %d of %d, in %.1f s, %.0f a second\n", v.Met, v.Met+v.Refused, v.Seconds, float64(v.Met+v.Refused)/v.Seconds)
}

// writeUnits shows a meeting as one character.
func (p *program) writeUnits(m *fleet.Matrix, names []string) {
	width := 0
	for _, name := range names {
		width = max(width, len(name))
	}
	fmt.Fprintf(p.Out, "who begins is in a row, who answers in a column: + met, x refused\n")
	tens, ones := "", ""
	for i := range names {
		tens += strings.TrimPrefix(fmt.Sprintf("%2d", (i+1)/10), " ")
		ones += fmt.Sprint((i + 1) % 10)
	}
	if len(names) > 9 {
		fmt.Fprintf(p.Out, "%*s  %s\n", width+4, "", strings.ReplaceAll(tens, "0", " "))
	}
	fmt.Fprintf(p.Out, "%*s  %s\n", width+4, "", ones)
	for i, name := range names {
		row := ""
		for _, c := range m.Cells[i] {
			switch {
			case c.Refused > 0:
				row += "x"
			case c.Met > 0:
				row += "+"
			default:
				row += "."
			}
		}
		fmt.Fprintf(p.Out, "%3d %-*s  %s\n", i+1, width, name, row)
	}
}

// writeCounts shows the meetings of two groups as met, or met/refused.
func (p *program) writeCounts(m *fleet.Matrix, names []string) {
	width, column := 0, 1
	cells := make([][]string, len(names))
	for i, name := range names {
		width = max(width, len(name))
		for _, c := range m.Cells[i] {
			text := c.String()
			cells[i] = append(cells[i], text)
			column = max(column, len(text))
		}
	}
	fmt.Fprintf(p.Out, "who begins is in a row, who answers in a column: met, or met/refused\n%*s", width+4, "")
	for i := range names {
		fmt.Fprintf(p.Out, "  %*d", column, i+1)
	}
	for i, name := range names {
		fmt.Fprintf(p.Out, "\n%3d %-*s", i+1, width, name)
		for _, text := range cells[i] {
			fmt.Fprintf(p.Out, "  %*s", column, text)
		}
	}
	fmt.Fprintln(p.Out)
}

// check refuses what does not go together.
func (f matrixFlags) check(changed func(name string) bool) error {
	of := func(names ...string) (typed []string) {
		for _, name := range names {
			if changed(name) {
				typed = append(typed, "--"+name)
			}
		}
		return typed
	}
	if len(f.fleets) > 0 {
		if typed := of("dir", "policy", "hold", "impostor", "say"); len(typed) > 0 {
			return usage("%s is for two simulated units, --fleet for made ones", strings.Join(typed, ", "))
		}
		if f.seed != "" && f.sample == 0 {
			return usage("--seed is that of a --sample")
		}
		if changed("sample") && f.sample < 1 {
			return usage("--sample %d: want 1 or more", f.sample)
		}
		return nil
	}
	if typed := of("sample", "seed", "html", "bundle"); len(typed) > 0 {
		return usage("%s goes with --fleet", strings.Join(typed, ", "))
	}
	return nil
}
