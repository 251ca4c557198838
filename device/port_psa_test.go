//go:build cgo && psa

package device

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
)

// psaIdentity is a PSA port with this private key, to be freed, and the key's public half.
func psaIdentity(t testing.TB, private []byte, agreement bool) (psaPort, []byte) {
	t.Helper()
	usage := uint32(psaSign)
	if agreement {
		usage = psaAgree
	}
	id, err := psaKey(private, agreement, usage)
	if err != nil {
		t.Fatal(err)
	}
	p, status := newPSAPort(id)
	key, err := ecdh.P256().NewPrivateKey(private)
	if status != portOK || err != nil {
		t.Fatal(status, err)
	}
	return p, key.PublicKey().Bytes()[1:]
}

func randomScalar(t testing.TB) []byte {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key.Bytes()
}

func TestPSAIdentity(t *testing.T) {
	for _, test := range []struct {
		name      string
		private   []byte
		agreement bool
		usage     uint32
		want      int // key usage of the certificate; 0: refused
	}{
		{"signs", randomScalar(t), false, psaSign, 1},
		{"agrees", randomScalar(t), true, psaAgree, 16},
		{"ECDSA without the right to sign", randomScalar(t), false, psaAgree, 0},
		{"ECDH without the right to agree", randomScalar(t), true, psaSign, 0},
		{"P-384", append(make([]byte, 16), randomScalar(t)...), false, psaSign, 0},
	} {
		id, err := psaKey(test.private, test.agreement, test.usage)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		p, status := newPSAPort(id)
		if p.keyUsage() != test.want || (status == portOK) != (test.want != 0) {
			t.Errorf("%s: key usage %d, status %d", test.name, p.keyUsage(), status)
		}
		p.free()
		p, status = newPSAPort(id)
		if status != portFailed {
			t.Errorf("%s, destroyed: %d", test.name, status)
		}
		p.free()
	}
}

func TestPSACalls(t *testing.T) {
	p, key := psaIdentity(t, randomScalar(t), false)
	defer p.free()
	if got, status := p.publicKey(); status != portOK || !bytes.Equal(got, key) {
		t.Errorf("public key: %d, %x, not %x", status, got, key)
	}
	digest := sha256.Sum256([]byte("digest"))
	signature, status := p.sign(digest[:])
	if software := (&softwareKeys{}); status != portOK || software.verify(key, digest[:], signature) != nil {
		t.Errorf("signature: %d, %x", status, signature)
	}
	one, status1 := p.random()
	two, status2 := p.random()
	if status1 != portOK || status2 != portOK || bytes.Equal(one, two) {
		t.Errorf("random: %d, %x, %d, %x", status1, one, status2, two)
	}
	block, status := p.aes(unhex(t, "000102030405060708090a0b0c0d0e0f"), unhex(t, "00112233445566778899aabbccddeeff"))
	if want := unhex(t, "69c4e0d86a7b0430d8cdb78070b4c55a"); status != portOK || !bytes.Equal(block, want) { // FIPS 197, C.1
		t.Errorf("AES: %d, %x", status, block)
	}
	if _, status := p.ecdh(ownIdentity, key); status != portFailed {
		t.Errorf("ECDH with a key that signs: %d", status)
	}
}

// An ephemeral key serves until the next one, or the end.
func TestPSAEphemeral(t *testing.T) {
	p, _ := psaIdentity(t, randomScalar(t), false)
	defer p.free()
	held := psaKeys()
	peer, peerKey := newPeer(t)
	if _, status := p.ecdh(ownEphemeral, peerKey); status != portFailed {
		t.Errorf("without a key: %d", status)
	}
	first, _ := p.ephemeral()
	for range 2 {
		own, status := p.ephemeral()
		if status != portOK || bytes.Equal(own, first) {
			t.Fatalf("ephemeral: %d, %x", status, own)
		}
		for range 3 {
			if secret, status := p.ecdh(ownEphemeral, peerKey); status != portOK || !bytes.Equal(secret, sharedWith(t, peer, own)) {
				t.Errorf("ecdh: %d, %x", status, secret)
			}
		}
		if psaKeys() != held+1 {
			t.Errorf("PSA holds %d keys, not one more than %d", psaKeys(), held)
		}
	}
	p.end()
	if _, status := p.ecdh(ownEphemeral, peerKey); status != portFailed || psaKeys() != held {
		t.Errorf("after the end: %d, and PSA holds %d keys, not %d", status, psaKeys(), held)
	}
}

