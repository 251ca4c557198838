//go:build cgo

package device

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/fxamacker/cbor/v2"
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
	i.acquaint(r)
	return i, r
}

// acquaint lets both know the other's credential.
func (m *model) acquaint(other *model) {
	m.peerID, m.peerCred, other.peerID, other.peerCred = other.id, other.cred, m.id, m.cred
}

// library is the library's side in place of a model, with this suite alone.
func (m *model) library(t testing.TB) *Handshake {
	t.Helper()
	h, _ := m.handshake(t, []byte{byte(m.suite)}, 0)
	return h
}

// side is one end, the library's or the model's.
type side struct {
	write  func(n int) ([]byte, error)
	read   func(n int, message []byte) error
	export func(label uint32, context []byte, size int) []byte
	update func(context []byte)
}

func (h *Handshake) side(t *testing.T) side {
	return side{
		write: func(int) ([]byte, error) { return h.Write() },
		read:  func(_ int, message []byte) error { return h.Read(message) },
		export: func(label uint32, context []byte, size int) []byte {
			out, err := h.Export(label, context, size)
			if err != nil {
				t.Error(err)
			}
			return out
		},
		update: func(context []byte) {
			if err := h.KeyUpdate(context); err != nil {
				t.Error(err)
			}
		},
	}
}

func (m *model) side() side {
	return side{
		write:  func(n int) ([]byte, error) { return m.write(n), nil },
		read:   m.read,
		export: func(label uint32, context []byte, size int) []byte { return m.export(int(label), context, size) },
		update: m.update,
	}
}

// meet carries the four messages, which it returns up to the first error.
func meet(i, r side) (messages [][]byte, err error) {
	sender, receiver := i, r
	for n := 1; n <= 4; n++ {
		message, err := sender.write(n)
		if err != nil {
			return messages, fmt.Errorf("write message_%d: %w", n, err)
		}
		messages = append(messages, message)
		if err := receiver.read(n, message); err != nil {
			return messages, fmt.Errorf("read message_%d: %w", n, err)
		}
		sender, receiver = receiver, sender
	}
	return messages, nil
}

// sameSession compares what both ends export, before and after KeyUpdate.
func sameSession(t *testing.T, a, b side) {
	t.Helper()
	for range 3 {
		for _, size := range []int{1, 16, 29, 32, 33, 200} {
			equal(t, "export", a.export(32768, []byte{7}, size), b.export(32768, []byte{7}, size))
		}
		equal(t, "export under label 0", a.export(0, nil, 64), b.export(0, nil, 64))
		a.update([]byte{1, 2})
		b.update([]byte{1, 2})
	}
}

// All methods and suites, in both roles, between the library and itself and between it and the model.
func TestMethodsAndSuites(t *testing.T) {
	for method := range 4 {
		for _, suite := range []int{2, 3} {
			for _, ends := range []string{"library with library", "library with model", "model with library"} {
				t.Run(fmt.Sprintf("method %d, suite %d, %s", method, suite, ends), func(t *testing.T) {
					modelI, modelR := newModels(t, method, suite)
					i, r := modelI.side(), modelR.side()
					if ends != "model with library" {
						i = modelI.library(t).side(t)
					}
					if ends != "library with model" {
						r = modelR.library(t).side(t)
					}
					messages, err := meet(i, r)
					if err != nil {
						t.Fatal(err)
					}
					sameSession(t, i, r)
					tag := modelI.tagSize()
					if size := len(messages[3]); size != 1+tag {
						t.Errorf("message_4 has %d bytes", size)
					}
					if method == 3 && suite == 2 && (len(messages[0]) != 37 || len(messages[1]) != 45 || len(messages[2]) != 19) {
						t.Errorf("%d, %d, %d bytes, not 37, 45, 19 as in RFC 9529", len(messages[0]), len(messages[1]), len(messages[2]))
					}
				})
			}
		}
	}
}

