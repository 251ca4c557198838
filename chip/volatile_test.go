package chip

import (
	"bytes"
	"crypto/ecdh"
	"crypto/sha256"
	"errors"
	"testing"
	"time"
)

// valid tells from Info whether TempKey holds something.
func (h host) valid() bool {
	h.t.Helper()
	return h.get(4, opInfo, infoState, 0)[1]&0x80 != 0
}

func TestIdleKeepsSleepLoses(t *testing.T) {
	h := locked(t, product())
	block := make([]byte, 32)
	lose := map[string]func(){"sleep": h.Sleep, "supply": h.PowerUp}
	for name, f := range lose {
		h.want(success, opNonce, 0x03, 0, block...)
		h.want(success, opNonce, 0x43, 0, block...)
		h.fresh()
		if !h.valid() {
			t.Fatal("idle lost TempKey")
		}
		h.get(64, opSign, signExternal|fromMsgDigBuf, 0)
		h.want(success, opNonce, 0x43, 0, block...)
		f()
		if got := h.Exchange(wrap(byte(opInfo), 0, 0, 0)); got != nil {
			t.Fatalf("%s: a sleeping chip answers % x", name, got)
		}
		h.Wake()
		if h.valid() {
			t.Errorf("%s kept TempKey", name)
		}
		h.want(executionError, opSign, signExternal|fromMsgDigBuf, 0)
	}
}

// clock is a host's clock that a test moves.
type clock struct {
	time  time.Time
	slept time.Duration
}

func (c *clock) now() time.Time { return c.time }

func (c *clock) sleep(d time.Duration) {
	c.slept += d
	c.time = c.time.Add(d)
}

func TestWatchdog(t *testing.T) {
	c := &clock{}
	h := host{t, New(Options{TimeScale: 1, Now: c.now, Sleep: c.sleep})}
	if got := h.Wake(); !bytes.Equal(got, unhex(t, "04 11 33 43")) {
		t.Fatalf("wake gives % x", got)
	}
	h.want(success, opNonce, 0x03, 0, make([]byte, 32)...)
	if c.slept != 20*time.Millisecond {
		t.Errorf("Nonce took %v", c.slept)
	}

	// With 44 ms left Write (45 ms) is refused, Info (5 ms) is not.
	c.time = time.Time{}.Add(shortWatchdog - 44*time.Millisecond)
	h.want(watchdogExpires, opWrite, zoneConfig, atCounter/4, 255, 255, 255, 255)
	if !h.valid() {
		t.Error("TempKey was lost before the watchdog")
	}
	h.fresh()
	h.want(success, opWrite, zoneConfig, atCounter/4, 255, 255, 255, 255)

	c.time = c.time.Add(shortWatchdog)
	if got := h.Exchange(wrap(byte(opInfo), 0, 0, 0)); got != nil {
		t.Fatalf("after the watchdog: % x", got)
	}
	h.Wake()
	if h.valid() {
		t.Error("the watchdog kept TempKey")
	}

	// Idle stops the watchdog, but comes too late if it has fired.
	h.want(success, opNonce, 0x03, 0, make([]byte, 32)...)
	h.Idle()
	c.time = c.time.Add(time.Hour)
	h.Wake()
	if !h.valid() {
		t.Error("the watchdog ran in idle")
	}
	c.time = c.time.Add(shortWatchdog)
	h.Idle()
	h.Wake()
	if h.valid() {
		t.Error("idle after the watchdog kept TempKey")
	}

	h.want(success, opWrite, zoneConfig, 16/4, 0xC0, 0, 0, 0x04) // ChipMode bit 2
	h.fresh().want(success, opNonce, 0x03, 0, make([]byte, 32)...)
	c.time = c.time.Add(longWatchdog - time.Second)
	if !h.valid() {
		t.Error("the long watchdog is short")
	}
}

// TestWatchdogWithoutClock: at TimeScale 0 only the commands' own times count, so the answer is always
// the same. Eleven GenKeys of 115 ms fit into 1.3 s, twelve do not.
func TestWatchdogWithoutClock(t *testing.T) {
	h := configured(t, product())
	for range 11 {
		h.get(64, opGenKey, genKeyPrivate, inTempKey)
	}
	h.want(watchdogExpires, opGenKey, genKeyPrivate, inTempKey)
}

