package fleet

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

func TestInOrder(t *testing.T) {
	late := alike(func(s span) int { // the first of each ten are the slowest
		time.Sleep(time.Duration(9-s.first%10) * 100 * time.Microsecond)
		return s.first
	})
	var got []int
	take := func(_ span, n int) error {
		got = append(got, n)
		return nil
	}
	if err := inOrder(t.Context(), spans(3, 100, 1), late, take); err != nil || len(got) != 97 || !slices.IsSorted(got) {
		t.Errorf("%v, %d results, sorted: %v", err, len(got), slices.IsSorted(got))
	}

	broken := errors.New("broken")
	taken := 0
	err := inOrder(t.Context(), spans(0, 1000, 1), late, func(_ span, n int) error {
		if taken++; n == 20 {
			return broken
		}
		return nil
	})
	if err != broken || taken != 21 {
		t.Errorf("%v after %d results", err, taken)
	}

	ctx, cancel := context.WithCancel(t.Context())
	taken = 0
	err = inOrder(ctx, spans(0, 1000, 1), late, func(_ span, n int) error {
		if taken++; n == 20 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || taken != 21 {
		t.Errorf("%v after %d results", err, taken)
	}
	taken = 0 // that it ends with the last result is no error
	ctx, cancel = context.WithCancel(t.Context())
	err = inOrder(ctx, spans(0, 3, 2), late, func(s span, _ int) error {
		if taken++; s.last == 3 {
			cancel()
		}
		return nil
	})
	if err != nil || taken != 2 {
		t.Errorf("%v after %d results", err, taken)
	}
}
