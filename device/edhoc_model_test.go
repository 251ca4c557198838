//go:build cgo

package device

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"math/big"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// model is EDHOC once more, from RFC 9528 and in Go alone: what the library is compared with, and its hostile peer. It keeps every
// intermediate value.
type model struct {
	role         Role
	method       int
	suite        int
	identity     *ecdsa.PrivateKey
	ephemeral    *ecdh.PrivateKey
	id, cred     []byte // ID_CRED_x as a map; CRED_x
	peerID       []byte
	peerCred     []byte
	peer         []byte // the peer's authentication key, X then Y
	connection   []byte
	suites       []byte                               // SUITES_I; nil: the one suite
	ead          [5][]byte                            // EAD_n of the messages that it writes
	sign         func(digest []byte) []byte           // nil: ECDSA
	plaintext    func(n int, plaintext []byte) []byte // changes what is encrypted
	gx, gy       []byte
	hashed       []byte // H(message_1)
	th           [5][]byte
	mac          [4][]byte
	signed       [4][]byte // M_2, M_3
	proof        [4][]byte // Signature_or_MAC
	plaintexts   [5][]byte
	key, iv      [5][]byte
	prk2e        []byte
	prk3e2m      []byte
	prk4e3m      []byte
	prkOut       []byte
	keystream    []byte
	sharedGXY    []byte
	sharedStatic [4][]byte // G_RX of message 2, G_IY of message 3
	salt         [4][]byte
}

func bstr(content []byte) []byte {
	return must(cbor.Marshal(append([]byte{}, content...))) // nil would be null
}

