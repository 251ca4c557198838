package ceremony

import (
	"context"
	"fmt"
	"strings"
)

// attendance is who said Yes to what, in order; recorded once there is a transcript.
type attendance []string

// ask shows the people what will be done, has each say that they are here, and the officer that it is to be done. A plan is read aloud by
// its words: who reviewed it has them on paper.
func (p *performance) ask(ctx context.Context, fresh bool) (attendance, error) {
	digest := p.plan.Digest()
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nplan %x\n", p.plan.Title, digest)
	for line := range grouped(Words(digest[:])) {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	uses := p.plan.deed.uses
	if fresh {
		for _, u := range uses(p) {
			where, _, err := p.keys.Look(u.uri)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", u.role, err)
			}
			verb := "is used"
			if u.make {
				verb = "is made"
			}
			fmt.Fprintf(&b, "The key %s %s, at %s: %s\n", u.role, verb, u.uri, where)
		}
	} else {
		fmt.Fprintf(&b, "A run of this plan was stopped. It goes on.\n")
	}
	p.Console.Tell(b.String())
	var said attendance
	for _, person := range p.plan.People {
		question := fmt.Sprintf("%s, %s: are you here, and is this the plan that you know? Type Yes", person.Name, person.Role)
		if err := p.yes(ctx, question); err != nil {
			return nil, err
		}
		said = append(said, fmt.Sprintf("%s, %s, is here and knows the plan by its words.", person.Name, person.Role))
	}
	if err := p.yes(ctx, "Are the words read aloud, and shall it be done? Type Yes"); err != nil {
		return nil, err
	}
	return append(said, "The words were read aloud, and Yes was typed."), nil
}

func (p *performance) yes(ctx context.Context, question string) error {
	answer, err := p.Console.Ask(ctx, question)
	if err != nil {
		return err
	}
	if strings.TrimSpace(answer) != "Yes" {
		return fmt.Errorf("%q: %w", question, ErrDeclined)
	}
	return nil
}

// record writes them into the transcript.
func (a attendance) record(j *journal) error {
	for i, text := range a {
		what := present
		if i == len(a)-1 {
			what = agreed
		}
		if err := j.write(what, "", text); err != nil {
			return err
		}
	}
	return nil
}

// grouped gives words eight on a line.
func grouped(words string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		all := strings.Fields(words)
		for len(all) > 0 {
			n := min(8, len(all))
			if !yield(strings.Join(all[:n], " ")) {
				return
			}
			all = all[n:]
		}
	}
}