func TestPSAWycheproofECDSA(t *testing.T) {
	p, _ := psaIdentity(t, randomScalar(t), false)
	defer p.free()
	wycheproofECDSA(t, p.port)
}

func TestPSAWycheproofECDH(t *testing.T) {
	for _, test := range wycheproofECDH(t) {
		p, _ := psaIdentity(t, test.private, true)
		secret, status := p.ecdh(ownIdentity, test.public)
		p.free()
		if test.shared == nil {
			if status != portFailed || !bytes.Equal(secret, make([]byte, 32)) {
				t.Errorf("test %d, invalid: %d, %x", test.id, status, secret)
			}
			continue
		}
		if status != portOK || !bytes.Equal(secret, test.shared) {
			t.Errorf("test %d: %d, %x, not %x", test.id, status, secret, test.shared)
		}
	}
}

// psaHandshakes are two ends by method, of which one has its keys in PSA.
func psaHandshakes(t testing.TB, role Role, method int) (ends [2]*Handshake, p psaPort) {
	t.Helper()
	var public [2][64]byte
	for i := range ends {
		static := method&(2>>i) != 0
		identity, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := identity.ECDH()
		if err != nil {
			t.Fatal(err)
		}
		public[i] = [64]byte(pair.PublicKey().Bytes()[1:])
		h, err := NewHandshake(Role(i), HandshakeConfig{
			Identity: identity, KeyAgreement: static, ID: []byte{0x41, byte(i) + 0x80}, Credential: []byte{byte(i)},
			Resolve: func(int, []byte) ([]byte, [64]byte, error) { return []byte{byte(1 - i)}, public[1-i], nil },
			Methods: 1 << method, Suites: []byte{2}, Connection: []byte{byte(i)},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Close)
		if Role(i) == role {
			p, _ = psaIdentity(t, pair.Bytes(), static)
			p.serveHandshake(h)
		}
		ends[i] = h
	}
	return ends, p
}

// A host with PSA meets an end without, in every method and both roles, and records go both ways.
func TestPSAHandshake(t *testing.T) {
	for method := range 4 {
		for _, role := range []Role{Initiator, Responder} {
			handshakes, p := psaHandshakes(t, role, method)
			exchangeMessages(t, handshakes)
			p.end()
			var ends [2]*Session
			for i, h := range handshakes {
				s, err := h.Session()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(s.Close)
				ends[i] = s
			}
			p.serveSession(ends[role])
			for from := range ends {
				text := fmt.Sprintf("method %d, role %d, from %d", method, role, from)
				ends[1-from].wantOpen(t, text, ends[from].mustSeal(t, text), text, nil)
			}
			p.free()
		}
	}
}

// Each of PSA's functions fails at each of its calls: the end that has it fails and says why, and no key is left behind.
func TestPSAFails(t *testing.T) {
	defer psaFail(-1)
	for _, method := range []int{0, 3} {
		for _, role := range []Role{Initiator, Responder} {
			for call := 0; ; call++ {
				handshakes, p := psaHandshakes(t, role, method)
				held := psaKeys()
				psaFail(call)
				err := firstFailure(handshakes)
				failed := psaCalled() > call
				psaFail(-1)
				p.end()
				if psaKeys() != held {
					t.Errorf("method %d, role %d, call %d: %d keys left in PSA", method, role, call, psaKeys()-held)
				}
				p.free()
				if !failed {
					if err != nil {
						t.Errorf("method %d, role %d: %v", method, role, err)
					}
					if call < 10 {
						t.Errorf("method %d, role %d: only %d calls", method, role, call)
					}
					break
				}
				if !errors.Is(err, ErrPort) {
					t.Errorf("method %d, role %d, call %d: %v", method, role, call, err)
				}
			}
		}
	}
}

// firstFailure runs the handshake and gives the first error; an end that is not PSA's has none of its own.
func firstFailure(ends [2]*Handshake) error {
	for n := range 4 {
		message, err := ends[n%2].Write()
		if err == nil {
			err = ends[1-n%2].Read(message)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