// Every form of ID_CRED_x and connection identifier, the library at one end and the model at the other.
func TestIdentifiers(t *testing.T) {
	long := bytes.Repeat([]byte{0xc5}, 290)
	ids := map[string][]byte{
		"kid 0":             unhex(t, "a1044100"),
		"kid 23":            unhex(t, "a1044117"),
		"kid -1":            unhex(t, "a1044120"),
		"kid -24":           unhex(t, "a1044137"),
		"kid 18":            unhex(t, "a1044118"),
		"kid 38":            unhex(t, "a1044138"),
		"kid ff":            unhex(t, "a10441ff"),
		"empty kid":         unhex(t, "a10440"),
		"kid of two bytes":  unhex(t, "a104420001"),
		"kid of 30 bytes":   append(unhex(t, "a104581e"), make([]byte, 30)...),
		"x5t":               unhex(t, "a11822822e48f4c9c5d4b1a2c3d4"),
		"c5c by value":      joined(unhex(t, "a11819"), []byte{0x82}, bstr(long[:135]), bstr(long[:155])),
		"x5chain by value":  joined(unhex(t, "a11821"), bstr(long)),
		"x5u, tagged":       unhex(t, "a11823d82063613a62"),
		"kid and something": unhex(t, "a204412b1822812e"),
		"nested":            unhex(t, "a1182281828180a101a120f5"),
		"empty map":         unhex(t, "a0"),
	}
	for name, id := range ids {
		for _, method := range []int{0, 3} {
			t.Run(fmt.Sprintf("%s, method %d", name, method), func(t *testing.T) {
				modelI, modelR := newModels(t, method, 2)
				modelI.id, modelR.id = id, id
				modelI.acquaint(modelR)
				i, r := modelI.library(t).side(t), modelR.side()
				if _, err := meet(i, r); err != nil {
					t.Fatal(err)
				}
				sameSession(t, i, r)
				i, r = modelI.side(), modelR.library(t).side(t)
				if _, err := meet(i, r); err != nil {
					t.Fatal(err)
				}
				sameSession(t, i, r)
			})
		}
	}
	for _, connection := range []string{"00", "17", "20", "37", "40", "4118", "411f", "4138", "41ff", "4200ff", "480102030405060708"} {
		modelI, modelR := newModels(t, 3, 2)
		modelI.connection, modelR.connection = unhex(t, connection), unhex(t, connection)
		if _, err := meet(modelI.library(t).side(t), modelR.side()); err != nil {
			t.Errorf("%s: %v", connection, err)
		}
		if _, err := meet(modelI.side(), modelR.library(t).side(t)); err != nil {
			t.Errorf("%s: %v", connection, err)
		}
	}
}

