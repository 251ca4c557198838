package device

import (
	"crypto/ecdh"
	"crypto/ecdsa"
)

// Role is a side of a handshake.
type Role int

// The sides, by their numbers in edhoc.h.
const (
	Initiator Role = iota
	Responder
)

// HandshakeConfig is what the two sides agree on beforehand and one side's own part: struct bm_edhoc_config of edhoc.h, and
// software keys in place of a chip.
type HandshakeConfig struct {
	Identity     *ecdsa.PrivateKey // of P-256
	KeyAgreement bool              // Identity is for static Diffie-Hellman; otherwise it signs
	ID           []byte            // ID_CRED_x as a plaintext carries it: a map, or the kid alone
	Credential   []byte            // CRED_x, the bytes that are hashed

	// Resolve finds the peer's CRED_x and public key, X then Y, from its ID_CRED_x, and judges it. attempt counts from 0, for
	// credentials that share an identifier. An error that is ErrUnknown tells the peer to send its credential by value; ErrPort
	// is a failure of this side; any other refuses the peer. Read's error wraps it.
	Resolve func(attempt int, id []byte) (credential []byte, key [64]byte, err error)

	Methods    uint8  // bits 0 to 3: exactly one for the Initiator, all that are taken for the Responder
	Suites     []byte // in order of preference
	Selected   int    // index of the suite that message_1 proposes
	Connection []byte // own connection identifier, encoded

	// Ephemeral makes each ephemeral key; nil: a random one.
	Ephemeral func() (*ecdh.PrivateKey, error)
}
