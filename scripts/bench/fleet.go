package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/fleet"
	"github.com/birthmark/birthmark/scripts/figures"
	"github.com/birthmark/birthmark/templates"
)

const (
	fleetUnits = 1_000_000
	floorTime  = 5 * time.Second
)

// fleets makes a million units, as a CBOR sequence and as a database, each between two measurements of its floor.
func fleets(ctx context.Context, folder string) ([]figures.Figure, error) {
	text, err := templates.Product("demo-sensor")
	if err != nil {
		return nil, err
	}
	profile, err := ca.ParseProfile(text)
	if err != nil {
		return nil, err
	}
	var list []figures.Figure
	for _, form := range []struct {
		figure, name string
		bar          float64
	}{{"fleet_make_ratio", "fleet.cbor", 0.85}, {"fleet_make_sqlite_ratio", "fleet.db", 0.6}} {
		before, err := keysAndSignatures()
		if err != nil {
			return nil, err
		}
		start := time.Now()
		r := fleet.MakeRequest{Out: filepath.Join(folder, form.name), Units: fleetUnits, Orders: 1, Seed: "bench", Profile: profile}
		if err := fleet.Make(ctx, r, func(int) {}); err != nil {
			return nil, err
		}
		rate := fleetUnits / time.Since(start).Seconds()
		after, err := keysAndSignatures()
		if err != nil {
			return nil, err
		}
		floor := (before + after) / 2
		list = append(list, figures.Figure{Name: form.figure, Value: rate / floor, Floor: figures.Of(1), Bar: figures.Of(form.bar),
			Note: fmt.Sprintf("%d units, %.0f/s; GenerateKey and SignASN1 on all cores, before and after: %.0f/s, %.0f/s", fleetUnits, rate, before, after)})
	}
	verifying, err := certificates(ctx, filepath.Join(folder, "fleet.cbor"))
	if err != nil {
		return nil, err
	}
	meeting, err := handshakesPerSecond(ctx, folder, profile)
	if err != nil {
		return nil, err
	}
	list = append(list, verifying, meeting)
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return nil, err
	}
	return append(list, figures.Figure{Name: "fleet_memory_mb", Value: float64(usage.Maxrss) / 1024, Unit: "MB", Bar: figures.Of(1000),
		Note: "the most that this whole run ever had"}), nil
}

// certificates verifies a whole fleet's between two measurements of its floor.
func certificates(ctx context.Context, path string) (figures.Figure, error) {
	f, err := fleet.Open(path)
	if err != nil {
		return figures.Figure{}, err
	}
	before, err := verifications()
	if err != nil {
		return figures.Figure{}, err
	}
	start := time.Now()
	n, refused, err := f.Verify(ctx, f.Bundle, func(int) {})
	if err == nil && len(refused) > 0 {
		err = fmt.Errorf("%d units of the fleet are refused", len(refused))
	}
	if err != nil {
		return figures.Figure{}, err
	}
	rate := float64(n) / time.Since(start).Seconds()
	after, err := verifications()
	return figures.Figure{Name: "cert_verify_ratio", Value: rate / ((before + after) / 2), Floor: figures.Of(1), Bar: figures.Of(0.9),
		Note: fmt.Sprintf("%d certificates, %.0f/s; VerifyASN1 on all cores, before and after: %.0f/s, %.0f/s", n, rate, before, after)}, err
}

// keysAndSignatures is how many times a second the standard library makes a key and a signature, on all cores.
func keysAndSignatures() (float64, error) {
	digest, signer, _, err := signed()
	if err != nil {
		return 0, err
	}
	return perSecond(func() error {
		_, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err == nil {
			_, err = ecdsa.SignASN1(rand.Reader, signer, digest[:])
		}
		return err
	})
}

// verifications is how many times a second the standard library verifies a signature, on all cores.
func verifications() (float64, error) {
	digest, signer, signature, err := signed()
	if err != nil {
		return 0, err
	}
	return perSecond(func() error {
		if !ecdsa.VerifyASN1(&signer.PublicKey, digest[:], signature) {
			return errors.New("a signature does not verify")
		}
		return nil
	})
}

func signed() (digest [32]byte, signer *ecdsa.PrivateKey, signature []byte, err error) {
	digest = sha256.Sum256([]byte("birthmark"))
	if signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err == nil {
		signature, err = ecdsa.SignASN1(rand.Reader, signer, digest[:])
	}
	return digest, signer, signature, err
}

// perSecond runs something on all cores for a while.
func perSecond(do func() error) (float64, error) { return perSecondFor(floorTime, do) }

func perSecondFor(long time.Duration, do func() error) (float64, error) {
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	start := time.Now()
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for time.Since(start) < long {
				if err := do(); err != nil {
					failed.Store(&err)
					return
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(done.Load()) / time.Since(start).Seconds(), nil
}
