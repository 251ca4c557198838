//go:build cgo

package hsm

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/miekg/pkcs11"
)

const benchSlice = 50 * time.Millisecond // of one way to sign, before the next: load from outside hits all alike

// Bench measures signatures a second for about the time given, one round at least: through Signer.Sign, and through the bare
// binding as the floor, with and without the verification that Signer.Sign never leaves out. It signs
// with the key that uri names, or with a throwaway key if it names none.
func Bench(ctx context.Context, uri string, options Options, duration time.Duration) (Figures, error) {
	t, err := openToken(ctx, uri, options)
	if err != nil {
		return Figures{}, err
	}
	figures, err := t.bench(ctx, duration)
	if err != nil {
		err = fmt.Errorf("bench token %q: %w", t.identity.Token, err)
	}
	return figures, errors.Join(err, t.Close())
}

func (t *Token) bench(ctx context.Context, duration time.Duration) (f Figures, err error) {
	want := t.uri.Key()
	var k *Signer
	if want.Label != "" || want.ID != nil {
		k, err = t.Signer(ctx, want)
	} else if k, err = t.throwaway(ctx); err == nil {
		defer func() { err = errors.Join(err, t.discard(ctx, k)) }()
	}
	if err != nil {
		return Figures{}, err
	}
	f = Figures{Token: t.identity.String(), Workers: cap(t.room)}
	var sign, raw, checked stopwatch
	for start := time.Now(); f.Rounds == 0 || time.Since(start) < duration; f.Rounds++ {
		err := errors.Join(
			sign.run(f.Workers, func(l *lap) error { return k.signAll(l) }),
			raw.run(f.Workers, func(l *lap) error { return k.signBare(ctx, l, false) }),
			checked.run(f.Workers, func(l *lap) error { return k.signBare(ctx, l, true) }))
		if err != nil {
			return Figures{}, err
		}
	}
	f.Sign, f.Raw, f.Checked = sign.rate(), raw.rate(), checked.rate()
	f.OfRaw, f.OfChecked = f.Sign.PerSecond/f.Raw.PerSecond, f.Sign.PerSecond/f.Checked.PerSecond
	return f, nil
}

// signAll signs as every caller of this package does.
func (k *Signer) signAll(l *lap) error {
	digest := sha256.Sum256([]byte("birthmark bench"))
	for l.next() {
		if _, err := k.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
			return err
		}
	}
	return nil
}

// signBare signs with the binding's own calls in one session that is held from start to end.
func (k *Signer) signBare(ctx context.Context, l *lap, check bool) error {
	digest := sha256.Sum256([]byte("birthmark bench"))
	mechanism := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil)}
	_, err := k.token.try(ctx, reading, func(s session) error {
		private, err := k.in(s)
		if err != nil {
			return err
		}
		for l.next() {
			if err := s.SignInit(s.handle, mechanism, private); err != nil {
				return fmt.Errorf("C_SignInit: %w", err)
			}
			signature, err := s.Sign(s.handle, digest[:])
			if err != nil {
				return fmt.Errorf("C_Sign: %w", err)
			}
			if check {
				if len(signature) != 64 {
					return fmt.Errorf("C_Sign: signature of %d bytes, want 64", len(signature))
				}
				der, err := encodeSignature([64]byte(signature))
				if err != nil {
					return err
				}
				if _, err := verified(k.pair.public, digest[:], der); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return err
}

// stopwatch gathers the times of one way to sign.
type stopwatch struct {
	running time.Duration
	samples []time.Duration
}

// lap is one worker's share of a slice.
type lap struct {
	end     time.Time
	last    time.Time
	samples []time.Duration
}

// next ends one measured turn and says whether there is time for another. There always is for the first.
func (l *lap) next() bool {
	now := time.Now()
	if !l.last.IsZero() {
		l.samples = append(l.samples, now.Sub(l.last))
	}
	l.last = now
	return now.Before(l.end) || len(l.samples) == 0
}

func (w *stopwatch) run(workers int, work func(*lap) error) error {
	start := time.Now()
	laps, errs := make([]lap, workers), make([]error, workers)
	var group sync.WaitGroup
	for i := range laps {
		laps[i].end = start.Add(benchSlice)
		group.Go(func() { errs[i] = work(&laps[i]) })
	}
	group.Wait()
	w.running += time.Since(start)
	for _, l := range laps {
		w.samples = append(w.samples, l.samples...)
	}
	return errors.Join(errs...)
}

func (w *stopwatch) rate() Rate {
	slices.Sort(w.samples)
	n := len(w.samples)
	return Rate{PerSecond: float64(n) / w.running.Seconds(), Median: w.samples[n/2], P99: w.samples[n*99/100]}
}