// What a peer may not send for C_R, ID_CRED and Signature_or_MAC, in messages that are otherwise whole.
func TestPlaintextRefusals(t *testing.T) {
	proof, mac := "5840"+fmt.Sprintf("%0128d", 0), "48"+fmt.Sprintf("%016d", 0)
	for name, plaintext := range map[string]string{
		"nothing":                          "",
		"C_R alone":                        "27",
		"C_R 24 in two bytes":              "182c" + "32" + proof,
		"C_R as a string":                  "4127" + "32" + proof,
		"C_R as text":                      "6127" + "32" + proof,
		"C_R missing":                      "32" + proof,
		"ID_CRED as text":                  "27" + "6132" + proof,
		"ID_CRED 24":                       "27" + "1818" + proof,
		"ID_CRED as an array":              "27" + "8132" + proof,
		"ID_CRED null":                     "27" + "f6" + proof,
		"kid as a map":                     "27" + "a1044132" + proof,
		"kid as a map, the integer":        "27" + "a10432" + proof,
		"kid as a map, long":               "27" + "a104420102" + proof,
		"kid string for an integer":        "27" + "4132" + proof,
		"map head in two bytes":            "27" + "b8011822812e" + proof,
		"map key in two bytes":             "27" + "a118044132" + proof,
		"map without end":                  "27" + "bf0441ffff" + proof,
		"map cut":                          "27" + "a2182240",
		"map of 2^32 - 1":                  "27" + "baffffffff",
		"array of 2^31 in a map":           "27" + "a1189a80000000",
		"signature of 63 bytes":            "27" + "32" + "583f" + proof[6:],
		"signature of 65 bytes":            "27" + "32" + "5841" + proof[4:] + "00",
		"signature as text":                "27" + "32" + "7840" + proof[4:],
		"signature's head in three":        "27" + "32" + "590040" + proof[4:],
		"MAC in place of a signature":      "27" + "32" + mac,
		"something behind":                 "27" + "32" + proof + "f6",
		"EAD critical":                     "27" + "32" + proof + "20",
		"EAD value alone":                  "27" + "32" + proof + "4101",
		"EAD two values":                   "27" + "32" + proof + "0141014101",
		"EAD label in two bytes":           "27" + "32" + proof + "1801",
		"EAD label of eight bytes":         "27" + "32" + proof + "1b0000000100000000",
		"EAD cut":                          "27" + "32" + proof + "0142aa",
		"array around everything":          "83" + "27" + "32" + proof,
		"string around everything":         "5844" + "27" + "32" + proof,
		"ID_CRED twice":                    "27" + "32" + "32" + proof,
		"simple value in one byte for two": "27" + "a10af818" + proof,
	} {
		t.Run(name, func(t *testing.T) {
			modelI, modelR := newModels(t, 0, 2)
			modelR.plaintext = func(int, []byte) []byte { return unhex(t, plaintext) }
			i := modelI.library(t)
			_, err := meet(i.side(t), modelR.side())
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("message_2: %v", err)
			}
			equal(t, "error", i.ErrorMessage(), unhex(t, "016772656675736564"))
			if len(plaintext) < 2 || plaintext[:2] != "27" {
				return
			}
			modelI, modelR = newModels(t, 0, 2)
			modelI.plaintext = func(int, []byte) []byte { return unhex(t, plaintext[2:]) }
			r := modelR.library(t)
			if _, err := meet(modelI.side(), r.side(t)); !errors.Is(err, ErrMalformed) {
				t.Errorf("message_3: %v", err)
			}
		})
	}
}

// EAD (3.8) in every message, of either peer: what is not critical is passed over and covered by MAC and transcript.
func TestEAD(t *testing.T) {
	for ead, good := range map[string]bool{
		"00": true, "0040": true, "004201ff": true, "000000": true, "05": true, "05420102": true, "1818": true, "1903e8": true,
		"1903e84101": true, "1a000100004100": true, "050600" + "41aa": true, "0a" + "58300" + fmt.Sprintf("%095d", 0): true,
		"20": false, "2040": false, "3818": false, "3903e7": false, "0020": false, "05410120": false,
		"6100": false, "80": false, "f6": false, "0080": false, "0060": false, "005f": false, "0041": false, "1800": false, "005801ff": false,
	} {
		for n := 1; n <= 4; n++ {
			for _, method := range []int{0, 3} {
				modelI, modelR := newModels(t, method, 2)
				i, r := modelI.side(), modelR.side()
				var h *Handshake
				if n%2 == 1 {
					h = modelR.library(t)
					r = h.side(t)
					modelI.ead[n] = unhex(t, ead)
				} else {
					h = modelI.library(t)
					i = h.side(t)
					modelR.ead[n] = unhex(t, ead)
				}
				_, err := meet(i, r)
				if good {
					if err != nil {
						t.Errorf("%s in message_%d, method %d: %v", ead, n, method, err)
						continue
					}
					sameSession(t, i, r)
				} else if !errors.Is(err, ErrMalformed) || h.ErrorMessage()[0] != 1 {
					t.Errorf("%s in message_%d, method %d: %v, error message %x", ead, n, method, err, h.ErrorMessage())
				}
			}
		}
	}
}