func TestClockDivider(t *testing.T) {
	for chipMode, want := range map[byte]time.Duration{
		0x00: 115, 0x28: 215, 0x68: 653, 0xF8: 653,
	} {
		c := &clock{}
		h := host{t, New(Options{TimeScale: 0.5, Now: c.now, Sleep: c.sleep})}
		h.Wake()
		h.want(success, opWrite, zoneConfig, 16/4, 0xC0, 0, 0, chipMode)
		h.want(success, opLock, lockConfig|lockNoCRC, 0)
		c.slept = 0
		h.fresh().get(64, opGenKey, genKeyPrivate, inTempKey)
		if want := want * time.Millisecond / 2; c.slept != want {
			t.Errorf("ChipMode %02x: GenKey took %v, want %v", chipMode, c.slept, want)
		}
	}
}

func TestNonce(t *testing.T) {
	h := locked(t, product())
	input := bytes.Repeat([]byte{7}, 20)

	// The TempKey of a random nonce, found through a signature over it.
	number := h.get(32, opNonce, 0x00, 0, input...)
	sum := sha256.Sum256(append(append(number, input...), byte(opNonce), 0x00, 0x00))
	public := h.get(64, opGenKey, genKeyPublic, 0)
	checkSignature(t, public, sum[:], h.get(64, opSign, signExternal, 0))

	// Mixing returns the new TempKey, here made of one that is known.
	old := bytes.Repeat([]byte{9}, 32)
	h.fresh().want(success, opNonce, 0x03, 0, old...)
	mixed := h.get(32, opNonce, 0x01, nonceMix, input...)
	sum = sha256.Sum256(append(append(old, input...), byte(opNonce), 0x01, 0x00))
	if !bytes.Equal(mixed, sum[:]) {
		t.Errorf("mixed nonce % x, want % x", mixed, sum)
	}
	if h.get(4, opInfo, infoState, 0)[0]&0x10 == 0 {
		t.Error("a nonce mixed from input alone counts as random")
	}
	checkSignature(t, public, sum[:], h.get(64, opSign, signExternal, 0))
	h.want(executionError, opNonce, 0x00, nonceMix, input...)
}

// TestEphemeralKey: nothing but ECDH reads an ephemeral key in TempKey.
func TestEphemeralKey(t *testing.T) {
	h := locked(t, product())
	h.get(64, opGenKey, genKeyPrivate, inTempKey)
	h.want(executionError, opSign, signExternal, 0)
	h.want(executionError, opAES, aesEncrypt, inTempKey, make([]byte, 16)...)
	h.want(executionError, opNonce, 0x00, nonceMix, make([]byte, 20)...)
	h.want(executionError, opVerify, verifyExternal, curveP256, append(make([]byte, 64), generator(t)...)...)
	h.fresh().get(32, opECDH, ecdhFromTempKey|ecdhOutputBuffer, 0xFFFF, generator(t)...)
	if h.valid() {
		t.Error("ECDH left its key in TempKey")
	}
	h.get(64, opGenKey, genKeyPrivate, inTempKey)
	h.want(success, opECDH, ecdhFromTempKey|ecdhKeepInRAM, 0, generator(t)...)
	if h.get(4, opInfo, infoState, 0)[0]&0x10 == 0 || !h.valid() {
		t.Error("a secret in TempKey counts as a random nonce")
	}
}

type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, errors.New("no entropy") }

type stuck struct{}

func (stuck) Read(b []byte) (int, error) { return copy(b, bytes.Repeat([]byte{0xFF}, len(b))), nil }

func TestBrokenRandomness(t *testing.T) {
	h := host{t, New(Options{Rand: silent{}})}
	h.Wake()
	h.want(success, opLock, lockConfig|lockNoCRC, 0)
	h.want(healthError, opRandom, 0, 0)
	h.want(healthError, opNonce, 0x00, 0, make([]byte, 20)...)
	h.want(healthError, opGenKey, genKeyPrivate, inTempKey)
	if h.valid() {
		t.Error("a nonce without randomness is in TempKey")
	}

	h = host{t, New(Options{Rand: stuck{}})}
	h.Wake()
	h.want(success, opLock, lockConfig|lockNoCRC, 0)
	h.want(eccFault, opGenKey, genKeyPrivate, inTempKey) // 2^256 - 1 is no private key
}

// TestPrivateKeyRange: the ends of the range of private keys, as the chip's random numbers may hit them.
func TestPrivateKeyRange(t *testing.T) {
	n := "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc63255"
	for last, want := range map[string]bool{"0": true, "1": false} {
		_, err := ecdh.P256().NewPrivateKey(unhex(t, n+last))
		h := host{t, New(Options{Rand: bytes.NewReader(unhex(t, n+last))})}
		h.Wake()
		h.want(success, opLock, lockConfig|lockNoCRC, 0)
		if p := h.payload(opGenKey, genKeyPrivate, inTempKey); (len(p) == pointSize) != want || (err == nil) != want {
			t.Errorf("scalar %s%s: %d bytes", n, last, len(p))
		}
	}
}
