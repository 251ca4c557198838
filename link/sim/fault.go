package sim

import (
	"bytes"
	"math/rand/v2"
	"time"
)

// Fault is what is wrong with a line. The zero value is a good one. The same Seed spoils the same traffic in the same
// way.
type Fault struct {
	Seed     uint64
	Drop     float64       // chance of each byte, either way, to be lost
	Flip     float64       // chance of each byte, either way, to have one bit turned over
	Garbage  int           // random bytes before each answer
	Changed  int           // bytes of each answer that have one bit turned over, never the zero that ends it
	Deaf     bool          // what the station sends is lost
	Silent   bool          // the unit hears and works, but its answers are lost
	Delay    time.Duration // before each answer
	Dribble  time.Duration // pause before each byte of an answer
	CutAfter int           // bytes, both ways together, after which the unit is unplugged; 0 is never

	PowerFails bool // before the unit hears another byte; what the line does then is Options.OwnSupply's
}

// spoiler applies a Fault to a stream of bytes.
type spoiler struct {
	Fault
	rand *rand.Rand
	left int // bytes until the cut
}

func newSpoiler(f Fault) *spoiler {
	return &spoiler{Fault: f, rand: rand.New(rand.NewPCG(f.Seed, 0)), left: f.CutAfter}
}

// hear gives what the unit gets of the station's bytes, and whether the unit is cut off now.
func (s *spoiler) hear(b []byte) (heard []byte, cut bool) {
	if s.Deaf {
		return nil, false
	}
	for _, c := range b {
		if cut = s.count(); cut {
			return heard, true
		}
		heard = s.carry(heard, c)
	}
	return heard, false
}

// say gives what the station gets of an answer, and whether the unit is cut off after it.
func (s *spoiler) say(answer []byte) (said []byte, cut bool) {
	if s.Silent {
		return nil, false
	}
	for range s.Garbage {
		said = append(said, byte(s.rand.Uint32()))
	}
	if s.Changed > 0 {
		answer = bytes.Clone(answer)
		inner := len(answer) - 1
		for _, i := range s.rand.Perm(inner)[:min(s.Changed, inner)] {
			answer[i] ^= 1 << s.rand.IntN(8)
		}
	}
	for _, c := range answer {
		if cut = s.count(); cut {
			return said, true
		}
		said = s.carry(said, c)
	}
	return said, false
}

// count says whether the line is cut before the next byte.
func (s *spoiler) count() bool {
	if s.CutAfter == 0 {
		return false
	}
	s.left--
	if s.left < 0 {
		s.CutAfter = 0 // once
		return true
	}
	return false
}

func (s *spoiler) carry(to []byte, c byte) []byte {
	if s.rand.Float64() < s.Drop {
		return to
	}
	if s.rand.Float64() < s.Flip {
		c ^= 1 << s.rand.IntN(8)
	}
	return append(to, c)
}