// Several credentials with one kid: each is tried, and only the one whose key it is serves.
func TestSameKid(t *testing.T) {
	for method := range 4 {
		for _, known := range []bool{true, false} {
			modelI, modelR := newModels(t, method, 2)
			for _, role := range []Role{Initiator, Responder} {
				i, r := modelI.library(t), modelR.library(t)
				h, m := i, modelI
				if role == Responder {
					h, m = r, modelR
				}
				var asked []int
				h.resolve = func(attempt int, id []byte) ([]byte, [64]byte, error) {
					asked = append(asked, attempt)
					switch {
					case attempt < 3:
						return []byte{0xa0}, [64]byte(publicKey(t, newKey(t))), nil
					case attempt == 3 && known:
						return m.peerCred, [64]byte(m.peer), nil
					}
					return nil, [64]byte{}, ErrAuth
				}
				_, err := meet(i.side(t), r.side(t))
				if known && err != nil || !known && !errors.Is(err, ErrAuth) {
					t.Errorf("method %d, role %d, known %v: %v", method, role, known, err)
				}
				if !slices.Equal(asked, []int{0, 1, 2, 3}) {
					t.Errorf("method %d, role %d: asked %v", method, role, asked)
				}
				if known {
					sameSession(t, i.side(t), r.side(t))
				}
			}
		}
	}
}

