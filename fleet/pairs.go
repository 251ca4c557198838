package fleet

import (
	"crypto/sha256"
	"encoding/binary"
)

// pairs numbers the ordered pairs of different units: all of them, or a sample that has each once.
type pairs struct {
	units    int
	meetings int
	keys     [4]uint64 // of the sample's permutation
	half     int       // bits of each half of what it permutes, 0: no sample
}

func newPairs(units, sample int, seed string) pairs {
	p := pairs{units: units, meetings: units * (units - 1)}
	if sample == 0 || sample >= p.meetings {
		return p
	}
	for p.half = 1; 1<<(2*p.half) < p.meetings; p.half++ {
	}
	digest := sha256.Sum256([]byte(seed))
	for i := range p.keys {
		p.keys[i] = binary.BigEndian.Uint64(digest[8*i:])
	}
	p.meetings = sample
	return p
}

// at gives who begins meeting k and who answers, by their indices.
func (p pairs) at(k int) (begins, answers int) {
	if p.half > 0 {
		for k = p.permute(k); k >= p.units*(p.units-1); k = p.permute(k) { // a walk along its cycle ends inside, as it began there
		}
	}
	begins, answers = k/(p.units-1), k%(p.units-1)
	if answers >= begins {
		answers++
	}
	return begins, answers
}

// permute is a Feistel network over 2 * half bits.
func (p pairs) permute(k int) int {
	mask := uint64(1)<<p.half - 1
	left, right := uint64(k)>>p.half, uint64(k)&mask
	for _, key := range p.keys {
		x := (right ^ key) * 0x9E3779B97F4A7C15 // 2^64 by the golden ratio: its high bits depend on all
		x = (x ^ x>>32) * 0x9E3779B97F4A7C15
		left, right = right, left^x>>32&mask
	}
	return int(left<<p.half | right)
}
