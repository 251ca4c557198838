//go:build cgo

package spoil

import (
	"errors"
	"testing"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/device"
)

// The binding of the library says the same of each kind as the library itself, but for what only an image with another anchor knows.
func TestSpoiledBinding(t *testing.T) {
	s := spoiled(t)
	for _, k := range s.Kinds {
		if k.Check == "anchor" {
			continue
		}
		var check device.Check
		var status device.Status
		got := 0
		switch err := asked(t, s, k); {
		case errors.As(err, &check):
			got = int(check)
		case errors.As(err, &status):
			got = int(status)
		case err != nil:
			t.Errorf("%s: %v", k.Kind, err)
			continue
		}
		if got != k.Unit.Number {
			t.Errorf("%s: %d, want %d", k.Kind, got, k.Unit.Number)
		}
	}
}

func asked(t *testing.T, s *Fleet, k Kind) error {
	t.Helper()
	b := bundleOf(t, s, k)
	file := s.files[k.File]
	birth := device.Birth{Anchor: b.Anchor, Links: b.Links}
	if len(b.List) > 0 {
		birth.List = b.List
	}
	switch k.Unit.Function {
	case "bm_trust":
		birth.Unit, birth.Order = certificates(t, file)
		birth.Key = publicKey(t, s.files[k.Key])
		return device.Judge(ca.Anchor(b.Anchor).Hash(), s.Product, birth)
	case "bm_trust_peer":
		return device.JudgePeer(birth, s.Peers, file)
	case "bm_trust_link":
		return device.JudgeLink(birth, file)
	case "bm_trust_list":
		return device.JudgeList(birth, file)
	}
	serial, err := ca.ParseEUI64(k.Serial)
	if err != nil {
		t.Fatal(err)
	}
	return device.JudgeRelease(birth, serial.Bytes(), *k.Generation, file)
}
