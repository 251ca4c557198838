//go:build cgo

package device

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// bytesHex is a byte string that JSON has in hex.
type bytesHex []byte

func (b *bytesHex) UnmarshalText(text []byte) error {
	decoded, err := hex.DecodeString(string(text))
	*b = decoded
	return err
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

// recordedSigner signs with what a trace recorded, since ECDSA there used a random number, and keeps what it was to sign.
type recordedSigner struct {
	handshakePort
	signature []byte
	digest    []byte
}

func (p *recordedSigner) sign(digest, signature []byte) error {
	p.digest = bytes.Clone(digest)
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

// traces are those of p256-suite2.json.
func traces(t *testing.T) []trace {
	t.Helper()
	var file struct{ Vectors []trace }
	readJSON(t, "../testdata/edhoc/p256-suite2.json", &file)
	if len(file.Vectors) != 8 {
		t.Fatalf("%d traces in the file, not 8", len(file.Vectors))
	}
	return file.Vectors
}

// models are the two sides of the trace in the model.
func (v *trace) models(t *testing.T) (i, r *model) {
	t.Helper()
	identityI, identityR := privateKey(t, v.PrivI), privateKey(t, v.PrivR)
	i = &model{
		role: Initiator, method: v.Method, suite: 2, identity: identityI, id: v.IDI, cred: v.CredI, peerID: v.IDR, peerCred: v.CredR,
		peer: publicKey(t, identityR), connection: v.ConnI, sign: func([]byte) []byte { return v.Proof3 },
	}
	r = &model{
		role: Responder, method: v.Method, suite: 2, identity: identityR, id: v.IDR, cred: v.CredR, peerID: v.IDI, peerCred: v.CredI,
		peer: publicKey(t, identityI), connection: v.ConnR, sign: func([]byte) []byte { return v.Proof2 },
	}
	i.ephemeral, _ = fixedKey(t, v.X)()
	r.ephemeral, _ = fixedKey(t, v.Y)()
	return i, r
}

// handshake is the library's side in place of a model: its keys, its random numbers, its peer.
func (m *model) handshake(t testing.TB, suites []byte, selected int) (*Handshake, *recordedSigner) {
	t.Helper()
	h, err := NewHandshake(m.role, HandshakeConfig{
		Identity:     m.identity,
		KeyAgreement: m.staticAt(3 - int(m.role)),
		ID:           compact(m.id),
		Credential:   m.cred,
		Resolve: func(attempt int, id []byte) ([]byte, [64]byte, error) {
			if !bytes.Equal(id, compact(m.peerID)) {
				return nil, [64]byte{}, ErrUnknown
			}
			if attempt > 0 {
				return nil, [64]byte{}, ErrAuth
			}
			return m.peerCred, [64]byte(m.peer), nil
		},
		Methods: 1 << m.method, Suites: suites, Selected: selected, Connection: m.connection,
		Ephemeral: func() (*ecdh.PrivateKey, error) { return m.ephemeral, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	signer := &recordedSigner{handshakePort: h.port}
	if m.sign != nil {
		signer.signature = m.sign(nil)
		h.port = signer
	}
	return h, signer
}

// equal compares what this side has with what was recorded.
func equal(t *testing.T, name string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s: %x, not %x", name, got, want)
	}
}

// Both roles make each message of the traces, byte for byte, from the recorded keys, keep the recorded secrets between them,
// sign what was signed there, and export what was exported.
func TestTraces(t *testing.T) {
	for _, v := range traces(t) {
		t.Run(v.Name, func(t *testing.T) {
			modelI, modelR := v.models(t)
			i, signerI := modelI.handshake(t, []byte{2}, 0)
			r, signerR := modelR.handshake(t, []byte{2}, 0)
			sender, receiver := i, r
			for n, want := range [][]byte{v.Message1, v.Message2, v.Message3, v.Message4} {
				got, err := sender.Write()
				if err != nil {
					t.Fatal(err)
				}
				equal(t, "message", got, want)
				if err := receiver.Read(got); err != nil {
					t.Fatalf("message %d: %v", n+1, err)
				}
				for _, h := range []*Handshake{i, r} {
					switch n + 1 {
					case 1:
						equal(t, "H(message_1)", h.th(), digestOf(v.Message1))
					case 2:
						equal(t, "TH_3", h.th(), v.TH3)
						equal(t, "PRK_3e2m", h.prk(), v.PRK3e2m)
					case 3:
						equal(t, "TH_4", h.th(), v.TH4)
						equal(t, "PRK_4e3m", h.prk(), v.PRK4e3m)
					case 4:
						equal(t, "PRK_out", h.prk(), v.PRKOut)
					}
				}
				sender, receiver = receiver, sender
			}
			if !modelI.staticAt(2) {
				equal(t, "M_2", signerR.digest, digestOf(v.M2))
			}
			if !modelI.staticAt(3) {
				equal(t, "M_3", signerI.digest, digestOf(v.M3))
			}
			for _, h := range []*Handshake{i, r} {
				export := func(label uint32, want []byte) {
					t.Helper()
					got, err := h.Export(label, nil, len(want))
					if err != nil {
						t.Fatal(err)
					}
					equal(t, "export", got, want)
				}
				export(0, v.Secret)
				export(1, v.Salt)
				export(0x8000, v.Export)
				if err := h.KeyUpdate(v.Context); err != nil {
					t.Error(err)
				}
				equal(t, "PRK_out after KeyUpdate", h.prk(), v.PRKOutNew)
				export(0, v.SecretNew)
				export(1, v.SaltNew)
			}
		})
	}
}

// chapter reads a chapter of RFC 9529; values has each item by section, name and kind.
func chapter(t *testing.T, name string) (value func(section, name, kind string) []byte) {
	t.Helper()
	var file struct {
		Items []struct {
			Section, Name, Kind string
			Hex                 bytesHex
		}
	}
	readJSON(t, "../testdata/edhoc/"+name, &file)
	return func(section, name, kind string) []byte {
		t.Helper()
		for _, item := range file.Items {
			if item.Section == section && item.Name == name && item.Kind == kind {
				return item.Hex
			}
		}
		t.Fatalf("no %s, %s, %s", section, name, kind)
		return nil
	}
}

const (
	raw      = "Raw Value"
	item     = "CBOR Data Item"
	sequence = "CBOR Sequence"
)

// RFC 9529, chapter 3: method 3, suites 6 and then 2, both roles from the first message to the exports.
func TestRFC9529StaticDH(t *testing.T) {
	value := chapter(t, "rfc9529-ch3-method3-suite2-ccs-kid.json")
	const first, second = "message_1 (first time)", "message_1 (second time)"
	v := trace{
		Method: 3, X: value(second, "X", raw), Y: value("message_2", "Y", raw),
		ConnI: value(second, "C_I", item), ConnR: value("message_2", "C_R", item),
		PrivI: value("message_3", "SK_I", raw), PrivR: value("message_2", "SK_R", raw),
		IDI: value("message_3", "ID_CRED_I", item), IDR: value("message_2", "ID_CRED_R", item),
		CredI: value("message_3", "CRED_I", item), CredR: value("message_2", "CRED_R", item),
	}
	modelI, modelR := v.models(t)
	modelI.sign, modelR.sign = nil, nil

	r, _ := modelR.handshake(t, []byte{2}, 0)
	if err := r.Read(value(first, "message_1", sequence)); !errors.Is(err, ErrSuite) {
		t.Fatalf("suite 6: %v", err)
	}
	equal(t, "error", r.ErrorMessage(), value("error", "error", sequence))

	i, _ := modelI.handshake(t, []byte{6, 2}, 1)
	r, _ = modelR.handshake(t, []byte{2}, 0)
	sender, receiver := i, r
	for n, want := range [][]byte{
		value(second, "message_1", sequence), value("message_2", "message_2", sequence),
		value("message_3", "message_3", sequence), value("message_4", "message_4", sequence),
	} {
		got, err := sender.Write()
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "message", got, want)
		if err := receiver.Read(want); err != nil {
			t.Fatalf("message %d: %v", n+1, err)
		}
		switch n + 1 {
		case 2:
			equal(t, "TH_3", i.th(), value("message_3", "TH_3", raw))
			equal(t, "PRK_3e2m", i.prk(), value("message_2", "PRK_3e2m", raw))
		case 3:
			equal(t, "TH_4", i.th(), value("message_3", "TH_4", raw))
			equal(t, "PRK_4e3m", r.prk(), value("message_3", "PRK_4e3m", raw))
		}
		sender, receiver = receiver, sender
	}
	const secret, salt = "OSCORE Master Secret", "OSCORE Master Salt"
	for _, h := range []*Handshake{i, r} {
		equal(t, "PRK_out", h.prk(), value("PRK_out and PRK_exporter", "PRK_out", raw))
		equal(t, secret, must(h.Export(0, nil, 16)), value("OSCORE Parameters", secret, raw))
		equal(t, salt, must(h.Export(1, nil, 8)), value("OSCORE Parameters", salt, raw))
		if err := h.KeyUpdate(value("Key Update", "context for KeyUpdate", raw)); err != nil {
			t.Error(err)
		}
		equal(t, "PRK_out after KeyUpdate", h.prk(), value("Key Update", "PRK_out after KeyUpdate", raw))
		equal(t, secret, must(h.Export(0, nil, 16)), value("Key Update", secret+" after KeyUpdate", raw))
		equal(t, salt, must(h.Export(1, nil, 8)), value("Key Update", salt+" after KeyUpdate", raw))
	}
}

// RFC 9529, chapters 2 and 3, value by value through the library's primitives: chapter 2 has suite 0, whose X25519 and EdDSA are
// not here, while all that hangs on their results is.
func TestRFC9529Values(t *testing.T) {
	for _, name := range []string{"rfc9529-ch2-method0-suite0-x5t.json", "rfc9529-ch3-method3-suite2-ccs-kid.json"} {
		t.Run(name, func(t *testing.T) {
			value := chapter(t, name)
			static := strings.Contains(name, "ch3")
			extract := func(salt, secret []byte) []byte {
				prk := hmacOf(salt, secret, 0)
				return prk[:]
			}
			hash := func(input []byte) []byte {
				digest := sha256Of(input)
				return digest[:]
			}
			th2 := hash(value("message_2", "Input to calculate TH_2", sequence))
			equal(t, "TH_2", th2, value("message_2", "TH_2", raw))
			prk2e := extract(th2, value("message_2", "G_XY", raw))
			equal(t, "PRK_2e", prk2e, value("message_2", "PRK_2e", raw))
			prk3e2m := prk2e
			size := 32
			if static {
				size = 8
				salt := kdfOf(prk2e, 1, th2, 32, false)
				equal(t, "SALT_3e2m", salt, value("message_2", "SALT_3e2m", raw))
				prk3e2m = extract(salt, value("message_2", "G_RX", raw))
			}
			equal(t, "PRK_3e2m", prk3e2m, value("message_2", "PRK_3e2m", raw))
			equal(t, "MAC_2", kdfOf(prk3e2m, 2, value("message_2", "context_2", sequence), size, false), value("message_2", "MAC_2", raw))
			stream := value("message_2", "KEYSTREAM_2", raw)
			equal(t, "KEYSTREAM_2", kdfOf(prk2e, 0, th2, len(stream), false), stream)

			th3 := hash(value("message_3", "Input to calculate TH_3", sequence))
			equal(t, "TH_3", th3, value("message_3", "TH_3", raw))
			prk4e3m := prk3e2m
			if static {
				salt := kdfOf(prk3e2m, 5, th3, 32, false)
				equal(t, "SALT_4e3m", salt, value("message_3", "SALT_4e3m", raw))
				prk4e3m = extract(salt, value("message_3", "G_IY", raw))
			}
			equal(t, "PRK_4e3m", prk4e3m, value("message_3", "PRK_4e3m", raw))
			equal(t, "MAC_3", kdfOf(prk4e3m, 6, value("message_3", "context_3", sequence), size, false), value("message_3", "MAC_3", raw))
			th4 := hash(value("message_3", "Input to calculate TH_4", sequence))
			equal(t, "TH_4", th4, value("message_3", "TH_4", raw))

			sealed := func(n, label int, prk, th, plaintext []byte) {
				t.Helper()
				section := fmt.Sprintf("message_%d", n)
				key, iv := kdfOf(prk, uint32(label), th, 16, false), kdfOf(prk, uint32(label)+1, th, 13, false)
				equal(t, "K", key, value(section, fmt.Sprintf("K_%d", n), raw))
				equal(t, "IV", iv, value(section, fmt.Sprintf("IV_%d", n), raw))
				status, got := ccmSeal(always, key, iv, value(section, fmt.Sprintf("A_%d", n), item), plaintext, 8)
				if status != 0 {
					t.Errorf("%s: status %d", section, status)
				}
				equal(t, section, bstr(got), value(section, section, sequence))
			}
			sealed(3, 3, prk3e2m, th3, value("message_3", "PLAINTEXT_3", sequence))
			sealed(4, 8, prk4e3m, th4, nil)

			out := kdfOf(prk4e3m, 7, th4, 32, false)
			equal(t, "PRK_out", out, value("PRK_out and PRK_exporter", "PRK_out", raw))
			exporter := kdfOf(out, 10, nil, 32, false)
			equal(t, "PRK_exporter", exporter, value("PRK_out and PRK_exporter", "PRK_exporter", raw))
			equal(t, "OSCORE Master Secret", kdfOf(exporter, 0, nil, 16, false), value("OSCORE Parameters", "OSCORE Master Secret", raw))
			out = kdfOf(out, 11, value("Key Update", "context for KeyUpdate", raw), 32, true)
			equal(t, "PRK_out after KeyUpdate", out, value("Key Update", "PRK_out after KeyUpdate", raw))
		})
	}
}

// RFC 9529, chapter 4: what must be refused, each where it would arrive.
func TestRFC9529Invalid(t *testing.T) {
	var file struct {
		Items []struct {
			Title, Label string
			Hex          bytesHex
		}
	}
	readJSON(t, "../testdata/edhoc/rfc9529-ch4-invalid-traces.json", &file)
	if len(file.Items) != 15 {
		t.Fatalf("%d invalid messages, not 15", len(file.Items))
	}
	for _, test := range file.Items {
		t.Run(test.Title, func(t *testing.T) {
			want := ErrMalformed
			if test.Title == "Error in length of ephemeral key" || test.Title == "Curve point of low order" {
				want = ErrSuite // 24 and 0: the Responder says so before it looks at their keys
			}
			modelI, modelR := newModels(t, 3, 2)
			modelR.connection = []byte{0x27}
			var err error
			switch {
			case strings.Contains(test.Label, "message_1"):
				r, _ := modelR.handshake(t, []byte{2}, 0)
				err = r.Read(test.Hex)
			case strings.Contains(test.Label, "message_2"):
				i, _ := modelI.handshake(t, []byte{2}, 0)
				must(i.Write())
				err = i.Read(test.Hex)
			default:
				i, _ := modelI.handshake(t, []byte{2}, 0)
				modelR.plaintext = func(int, []byte) []byte { return test.Hex }
				if err := modelR.read(1, must(i.Write())); err != nil {
					t.Fatal(err)
				}
				err = i.Read(modelR.write(2))
			}
			if !errors.Is(err, want) {
				t.Errorf("%v, not: %v", err, want)
			}
		})
	}
}