// A resolver that knows no end does not keep a unit busy.
func TestAttempts(t *testing.T) {
	modelI, modelR := newModels(t, 0, 2)
	i, r := modelI.library(t), modelR.library(t)
	calls := 0
	i.resolve = func(int, []byte) ([]byte, [64]byte, error) {
		calls++
		return modelR.cred, [64]byte(publicKey(t, newKey(t))), nil
	}
	if _, err := meet(i.side(t), r.side(t)); !errors.Is(err, ErrAuth) || calls != 8 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

// What a resolver says of the peer becomes the status, the cause and the error message.
func TestResolverRefuses(t *testing.T) {
	other := errors.New("another product")
	for _, test := range []struct {
		err     error
		status  Status
		message string
	}{
		{ErrUnknown, ErrUnknown, "03f5"},
		{fmt.Errorf("look up: %w", ErrUnknown), ErrUnknown, "03f5"},
		{ErrAuth, ErrAuth, "016772656675736564"},
		{other, ErrAuth, "016772656675736564"},
		{CheckProduct, ErrAuth, "016772656675736564"},
		{ErrPort, ErrPort, "016772656675736564"},
	} {
		for _, role := range []Role{Initiator, Responder} {
			modelI, modelR := newModels(t, 0, 2)
			i, r := modelI.library(t), modelR.library(t)
			h, peer := i, r
			if role == Responder {
				h, peer = r, i
			}
			h.resolve = func(int, []byte) ([]byte, [64]byte, error) { return nil, [64]byte{}, test.err }
			_, err := meet(i.side(t), r.side(t))
			if !errors.Is(err, test.status) || !errors.Is(err, test.err) {
				t.Errorf("%v: %v", test.err, err)
			}
			message := h.ErrorMessage()
			equal(t, "error message", message, unhex(t, test.message))
			want := ErrPeer
			if test.status == ErrUnknown {
				want = ErrUnknown
			}
			if err := peer.Read(message); !errors.Is(err, want) || peer.ErrorMessage() != nil || !peer.wiped() {
				t.Errorf("the peer of %v: %v, answers %x", test.err, err, peer.ErrorMessage())
			}
		}
	}
}

// A peer that proves with a key of its own that it is who this side is.
func TestReflection(t *testing.T) {
	for method := range 4 {
		for _, role := range []Role{Initiator, Responder} {
			modelI, modelR := newModels(t, method, 2)
			modelR.cred = modelI.cred
			modelI.acquaint(modelR)
			if _, err := meet(modelI.side(), modelR.side()); err != nil { // the model has nothing against it
				t.Fatal(err)
			}
			i, r := modelI.side(), modelR.side()
			var h *Handshake
			if role == Initiator {
				h = modelI.library(t)
				i = h.side(t)
			} else {
				h = modelR.library(t)
				r = h.side(t)
			}
			if _, err := meet(i, r); !errors.Is(err, ErrAuth) || !h.wiped() {
				t.Errorf("method %d, role %d: %v", method, role, err)
			}
		}
	}
}

// Error messages (6) that arrive: each in place of each message that is waited for.
func TestErrorMessages(t *testing.T) {
	for message, want := range map[string]Status{
		"016772656675736564":   ErrPeer,
		"0160":                 ErrPeer,
		"0202":                 ErrPeer, // the suite that was proposed
		"0206":                 ErrPeer, // none in common
		"02820600":             ErrPeer,
		"022f":                 ErrPeer,
		"03f5":                 ErrUnknown,
		"0060":                 ErrPeer, // no error has code 0; still no message that was waited for
		"1818f6":               ErrPeer,
		"20f6":                 ErrPeer, // codes may be negative
		"2102":                 ErrPeer,
		"2206":                 ErrPeer,
		"23f5":                 ErrPeer,
		"":                     ErrMalformed,
		"01":                   ErrMalformed,
		"0161":                 ErrMalformed,
		"016000":               ErrMalformed,
		"02":                   ErrMalformed,
		"03":                   ErrMalformed,
		"03f4":                 ErrMalformed,
		"03f500":               ErrMalformed,
		"1803f5":               ErrMalformed,
		"6101":                 ErrMalformed,
		"8201" + "60":          ErrMalformed,
		"1b0000000000000001f6": ErrMalformed,
	} {
		for n := 2; n <= 4; n++ {
			modelI, modelR := newModels(t, 0, 2)
			i, r := modelI.library(t), modelR.library(t)
			sender, receiver := i, r
			for range n - 1 {
				if err := receiver.Read(must(sender.Write())); err != nil {
					t.Fatal(err)
				}
				sender, receiver = receiver, sender
			}
			err := receiver.Read(unhex(t, message))
			if !errors.Is(err, want) || !receiver.wiped() || i.Selected() != 0 {
				t.Errorf("%s in place of message_%d: %v", message, n, err)
			}
			if answer := receiver.ErrorMessage(); (answer != nil) != (want == ErrMalformed) {
				t.Errorf("%s in place of message_%d is answered by %x", message, n, answer)
			}
		}
	}
	// Error 2 that comes too late chooses nothing.
	modelI, modelR := newModels(t, 0, 2)
	i, _ := modelI.handshake(t, []byte{2, 3}, 0)
	r := modelR.library(t)
	if err := r.Read(must(i.Write())); err != nil {
		t.Fatal(err)
	}
	if err := i.Read(must(r.Write())); err != nil {
		t.Fatal(err)
	}
	must(i.Write())
	if err := i.Read(unhex(t, "0203")); !errors.Is(err, ErrPeer) || i.Selected() != 0 {
		t.Errorf("error 2 in place of message_4: %v, selected %d", err, i.Selected())
	}
	for _, message := range []string{"0281" + "02", "0280", "0298020203", "029f0203ff", "02820203f6", "028203", "026102"} {
		modelI, _ := newModels(t, 0, 2)
		i, _ := modelI.handshake(t, []byte{2, 3}, 0)
		must(i.Write())
		if err := i.Read(unhex(t, message)); !errors.Is(err, ErrMalformed) || i.Selected() != 0 {
			t.Errorf("%s: %v", message, err)
		}
	}
}

// negotiate lets both sides try again after each error 2, as often as the Initiator takes it, and gives the suites proposed.
func negotiate(t *testing.T, suitesI, suitesR []byte, selected int) (proposed []byte, err error) {
	t.Helper()
	for range 5 {
		modelI, modelR := newModels(t, 0, int(suitesI[selected]))
		i, _ := modelI.handshake(t, suitesI, selected)
		r, _ := modelR.handshake(t, suitesR, 0)
		proposed = append(proposed, suitesI[selected])
		_, err = meet(i.side(t), r.side(t))
		if err == nil {
			sameSession(t, i.side(t), r.side(t))
			return proposed, nil
		}
		if !errors.Is(err, ErrSuite) {
			return proposed, err
		}
		message := r.ErrorMessage()
		want := append([]byte{2}, suitesR...)
		if len(suitesR) > 1 {
			want = append([]byte{2, byte(0x80 + len(suitesR))}, suitesR...)
		}
		equal(t, "error message", message, want)
		err = i.Read(message)
		if !errors.Is(err, ErrSuite) {
			return proposed, err
		}
		selected = i.Selected()
	}
	return proposed, errors.New("no end")
}

func TestSuiteNegotiation(t *testing.T) {
	for _, test := range []struct {
		initiator, responder []byte
		selected             int
		proposed             []byte
		err                  error
	}{
		{[]byte{2}, []byte{2}, 0, []byte{2}, nil},
		{[]byte{2, 3}, []byte{2, 3}, 0, []byte{2}, nil},
		{[]byte{2, 3}, []byte{3, 2}, 0, []byte{2}, nil}, // the Initiator's preference counts
		{[]byte{2, 3}, []byte{3}, 0, []byte{2, 3}, nil},
		{[]byte{3, 2}, []byte{2}, 0, []byte{3, 2}, nil},
		{[]byte{6, 2}, []byte{2}, 1, []byte{2}, nil},
		{[]byte{6, 0, 3, 2}, []byte{2}, 2, []byte{3, 2}, nil},
		{[]byte{2, 3}, []byte{2, 3}, 1, []byte{3, 2}, nil}, // as after a forged error 2: the Responder insists
		{[]byte{2}, []byte{3}, 0, []byte{2}, ErrPeer},
	} {
		proposed, err := negotiate(t, test.initiator, test.responder, test.selected)
		if !bytes.Equal(proposed, test.proposed) || !errors.Is(err, test.err) {
			t.Errorf("%v with %v: proposed %v, %v", test.initiator, test.responder, proposed, err)
		}
	}
}

// SUITES_I as it arrives, at a Responder of suites 2 and 3.
func TestSuitesOfMessage1(t *testing.T) {
	rest := joined(unhex(t, "5820"), unhex(t, "8af6f430ebe18d34184017a9a11bf511c8dff8f834730b96c1b7c8dbca2fc3b6"), []byte{0x0e})
	for suites, want := range map[string]error{
		"02": nil, "03": nil, "820602": nil, "82182803": nil, "822002": nil, "8406001502": nil, "83062603": nil,
		"820203": ErrSuite, "820302": ErrSuite, "820202": ErrSuite, "820206": ErrSuite, "06": ErrSuite, "20": ErrSuite, "21": ErrSuite,
		"1818": ErrSuite, "1a00010002": ErrSuite, "820620": ErrSuite, "83020603": ErrSuite, "8218281819": ErrSuite,
		"8102": ErrMalformed, "80": ErrMalformed, "1802": ErrMalformed, "9f0602ff": ErrMalformed, "98020602": ErrMalformed,
		"8206f6": ErrMalformed, "f6": ErrMalformed, "4102": ErrMalformed, "830602": ErrMalformed, "9affffffff02": ErrMalformed,
		"82061b0000000000000002": ErrMalformed,
	} {
		_, modelR := newModels(t, 0, 2)
		r, _ := modelR.handshake(t, []byte{2, 3}, 0)
		err := r.Read(joined([]byte{0}, unhex(t, suites), rest))
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s: %v", suites, err)
		}
		if want == ErrSuite {
			equal(t, "error message", r.ErrorMessage(), unhex(t, "02820203"))
		}
	}
	// Another suite's key may have another length: what it is told then is the suite.
	x := rest[2:34]
	for size, key := range map[int][]byte{0: {}, 31: x[:31], 33: append(bytes.Clone(x), 0), 48: append(bytes.Clone(x), x[:16]...)} {
		for suite, want := range map[byte]error{2: ErrMalformed, 1: ErrSuite} {
			_, modelR := newModels(t, 0, 2)
			r := modelR.library(t)
			if err := r.Read(joined([]byte{0, suite}, bstr(key), []byte{0x0e})); !errors.Is(err, want) {
				t.Errorf("suite %d, G_X of %d bytes: %v", suite, size, err)
			}
		}
	}
}

