//go:build cgo

package device

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

// bytesHex is a byte string that JSON has in hex.
type bytesHex []byte

func (b *bytesHex) UnmarshalText(text []byte) error {
	decoded, err := hex.DecodeString(string(text))
	*b = decoded
	return err
}

// traceFile reads a file of testdata/edhoc.
func traceFile(t testing.TB, name string, into any) {
	t.Helper()
	text, err := os.ReadFile("../testdata/edhoc/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// trace is one handshake of p256-suite2.json.
type trace struct {
	Name       string
	Method     int
	X, Y       bytesHex // ephemeral private keys
	ConnI      bytesHex `json:"c_i"`
	ConnR      bytesHex `json:"c_r"`
	PrivI      bytesHex `json:"priv_i"`
	PrivR      bytesHex `json:"priv_r"`
	IDI        bytesHex `json:"idcred_i"`
	IDR        bytesHex `json:"idcred_r"`
	CredI      bytesHex `json:"cred_i"`
	CredR      bytesHex `json:"cred_r"`
	Proof2     bytesHex `json:"sig_or_mac_2"`
	Proof3     bytesHex `json:"sig_or_mac_3"`
	Message1   bytesHex `json:"message_1"`
	Message2   bytesHex `json:"message_2"`
	Message3   bytesHex `json:"message_3"`
	Message4   bytesHex `json:"message_4"`
	TH2        bytesHex `json:"th_2"`
	TH3        bytesHex `json:"th_3"`
	TH4        bytesHex `json:"th_4"`
	PRK2e      bytesHex `json:"prk_2e"`
	PRK3e2m    bytesHex `json:"prk_3e2m"`
	PRK4e3m    bytesHex `json:"prk_4e3m"`
	PRKOut     bytesHex `json:"prk_out"`
	MAC2       bytesHex `json:"mac_2"`
	MAC3       bytesHex `json:"mac_3"`
	M2         bytesHex `json:"m_2"`
	M3         bytesHex `json:"m_3"`
	Plaintext2 bytesHex `json:"plaintext_2"`
	Plaintext3 bytesHex `json:"plaintext_3"`
	K3         bytesHex `json:"k_3"`
	IV3        bytesHex `json:"iv_3"`
	Exporter   bytesHex `json:"prk_exporter"`
	Secret     bytesHex `json:"oscore_secret"`
	Salt       bytesHex `json:"oscore_salt"`
	Export     bytesHex `json:"export_0x8000_32"`
	Context    bytesHex `json:"key_update_context"`
	PRKOutNew  bytesHex `json:"prk_out_new"`
	SecretNew  bytesHex `json:"oscore_secret_ku"`
	SaltNew    bytesHex `json:"oscore_salt_ku"`
}

func privateKey(t testing.TB, scalar []byte) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// compact is the plaintext's form of an ID_CRED_x (RFC 9528, 3.5.3.2).
func compact(id []byte) []byte {
	switch kid, found := bytes.CutPrefix(id, []byte{0xa1, 4}); {
	case !found:
		return id
	case len(kid) == 2 && kid[1]>>6 == 0 && kid[1]&31 < 24:
		return kid[1:]
	default:
		return kid
	}
}

// recordedSigner signs with what a trace recorded: ECDSA there used a random number.
type recordedSigner struct {
	handshakePort
	signature []byte
}

func (p recordedSigner) sign(_, signature []byte) error {
	copy(signature, p.signature)
	return nil
}

func fixedKey(t testing.TB, scalar []byte) func() (*ecdh.PrivateKey, error) {
	key, err := ecdh.P256().NewPrivateKey(scalar)
	if err != nil {
		t.Fatal(err)
	}
	return func() (*ecdh.PrivateKey, error) { return key, nil }
}

// Both roles make each message of the traces, byte for byte, from the recorded keys, and export what was recorded.
func TestTraces(t *testing.T) {
	var file struct{ Vectors []trace }
	traceFile(t, "p256-suite2.json", &file)
	if len(file.Vectors) != 8 {
		t.Fatalf("%d traces in the file, not 8", len(file.Vectors))
	}
	for _, v := range file.Vectors {
		t.Run(v.Name, func(t *testing.T) {
			identityI, identityR := privateKey(t, v.PrivI), privateKey(t, v.PrivR)
			side := func(role Role, identity, peer *ecdsa.PrivateKey, static bool, id, cred, peerID, peerCred, scalar, connection, proof []byte) *Handshake {
				h, err := NewHandshake(role, HandshakeConfig{
					Identity: identity, KeyAgreement: static, ID: compact(id), Credential: cred,
					Resolve: func(attempt int, id []byte) ([]byte, [64]byte, error) {
						if attempt > 0 || !bytes.Equal(id, compact(peerID)) {
							return nil, [64]byte{}, ErrAuth
						}
						return peerCred, [64]byte(publicKey(t, peer)), nil
					},
					Methods: 1 << v.Method, Suites: []byte{2}, Connection: connection, Ephemeral: fixedKey(t, scalar),
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(h.Close)
				h.port = recordedSigner{h.port, proof}
				return h
			}
			i := side(Initiator, identityI, identityR, v.Method >= 2, v.IDI, v.CredI, v.IDR, v.CredR, v.X, v.ConnI, v.Proof3)
			r := side(Responder, identityR, identityI, v.Method&1 == 1, v.IDR, v.CredR, v.IDI, v.CredI, v.Y, v.ConnR, v.Proof2)
			sender, receiver := i, r
			for n, want := range [][]byte{v.Message1, v.Message2, v.Message3, v.Message4} {
				got, err := sender.Write()
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("message %d: %x, %v, not %x", n+1, got, err, want)
				}
				if err := receiver.Read(got); err != nil {
					t.Fatalf("message %d: %v", n+1, err)
				}
				sender, receiver = receiver, sender
			}
			for _, h := range []*Handshake{i, r} {
				export := func(label uint32, want []byte) {
					t.Helper()
					if got, err := h.Export(label, nil, len(want)); err != nil || !bytes.Equal(got, want) {
						t.Errorf("export %d: %x, %v, not %x", label, got, err, want)
					}
				}
				export(0, v.Secret)
				export(1, v.Salt)
				export(0x8000, v.Export)
				if err := h.KeyUpdate(v.Context); err != nil {
					t.Error(err)
				}
				export(0, v.SecretNew)
				export(1, v.SaltNew)
			}
		})
	}
}
