package main

import (
	"context"
	dh "crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/fleet"
	"github.com/birthmark/birthmark/scripts/figures"
)

const (
	meetingRounds = 15
	meetingUnits  = 64 // 4032 meetings, about as long as the floor's time
	meetingTime   = 2 * time.Second
)

// handshakesPerSecond lets all units of a fleet meet, several times, each time between two measurements of the operations that a meeting
// needs. The figure is the median, which what else the machine does moves least.
func handshakesPerSecond(ctx context.Context, folder string, profile *ca.Profile) (figures.Figure, error) {
	path := filepath.Join(folder, "meet.cbor")
	r := fleet.MakeRequest{Out: path, Units: meetingUnits, Orders: 1, Seed: "bench", Profile: profile}
	if err := fleet.Make(ctx, r, func(int) {}); err != nil {
		return figures.Figure{}, err
	}
	f, err := fleet.Open(path)
	if err != nil {
		return figures.Figure{}, err
	}
	before, err := meetingOperations()
	var ratios, rates, floors []float64
	for range meetingRounds {
		if err != nil {
			return figures.Figure{}, err
		}
		var m *fleet.Matrix
		if m, err = fleet.MeetAll(ctx, fleet.MatrixRequest{Fleets: []*fleet.Fleet{f}}, func(int) {}); err == nil && m.Refused > 0 {
			err = fmt.Errorf("%d meetings of a fleet's units are refused", m.Refused)
		}
		if err != nil {
			return figures.Figure{}, err
		}
		var after float64
		after, err = meetingOperations()
		rate, floor := float64(m.Met)/m.Took.Seconds(), (before+after)/2
		ratios, rates, floors = append(ratios, rate/floor), append(rates, rate), append(floors, floor)
		before = after
	}
	slices.Sort(ratios)
	slices.Sort(rates)
	slices.Sort(floors)
	return figures.Figure{Name: "fleet_meet_ratio", Value: ratios[meetingRounds/2], Floor: figures.Of(1), Bar: figures.Of(0.7),
		Note: fmt.Sprintf("first meetings, %.0f/s; GenerateKey, ECDH, SignASN1 and three VerifyASN1 a side on all cores: %.0f/s; medians of %d rounds, %.2f to %.2f",
			rates[meetingRounds/2], floors[meetingRounds/2], meetingRounds, ratios[0], ratios[meetingRounds-1])}, err
}

// meetingOperations is how many times a second the standard library does the operations on the curve that a first meeting needs, on all
// cores: on each side an ephemeral key, ECDH, a signature, and three that are verified, of order, unit and handshake.
func meetingOperations() (float64, error) {
	digest, signer, signature, err := signed()
	if err != nil {
		return 0, err
	}
	peer, err := dh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return 0, err
	}
	point := peer.PublicKey().Bytes()
	side := func() error {
		own, err := dh.P256().GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		peer, err := dh.P256().NewPublicKey(point)
		if err != nil {
			return err
		}
		if _, err := own.ECDH(peer); err != nil {
			return err
		}
		if _, err := ecdsa.SignASN1(rand.Reader, signer, digest[:]); err != nil {
			return err
		}
		for range 3 {
			if !ecdsa.VerifyASN1(&signer.PublicKey, digest[:], signature) {
				return errors.New("a signature does not verify")
			}
		}
		return nil
	}
	return perSecondFor(meetingTime, func() error { return errors.Join(side(), side()) })
}