// A Responder takes the methods that it was told to take, and no number that looks like one of them.
func TestMethodOfMessage1(t *testing.T) {
	rest := joined(unhex(t, "025820"), unhex(t, "8af6f430ebe18d34184017a9a11bf511c8dff8f834730b96c1b7c8dbca2fc3b6"), []byte{0x0e})
	for _, methods := range []uint8{1, 4, 5} {
		for _, method := range []uint32{0, 1, 2, 3, 4, 5, 8, 16, 18, 31, 32, 34, 64, 256, 258, 65536, 1 << 31, 1<<32 - 2} {
			_, model := newModels(t, 0, 2)
			h := model.library(t)
			if status := h.restart(Responder, keyUsage(false), 2, methods, []byte{2}, 0); status != 0 {
				t.Fatal(status)
			}
			taken := method < 4 && methods>>method&1 == 1
			err := h.Read(joined(must(cbor.Marshal(method)), rest))
			if (err == nil) != taken || !taken && !errors.Is(err, ErrMalformed) {
				t.Errorf("method %d where %04b are taken: %v", method, methods, err)
			}
		}
	}
}

// Somebody in the middle who takes suites out of message_1: the two transcripts differ.
func TestDowngrade(t *testing.T) {
	modelI, modelR := newModels(t, 0, 3)
	i, _ := modelI.handshake(t, []byte{2, 3}, 1)
	r, _ := modelR.handshake(t, []byte{2, 3}, 0)
	message := bytes.Replace(must(i.Write()), unhex(t, "820203"), []byte{3}, 1)
	if err := r.Read(message); err != nil {
		t.Fatal(err)
	}
	if err := i.Read(must(r.Write())); err == nil {
		t.Error("message_2 to another message_1: accepted")
	}
}

