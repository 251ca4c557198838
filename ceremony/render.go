package ceremony

import (
	"bytes"
	_ "embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"slices"
	"strings"
)

//go:embed page.html
var pageTemplate string

// sheet is a transcript as people read, print and sign it.
type sheet struct {
	Title, Build, Digest string
	Rehearsal            bool
	Words                []string // eight on a line
	People               []Person
	Plan                 string
	Rows                 []row
	Head                 string // hash of the last entry that is shown, and its words: what is signed by hand
	HeadWords            []string
}

// row is one entry, or calls that followed each other.
type row struct {
	Number, At, What, Text string
	Calls                  []callRow
}

// callRow is one module call, as often as it was repeated with the same return code.
type callRow struct {
	Function, Code string
	Times          int
}

// render writes the transcript as text and as a page, up to its newest entry. What follows holds the hashes of both.
func (p *performance) render() (text, page []byte, err error) {
	digest, head := p.plan.Digest(), p.journal.head()
	s := sheet{
		Title: p.plan.Title, Build: p.Build, Digest: hex.EncodeToString(digest[:]), Rehearsal: p.rehearsal,
		Words: slices.Collect(grouped(Words(digest[:]))), People: p.plan.People, Plan: string(p.plan.Canonical()),
		Rows: p.journal.rows(), Head: hex.EncodeToString(head[:]), HeadWords: slices.Collect(grouped(Words(head[:]))),
	}
	t, err := template.New("page").Parse(pageTemplate)
	if err != nil {
		return nil, nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, s); err != nil {
		return nil, nil, err
	}
	return s.text(), b.Bytes(), nil
}

func (t Transcript) rows() (rows []row) {
	for _, e := range t {
		at := strings.NewReplacer("T", " ", "Z", "").Replace(e.At)
		if e.What != call {
			rows = append(rows, row{fmt.Sprint(e.Number), at, e.What, e.Text, nil})
			continue
		}
		if n := len(rows); n == 0 || rows[n-1].What != call {
			rows = append(rows, row{fmt.Sprint(e.Number), at, call, "", nil})
		}
		r := &rows[len(rows)-1]
		if n := len(r.Calls); n > 0 && r.Calls[n-1].Function == e.Fields["function"] && r.Calls[n-1].Code == e.Fields["code"] {
			r.Calls[n-1].Times++
			continue
		}
		r.Calls = append(r.Calls, callRow{e.Fields["function"], e.Fields["code"], 1})
	}
	return rows
}

func (c callRow) String() string {
	text := c.Function
	if c.Code != "CKR_OK" {
		text += " " + c.Code
	}
	if c.Times > 1 {
		text += fmt.Sprintf(" x%d", c.Times)
	}
	return text
}

// text is the sheet in 100 columns.
func (s sheet) text() []byte {
	var b strings.Builder
	kind := "TRANSCRIPT OF A CEREMONY"
	if s.Rehearsal {
		kind = "REHEARSAL OF A CEREMONY, with throwaway keys: nothing here is valid"
	}
	fmt.Fprintf(&b, "%s\n%s\n\nplan   SHA-256 %s\n", kind, s.Title, s.Digest)
	for _, line := range s.Words {
		fmt.Fprintf(&b, "       %s\n", line)
	}
	fmt.Fprintf(&b, "build  %s\n\n", s.Build)
	for _, r := range s.Rows {
		fmt.Fprintf(&b, "%4s  %s  %s\n", r.Number, r.At, r.What)
		lines := wrapped(r.Text)
		if r.What == call {
			var calls []string
			for _, c := range r.Calls {
				calls = append(calls, strings.ReplaceAll(c.String(), " ", "\u00a0"))
			}
			lines = wrapped(strings.Join(calls, ", "))
		}
		for _, line := range lines {
			fmt.Fprintf(&b, "      %s\n", strings.ReplaceAll(line, "\u00a0", " "))
		}
	}
	fmt.Fprintf(&b, "\nCalls are those of the token's module; they returned CKR_OK where nothing else is said.\n")
	fmt.Fprintf(&b, "\nWe were there, and this is what happened. The transcript up to here has SHA-256\n%s\n", s.Head)
	for _, line := range s.HeadWords {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	for _, person := range s.People {
		fmt.Fprintf(&b, "\n\n%-40s  %s\n%s, %s\n", strings.Repeat("_", 40), strings.Repeat("_", 20), person.Name, person.Role)
	}
	fmt.Fprintf(&b, "\n\nTHE PLAN, in its canonical form\n\n%s", s.Plan)
	return []byte(b.String())
}

// wrapped breaks a text between its words so that an indented line fits 100 columns.
func wrapped(text string) (lines []string) {
	line := ""
	for word := range strings.SplitSeq(text, " ") {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > 94:
			lines = append(lines, line)
			line = word
		default:
			line += " " + word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
