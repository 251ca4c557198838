//go:build cgo

package device

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
)

// traces of a secret in memory: any eight bytes of it, as they are or as SHA-256 has them in its words, plain or under HMAC's pads.
func patterns(secret []byte) (all [][]byte) {
	for at := 0; at+8 <= len(secret); at++ {
		all = append(all, secret[at:at+8])
		if at%4 != 0 {
			continue
		}
		for _, pad := range []uint32{0, 0x36363636, 0x5c5c5c5c} {
			var words []byte
			for i := at; i < at+8; i += 4 {
				words = binary.NativeEndian.AppendUint32(words, binary.BigEndian.Uint32(secret[i:])^pad)
			}
			all = append(all, words)
		}
	}
	return all
}

// secrets are all that a handshake computes and nobody may find.
func (m *model) secrets() map[string][]byte {
	secrets := map[string][]byte{
		"G_XY": m.sharedGXY, "PRK_2e": m.prk2e, "PRK_3e2m": m.prk3e2m, "PRK_4e3m": m.prk4e3m, "PRK_out": m.prkOut,
		"MAC_2": m.mac[2], "MAC_3": m.mac[3], "K_3": m.key[3], "IV_3": m.iv[3], "K_4": m.key[4], "IV_4": m.iv[4],
		"KEYSTREAM_2": m.keystream, "PRK_exporter": edhocKDF(m.prkOut, 10, nil, 32), "export": m.export(32768, nil, 29),
		"next PRK_out": edhocKDF(m.prkOut, 11, nil, 32),
	}
	for n := 2; n <= 3; n++ {
		if m.staticAt(n) {
			secrets[fmt.Sprintf("shared secret of message_%d", n)] = m.sharedStatic[n]
			secrets[fmt.Sprintf("salt of message_%d", n)] = m.salt[n]
			delete(secrets, fmt.Sprintf("MAC_%d", n)) // is in the plaintext, and that is the caller's
		}
	}
	return secrets
}

func find(t *testing.T, where string, memory []byte, secrets map[string][]byte) (found int) {
	t.Helper()
	for name, secret := range secrets {
		for _, pattern := range patterns(secret) {
			if bytes.Contains(memory, pattern) {
				t.Logf("%s: %s", where, name)
				found++
				break
			}
		}
	}
	return found
}

// No call leaves a secret on the stack, whether it succeeds or fails, wherever it fails; and a failure leaves none in the
// handshake or in the message either.
func TestSecretsWiped(t *testing.T) {
	for method := range 4 {
		for _, suite := range []int{2, 3} {
			modelI, modelR := newModels(t, method, suite)
			messages, err := meet(modelI.side(), modelR.side())
			if err != nil {
				t.Fatal(err)
			}
			secrets := modelI.secrets()
			for role, m := range []*model{modelI, modelR} {
				stage := func(calls int) *staged {
					static := m.sharedStatic[2]
					if static == nil {
						static = m.sharedStatic[3]
					}
					// In method 3 the second secret differs by message: it is put in place when message_2 is done.
					return newStaged(m.role, m.staticAt(3-role), method, suite, compact(m.id), m.cred, m.connection, m.peerCred, m.peer,
						m.ephemeral.PublicKey().Bytes()[1:], m.proof[3-role], [2][]byte{m.sharedGXY, static}, calls)
				}
				// run gives the number of calls that the port answered.
				run := func(calls int) (failed bool) {
					s := stage(calls)
					defer s.free()
					for n := 1; n <= 4; n++ {
						what, message := callRead, messages[n-1]
						if sender(n) == m.role {
							what, message = callWrite, bytes.Repeat([]byte{0xee}, len(messages[n-1]))
						}
						where := fmt.Sprintf("method %d, suite %d, role %d, message_%d, failing call %d", method, suite, role, n, calls)
						status, after, stack := s.call(what, message)
						if find(t, where, stack, secrets) > 0 {
							t.Errorf("%s: secrets on the stack", where)
						}
						if status != 0 {
							if !s.wiped() || !bytes.Equal(after, make([]byte, len(after))) {
								t.Errorf("%s: handshake or message not wiped", where)
							}
							return true
						}
						if what == callWrite && !bytes.Equal(after, messages[n-1]) {
							t.Fatalf("%s: %x, not %x", where, after, messages[n-1])
						}
						if n == 2 && method == 3 {
							s.setSecret(m.sharedStatic[3])
						}
					}
					for _, what := range []stagedCall{callExport, callUpdate} {
						if status, _, stack := s.call(what, nil); status != 0 || find(t, "export or update", stack, secrets) > 0 {
							t.Errorf("method %d, role %d, call %d: status %d, or secrets on the stack", method, role, what, status)
						}
					}
					return false
				}
				calls := 0
				for run(calls) {
					calls++
				}
				if calls < 5 {
					t.Errorf("method %d, role %d: %d calls of the port", method, role, calls)
				}
			}
		}
	}
}

// The MAC that would have been right is not left where a wrong one was refused.
func TestExpectedMACWiped(t *testing.T) {
	modelI, modelR := newModels(t, 3, 2)
	messages, err := meet(modelI.side(), modelR.side())
	if err != nil {
		t.Fatal(err)
	}
	secrets := modelI.secrets()
	secrets["MAC_2"] = modelI.mac[2]
	s := newStaged(Initiator, true, 3, 2, compact(modelI.id), modelI.cred, modelI.connection, modelI.peerCred, modelI.peer,
		modelI.ephemeral.PublicKey().Bytes()[1:], nil, [2][]byte{modelI.sharedGXY, modelI.sharedStatic[2]}, -1)
	defer s.free()
	if status, _, _ := s.call(callWrite, bytes.Clone(messages[0])); status != 0 {
		t.Fatal(status)
	}
	forged := bytes.Clone(messages[1])
	forged[len(forged)-1] ^= 1
	if status, _, stack := s.call(callRead, forged); status != int(ErrAuth) || find(t, "refused message_2", stack, secrets) > 0 {
		t.Errorf("status %d, or secrets on the stack", status)
	}
}

// The search finds what a function leaves that does not wipe.
func TestSecretsFound(t *testing.T) {
	modelI, modelR := newModels(t, 0, 2)
	if _, err := meet(modelI.side(), modelR.side()); err != nil {
		t.Fatal(err)
	}
	s := newStaged(Initiator, false, 0, 2, compact(modelI.id), modelI.cred, modelI.connection, modelI.peerCred, modelI.peer,
		modelI.ephemeral.PublicKey().Bytes()[1:], modelI.proof[3], [2][]byte{modelI.sharedGXY, modelI.sharedGXY}, 100)
	defer s.free()
	if _, _, stack := s.call(callLeak, nil); find(t, "planted", stack, modelI.secrets()) != 1 {
		t.Error("a planted secret is not found")
	}
}