// What neither build nor port can do is refused before the first message.
func TestStart(t *testing.T) {
	sign, agreement := false, true
	for _, test := range []struct {
		role         Role
		keyAgreement bool
		uses         uint8
		methods      uint8
		suites       []byte
		selected     int
		good         bool
	}{
		{Initiator, sign, 1, 1, []byte{2}, 0, true},
		{Initiator, sign, 1, 2, []byte{2}, 0, false}, // G_RX takes a second ECDH
		{Initiator, sign, 2, 2, []byte{2}, 0, true},
		{Initiator, sign, 2, 4, []byte{2}, 0, false},
		{Initiator, sign, 2, 8, []byte{2}, 0, false},
		{Initiator, agreement, 1, 4, []byte{2}, 0, true},
		{Initiator, agreement, 1, 8, []byte{2}, 0, false},
		{Initiator, agreement, 2, 8, []byte{2}, 0, true},
		{Initiator, agreement, 2, 1, []byte{2}, 0, false},
		{Initiator, agreement, 2, 2, []byte{2}, 0, false},
		{Initiator, sign, 2, 3, []byte{2}, 0, false}, // one method
		{Initiator, sign, 2, 0, []byte{2}, 0, false},
		{Initiator, sign, 2, 16, []byte{2}, 0, false},
		{Initiator, sign, 2, 17, []byte{2}, 0, false},
		{Initiator, sign, 0, 1, []byte{2}, 0, false},
		{Initiator, sign, 1, 1, []byte{6}, 0, false},
		{Initiator, sign, 1, 1, []byte{6, 2}, 0, false},
		{Initiator, sign, 1, 1, []byte{6, 2}, 1, true},
		{Initiator, sign, 1, 1, []byte{2, 2}, 1, false},
		{Initiator, sign, 1, 1, []byte{2}, 1, false},
		{Initiator, sign, 1, 1, nil, 0, false},
		{Responder, sign, 1, 1, []byte{2}, 0, true},
		{Responder, sign, 1, 4, []byte{2}, 0, false}, // G_IY
		{Responder, sign, 2, 4, []byte{2}, 0, true},
		{Responder, sign, 2, 5, []byte{2, 3}, 0, true},
		{Responder, sign, 2, 2, []byte{2}, 0, false},
		{Responder, sign, 2, 15, []byte{2}, 0, false},
		{Responder, agreement, 1, 2, []byte{2}, 0, true},
		{Responder, agreement, 1, 8, []byte{2}, 0, false},
		{Responder, agreement, 2, 10, []byte{2}, 0, true},
		{Responder, agreement, 2, 1, []byte{2}, 0, false},
		{Responder, sign, 2, 0, []byte{2}, 0, false},
		{Responder, sign, 0, 1, []byte{2}, 0, false},
		{Responder, sign, 1, 1, []byte{6, 2}, 0, false},
		{Responder, sign, 1, 1, []byte{2, 6}, 0, false},
		{Responder, sign, 1, 1, []byte{3, 2}, 0, true},
		{Responder, sign, 1, 1, nil, 0, false},
	} {
		model, _ := newModels(t, 0, 2)
		h := model.library(t)
		usage := keyUsage(test.keyAgreement)
		if status := h.restart(test.role, usage, test.uses, test.methods, test.suites, test.selected); (status == 0) != test.good ||
			!test.good && (status != int(ErrState) || !h.wiped()) {
			t.Errorf("%+v: status %d", test, status)
		}
		for _, usage := range []uint8{0, 2, 17, 255} {
			if status := h.restart(test.role, usage, test.uses, test.methods, test.suites, test.selected); status != int(ErrState) {
				t.Errorf("%+v with key usage %d: status %d", test, usage, status)
			}
		}
	}
}

