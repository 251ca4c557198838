package ca

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/veraison/go-cose"
)

const (
	releaseTitle = "birthmark release 1"
	releaseSize  = 14 // bytes: name 2, serial number 8, generation 4
)

// Release ends the pairing of one unit (docs/formats.md, "Trust"), once: with it the unit's generation moves on. SignRelease and
// ParseRelease make them.
type Release struct {
	Root       RootName
	Serial     EUI64
	Generation uint32 // of the pairing that ends
	Object     []byte // as it was signed

	signed *cose.Sign1Message
}

// SignRelease signs a release by the root of the anchor. Another key wraps ErrVerify.
func SignRelease(random io.Reader, root crypto.Signer, a Anchor, serial EUI64, generation uint32) (*Release, error) {
	if !a.Key().Equal(root.Public()) {
		return nil, fmt.Errorf("release: the key is not that of root %d: %w", a.Name().Epoch(), ErrVerify)
	}
	name := a.Name()
	payload := binary.BigEndian.AppendUint64(name[:], uint64(serial))
	object, err := signForUnits(random, root, releaseTitle, binary.BigEndian.AppendUint32(payload, generation))
	if err != nil {
		return nil, err
	}
	r, err := ParseRelease(object)
	if err != nil {
		return nil, fmt.Errorf("read back the new release: %w", err)
	}
	return r, r.Verify(a)
}

// ParseRelease reads a release. Its signature is not checked: Verify does that. Errors wrap ErrMalformed.
func ParseRelease(object []byte) (*Release, error) {
	m, err := parseForUnits(releaseTitle, object)
	if err != nil {
		return nil, err
	}
	if len(m.Payload) != releaseSize {
		return nil, fmt.Errorf("release: payload of %d bytes, want %d: %w", len(m.Payload), releaseSize, ErrMalformed)
	}
	r := &Release{
		Root:       RootName(m.Payload[:2]),
		Serial:     EUI64(binary.BigEndian.Uint64(m.Payload[2:])),
		Generation: binary.BigEndian.Uint32(m.Payload[10:]),
		Object:     bytes.Clone(object),
		signed:     m,
	}
	if err := r.Root.check(); err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	return r, nil
}

// Verify checks that the root of this anchor signed the release. Errors wrap ErrVerify.
func (r *Release) Verify(a Anchor) error {
	if r.Root != a.Name() {
		return fmt.Errorf("release: it is of root %x, not of %x: %w", r.Root, a.Name(), ErrVerify)
	}
	return verifyObject(r.signed, releaseTitle, a.Key())
}