func joined(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func digestOf(parts ...[]byte) []byte {
	digest := sha256.Sum256(joined(parts...))
	return digest[:]
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// edhocKDF is EDHOC_KDF (4.1.2).
func edhocKDF(prk []byte, label int, context []byte, size int) []byte {
	info := joined(must(cbor.Marshal(label)), bstr(context), must(cbor.Marshal(size)))
	return must(hkdf.Expand(sha256.New, prk, string(info), size))
}

func extract(salt, secret []byte) []byte { return must(hkdf.Extract(sha256.New, secret, salt)) }

// point is a public key of this x-coordinate; which y does not matter to ECDH.
func point(x []byte) (*ecdh.PublicKey, error) {
	xy := recoverAsGo(append([]byte{2}, x...))
	if xy == nil {
		return nil, errors.New("not on the curve")
	}
	return ecdh.P256().NewPublicKey(append([]byte{4}, xy...))
}

func (m *model) staticAt(n int) bool { return n == 2 && m.method&1 != 0 || n == 3 && m.method&2 != 0 }

func (m *model) tagSize() int { return map[int]int{2: 8, 3: 16}[m.suite] }

func (m *model) other() (x []byte) {
	if m.role == Initiator {
		return m.gy
	}
	return m.gx
}

// agree computes TH_2 and PRK_2e.
func (m *model) agree() error {
	public, err := point(m.other())
	if err != nil {
		return err
	}
	m.sharedGXY = must(m.ephemeral.ECDH(public))
	m.th[2] = digestOf(bstr(m.gy), bstr(m.hashed))
	m.prk2e = extract(m.th[2], m.sharedGXY)
	return nil
}

// prove computes the PRK, the MAC and what is signed for message n, of the party whose credential this is.
func (m *model) prove(n int, own bool, connection, id, cred, ead []byte) {
	prk := m.prk2e
	if n == 3 {
		prk = m.prk3e2m
	}
	if m.staticAt(n) {
		if own {
			m.sharedStatic[n] = must(must(m.identity.ECDH()).ECDH(must(point(m.other()))))
		} else {
			m.sharedStatic[n] = must(m.ephemeral.ECDH(must(ecdh.P256().NewPublicKey(append([]byte{4}, m.peer...)))))
		}
		m.salt[n] = edhocKDF(prk, map[int]int{2: 1, 3: 5}[n], m.th[n], 32)
		prk = extract(m.salt[n], m.sharedStatic[n])
	}
	size := 32
	if m.staticAt(n) {
		size = m.tagSize()
	}
	if n == 2 {
		m.prk3e2m = prk
	} else {
		m.prk4e3m = prk
	}
	m.mac[n] = edhocKDF(prk, map[int]int{2: 2, 3: 6}[n], joined(connection, id, bstr(m.th[n]), cred, ead), size)
	m.signed[n] = must(cbor.Marshal([]any{"Signature1", id, joined(bstr(m.th[n]), cred, ead), m.mac[n]}))
}

func (m *model) seal(n int, plaintext []byte) []byte {
	prk, label := m.prk3e2m, 3
	if n == 4 {
		prk, label = m.prk4e3m, 8
	}
	m.key[n], m.iv[n] = edhocKDF(prk, label, m.th[n], 16), edhocKDF(prk, label+1, m.th[n], 13)
	aad := must(cbor.Marshal([]any{"Encrypt0", []byte{}, m.th[n]}))
	return sealAsGo(m.key[n], m.iv[n], aad, plaintext, m.tagSize())
}

// open is seal's inverse: CCM is a stream cipher, so sealing zeros shows the stream.
func (m *model) open(n int, sealed []byte) ([]byte, error) {
	size := len(sealed) - m.tagSize()
	if size < 0 {
		return nil, errors.New("no room for a tag")
	}
	plaintext := m.seal(n, make([]byte, size))[:size]
	subtle.XORBytes(plaintext, plaintext, sealed)
	if !bytes.Equal(m.seal(n, plaintext), sealed) {
		return nil, errors.New("the tag does not hold")
	}
	return plaintext, nil
}

// write gives message n.
func (m *model) write(n int) []byte {
	switch n {
	case 1:
		m.gx = m.ephemeral.PublicKey().Bytes()[1:33]
		suites := []byte{byte(m.suite)}
		if m.suites != nil {
			suites = m.suites
		}
		message := joined([]byte{byte(m.method)}, suites, bstr(m.gx), m.connection, m.ead[1])
		m.hashed = digestOf(message)
		return message
	case 2:
		m.gy = m.ephemeral.PublicKey().Bytes()[1:33]
		if err := m.agree(); err != nil {
			panic(err)
		}
		plaintext := m.own(2)
		m.keystream = edhocKDF(m.prk2e, 0, m.th[2], len(plaintext))
		m.th[3] = digestOf(bstr(m.th[2]), plaintext, m.cred)
		subtle.XORBytes(plaintext, plaintext, m.keystream)
		return bstr(joined(m.gy, plaintext))
	case 3:
		plaintext := m.own(3)
		m.th[4] = digestOf(bstr(m.th[3]), plaintext, m.cred)
		return bstr(m.seal(3, plaintext))
	default:
		m.prkOut = edhocKDF(m.prk4e3m, 7, m.th[4], 32)
		return bstr(m.seal(4, m.ead[4]))
	}
}

// own gives a copy of the plaintext of message 2 or 3.
func (m *model) own(n int) []byte {
	var connection []byte
	if n == 2 {
		connection = m.connection
	}
	m.prove(n, true, connection, m.id, m.cred, m.ead[n])
	m.proof[n] = m.mac[n]
	if !m.staticAt(n) {
		digest := digestOf(m.signed[n])
		if m.sign != nil {
			m.proof[n] = m.sign(digest)
		} else {
			r, s, err := ecdsa.Sign(rand.Reader, m.identity, digest)
			if err != nil {
				panic(err)
			}
			m.proof[n] = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}
	}
	m.plaintexts[n] = joined(connection, compact(m.id), bstr(m.proof[n]), m.ead[n])
	if m.plaintext != nil {
		m.plaintexts[n] = m.plaintext(n, m.plaintexts[n])
	}
	return bytes.Clone(m.plaintexts[n])
}

// read takes message n of a peer without EAD.
func (m *model) read(n int, message []byte) error {
	var content []byte
	if n > 1 {
		if err := cbor.Unmarshal(message, &content); err != nil {
			return err
		}
	}
	switch n {
	case 1:
		m.hashed = digestOf(message)
		_, rest, _ := bytes.Cut(message, []byte{0x58, 0x20})
		m.gx = rest[:32]
		return nil
	case 2:
		if len(content) < 32 {
			return errors.New("no G_Y")
		}
		m.gy = content[:32]
		if err := m.agree(); err != nil {
			return err
		}
		m.keystream = edhocKDF(m.prk2e, 0, m.th[2], len(content)-32)
		plaintext := make([]byte, len(content)-32)
		subtle.XORBytes(plaintext, content[32:], m.keystream)
		return m.check(2, plaintext)
	case 3:
		plaintext, err := m.open(3, content)
		if err != nil {
			return err
		}
		return m.check(3, plaintext)
	default:
		m.prkOut = edhocKDF(m.prk4e3m, 7, m.th[4], 32)
		plaintext, err := m.open(4, content)
		if err == nil && len(plaintext) > 0 {
			err = errors.New("EAD_4")
		}
		return err
	}
}

func (m *model) check(n int, plaintext []byte) error {
	m.plaintexts[n] = plaintext
	rest := plaintext
	var connection []byte
	if n == 2 {
		var item cbor.RawMessage
		after, err := cbor.UnmarshalFirst(rest, &item)
		if err != nil {
			return err
		}
		connection, rest = item, after
	}
	rest, found := bytes.CutPrefix(rest, compact(m.peerID))
	if !found {
		return fmt.Errorf("another ID_CRED: %x", rest)
	}
	if err := cbor.Unmarshal(rest, &m.proof[n]); err != nil {
		return err
	}
	m.prove(n, false, connection, m.peerID, m.peerCred, nil)
	if n == 2 {
		m.th[3] = digestOf(bstr(m.th[2]), plaintext, m.peerCred)
	} else {
		m.th[4] = digestOf(bstr(m.th[3]), plaintext, m.peerCred)
	}
	if m.staticAt(n) {
		if !bytes.Equal(m.proof[n], m.mac[n]) {
			return errors.New("the MAC does not hold")
		}
		return nil
	}
	if len(m.proof[n]) != 64 {
		return errors.New("no signature")
	}
	public := must(ecdsa.ParseUncompressedPublicKey(m.identity.Curve, append([]byte{4}, m.peer...)))
	r, s := new(big.Int).SetBytes(m.proof[n][:32]), new(big.Int).SetBytes(m.proof[n][32:])
	if !ecdsa.Verify(public, digestOf(m.signed[n]), r, s) {
		return errors.New("the signature does not hold")
	}
	return nil
}

// export is EDHOC_Exporter (4.2.1).
func (m *model) export(label int, context []byte, size int) []byte {
	return edhocKDF(edhocKDF(m.prkOut, 10, nil, 32), label, context, size)
}

// update is EDHOC_KeyUpdate (appendix H).
func (m *model) update(context []byte) { m.prkOut = edhocKDF(m.prkOut, 11, context, 32) }

// The model against every intermediate value of the traces.
func TestModel(t *testing.T) {
	for _, v := range traces(t) {
		t.Run(v.Name, func(t *testing.T) {
			i, r := v.models(t)
			for n, want := range [][]byte{v.Message1, v.Message2, v.Message3, v.Message4} {
				sender, receiver := i, r
				if n%2 == 1 {
					sender, receiver = r, i
				}
				if got := sender.write(n + 1); !bytes.Equal(got, want) {
					t.Fatalf("message %d: %x, not %x", n+1, got, want)
				}
				if err := receiver.read(n+1, want); err != nil {
					t.Fatalf("message %d: %v", n+1, err)
				}
			}
			for _, m := range []*model{i, r} {
				for name, pair := range map[string][2][]byte{
					"TH_2": {m.th[2], v.TH2}, "TH_3": {m.th[3], v.TH3}, "TH_4": {m.th[4], v.TH4},
					"PRK_2e": {m.prk2e, v.PRK2e}, "PRK_3e2m": {m.prk3e2m, v.PRK3e2m}, "PRK_4e3m": {m.prk4e3m, v.PRK4e3m},
					"PRK_out": {m.prkOut, v.PRKOut}, "MAC_2": {m.mac[2], v.MAC2}, "MAC_3": {m.mac[3], v.MAC3},
					"PLAINTEXT_2": {m.plaintexts[2], v.Plaintext2}, "PLAINTEXT_3": {m.plaintexts[3], v.Plaintext3},
					"K_3": {m.key[3], v.K3}, "IV_3": {m.iv[3], v.IV3}, "PRK_exporter": {edhocKDF(m.prkOut, 10, nil, 32), v.Exporter},
					"export": {m.export(0x8000, nil, 32), v.Export},
				} {
					if !bytes.Equal(pair[0], pair[1]) {
						t.Errorf("%s: %x, not %x", name, pair[0], pair[1])
					}
				}
				if !m.staticAt(2) && !bytes.Equal(m.signed[2], v.M2) || !m.staticAt(3) && !bytes.Equal(m.signed[3], v.M3) {
					t.Error("another Sig_structure")
				}
				m.update(v.Context)
				if !bytes.Equal(m.prkOut, v.PRKOutNew) || !bytes.Equal(m.export(0, nil, 16), v.SecretNew) {
					t.Error("another PRK_out after KeyUpdate")
				}
			}
		})
	}
}