// Two sessions in one process, message by message in turn.
func TestInterleaved(t *testing.T) {
	var sides [2][2]*Handshake
	for n := range sides {
		modelI, modelR := newModels(t, 3*n, 2+n)
		sides[n] = [2]*Handshake{modelI.library(t), modelR.library(t)}
	}
	for n := range 4 {
		var messages [2][]byte
		for s := range sides {
			messages[s] = must(sides[s][n%2].Write())
		}
		for s := range sides {
			if err := sides[s][1-n%2].Read(messages[s]); err != nil {
				t.Fatalf("session %d, message_%d: %v", s, n+1, err)
			}
		}
	}
	for s := range sides {
		sameSession(t, sides[s][0].side(t), sides[s][1].side(t))
	}
	if bytes.Equal(must(sides[0][0].Export(1, nil, 32)), must(sides[1][0].Export(1, nil, 32))) {
		t.Error("both sessions have one secret")
	}
}

// Builds of one role, method 0 and suite 2 meet each other and the model, and start nothing else.
func TestOneRole(t *testing.T) {
	builds := []edhocBuild{initiatorOnly(), responderOnly()}
	for _, ends := range []string{"each other", "model Responder", "model Initiator"} {
		modelI, modelR := newModels(t, 0, 2)
		i, r := modelI.side(), modelR.side()
		replace := func(m *model, b edhocBuild) side {
			h := m.library(t)
			if status := b.begin(h, m.role, 1, 2); status != 0 {
				t.Fatal(status)
			}
			s := h.side(t) // the rest is the same code
			s.write = func(int) ([]byte, error) { return b.writeMessage(h) }
			s.read = func(_ int, message []byte) error { return b.readMessage(h, message) }
			return s
		}
		if ends != "model Initiator" {
			i = replace(modelI, builds[0])
		}
		if ends != "model Responder" {
			r = replace(modelR, builds[1])
		}
		if _, err := meet(i, r); err != nil {
			t.Fatalf("%s: %v", ends, err)
		}
		sameSession(t, i, r)
	}
	for role, b := range builds {
		model, _ := newModels(t, 0, 2)
		h := model.library(t)
		for method := range 4 {
			if status := b.begin(h, Role(1-role), 1<<method, 2); status != int(ErrState) {
				t.Errorf("the other role than %d, method %d: status %d", role, method, status)
			}
			if status := b.begin(h, Role(role), 1<<method, 2); (status == 0) != (method == 0) {
				t.Errorf("role %d, method %d: status %d", role, method, status)
			}
		}
		if status := b.begin(h, Role(role), 1, 3); status != int(ErrState) {
			t.Errorf("role %d, suite 3: status %d", role, status)
		}
	}
	_, modelR := newModels(t, 0, 2)
	r := modelR.library(t)
	if status := builds[1].begin(r, Responder, 1, 2); status != 0 {
		t.Fatal(status)
	}
	modelI, _ := newModels(t, 0, 3)
	if err := builds[1].readMessage(r, modelI.write(1)); !errors.Is(err, ErrSuite) {
		t.Error(err)
	}
	equal(t, "error message", builds[1].errorMessage(r), unhex(t, "0202"))
}
