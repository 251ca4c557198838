//go:build cgo

package device

import (
	"crypto/ecdh"
	"crypto/rand"
	"testing"
)

// newModels are two sides with new keys and credentials by kid.
func newModels(t testing.TB, method, suite int) (i, r *model) {
	identityI, identityR := newKey(t), newKey(t)
	i = &model{
		role: Initiator, method: method, suite: suite, identity: identityI, ephemeral: must(ecdh.P256().GenerateKey(rand.Reader)),
		id: unhex(t, "a104412b"), cred: unhex(t, "a1026149"), peer: publicKey(t, identityR), connection: []byte{0x0e},
	}
	r = &model{
		role: Responder, method: method, suite: suite, identity: identityR, ephemeral: must(ecdh.P256().GenerateKey(rand.Reader)),
		id: unhex(t, "a1044132"), cred: unhex(t, "a1026152"), peer: publicKey(t, identityI), connection: []byte{0x27},
	}
	i.peerID, i.peerCred, r.peerID, r.peerCred = r.id, r.cred, i.id, i.cred
	return i, r
}
