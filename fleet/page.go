package fleet

import (
	"bytes"
	_ "embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"strings"
)

//go:embed page.html
var pageTemplate string

// page is a matrix as the template draws it, in pixels.
type page struct {
	*Matrix
	Headline, Each        string
	Counts                bool
	Meetings              int
	Took, Rate            string
	Fleets                []pageFleet
	Reasons               []Tally
	Size                  int // of a cell, without the gap
	Left, Top             int // of the cells
	Width, Height, Legend int
	Bands                 []band
	Labels                []label
	Cells                 []square
	Lines                 []string
}

type pageFleet struct {
	Name                   string
	Units, Orders, Product int
	Peers, Anchor          string
}

// band is the name of a fleet beside its rows or above its columns.
type band struct {
	Name, Full string
	At         int
	Down       bool // beside the rows
}

type label struct {
	Name                                string
	Number                              int
	Column                              string
	NameX, RowX, RowY, ColumnX, ColumnY int
}

// square is a cell. Its class is m, met; r, refused; s, some refused; n, no meeting.
type square struct {
	Class, Title, Cross, Text string
	X, Y, TextX, TextY        int
}

const (
	pictureSize = 640 // pixels of the cells, about
	minCell     = 12  // a label's height
	maxCell     = 56
	letter      = 7 // pixels of width
)

// Page gives the matrix as a page of HTML with a picture, in one file that needs no other.
func (m *Matrix) Page() ([]byte, error) {
	t, err := template.New("page").Parse(pageTemplate)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, m.draw()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (m *Matrix) draw() *page {
	p := &page{Matrix: m, Meetings: m.Met + m.Refused, Reasons: m.Reasons(), Each: "each unit"}
	p.Took, p.Rate = fmt.Sprintf("%.1f s", m.Took.Seconds()), fmt.Sprintf("%.0f", float64(p.Meetings)/m.Took.Seconds())
	var names []string
	for i, f := range m.Fleets {
		profile, anchor := f.Orders[0].Profile, f.Bundle.Anchor.Hash()
		names = append(names, m.FleetName(i))
		p.Fleets = append(p.Fleets, pageFleet{m.FleetName(i), f.Head.Units, len(f.Orders), int(profile.Product),
			strings.Trim(fmt.Sprint(profile.Peers), "[]"), hex.EncodeToString(anchor[:])})
	}
	p.Headline = "Who meets whom: " + strings.Join(names, ", ")
	p.Counts = m.Groups[0].Serial == 0
	switch g := m.Groups[0]; {
	case g.Serial != 0:
	case g.Order != 0:
		p.Each = "the units of each order"
	default:
		p.Each = "the units of each fleet"
	}
	p.layOut()
	return p
}

// layOut gives everything its place.
func (p *page) layOut() {
	n := len(p.Groups)
	step := max(minCell, min(maxCell, pictureSize/n))
	p.Size = step - 1
	longest, widest := 0, 0
	for _, g := range p.Groups {
		longest = max(longest, len(shortName(g)))
	}
	for i := range p.Matrix.Fleets {
		widest = max(widest, len(p.FleetName(i)))
	}
	widest = min(widest, maxBand)
	p.Left, p.Top = (widest+1)*8+(longest+6)*letter, 52
	p.Width, p.Height, p.Legend = max(p.Left+n*step, p.Left+400)+2, p.Top+n*step+40, p.Top+n*step+18
	for i, g := range p.Groups {
		at := i * step
		if i == 0 || p.Groups[i-1].Fleet != g.Fleet {
			full := p.FleetName(g.Fleet)
			p.Bands = append(p.Bands, band{cut(full, maxBand), full, p.Top + at, true}, band{cut(full, p.columns(g.Fleet)*step/8), full, p.Left + at, false})
		}
		if i > 0 && p.Groups[i-1].Fleet != g.Fleet {
			p.Lines = append(p.Lines, fmt.Sprintf("M%d %dh%d", p.Left, p.Top+at-1, n*step), fmt.Sprintf("M%d %dv%d", p.Left+at-1, p.Top, n*step))
		}
		middle := at + p.Size/2
		number := fmt.Sprint(i + 1)
		if step < 3*letter && (i+1)%5 != 0 {
			number = "" // above the columns
		}
		p.Labels = append(p.Labels, label{shortName(g), i + 1, number, p.Left - 5*letter, p.Left - 6, p.Top + middle + 4, p.Left + middle, p.Top - 6})
		for j := range p.Groups {
			p.Cells = append(p.Cells, p.square(i, j, p.Left+j*step, p.Top+at))
		}
	}
}

const maxBand = 16 // letters of a fleet's name beside its rows

// columns is how many of them a fleet has.
func (p *page) columns(fleet int) (n int) {
	for _, g := range p.Groups {
		if g.Fleet == fleet {
			n++
		}
	}
	return n
}

func cut(name string, most int) string {
	if len(name) <= max(most, 3) {
		return name
	}
	return name[:max(most, 3)-1] + "…"
}

// shortName is a group's without its fleet's.
func shortName(g Group) string {
	switch {
	case g.Serial != 0:
		return g.Serial.String()
	case g.Order != 0:
		return fmt.Sprintf("order %d", g.Order)
	}
	return "all"
}

func (p *page) square(i, j, x, y int) square {
	c := p.Matrix.Cells[i][j]
	s := square{X: x, Y: y, TextX: x + p.Size/2, TextY: y + p.Size/2 + 4, Class: "m"}
	units := p.Groups[i].Serial != 0
	outcome := fmt.Sprintf("%d met", c.Met)
	switch {
	case c.Met+c.Refused == 0:
		s.Class, outcome = "n", "no meeting"
	case c.Refused == 0:
	case c.Met == 0:
		s.Class, outcome = "r", fmt.Sprintf("%d refused", c.Refused)
	default:
		s.Class, outcome = "s", fmt.Sprintf("%d met, %d refused", c.Met, c.Refused)
	}
	if units && c.Met+c.Refused == 1 {
		outcome = outcome[len("1 "):]
	}
	s.Title = fmt.Sprintf("%s begins, %s answers: %s", p.Name(p.Groups[i]), p.Name(p.Groups[j]), outcome)
	for _, t := range c.Reasons {
		who := "who began"
		if t.Answerer {
			who = "who answered"
		}
		s.Title += fmt.Sprintf("\n%d refused by %s: %s", t.Times, who, t.Reason)
	}
	if text := c.String(); !units && c.Met+c.Refused > 0 && len(text)*letter <= p.Size {
		s.Text = text
	}
	if s.Class == "r" && s.Text == "" {
		arm := p.Size / 4
		s.Cross = fmt.Sprintf("M%d %dl%d %[3]dm0 -%[3]dl-%[3]d %[3]d", x+p.Size/2-arm, y+p.Size/2-arm, 2*arm)
	}
	return s
}
