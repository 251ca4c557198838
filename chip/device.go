// Package chip is the ATECC608 secure element as seen from its bus: the groups that it exchanges, and a
// simulated chip that answers them with the lock states, slot policies, volatile state, watchdog, status
// codes and execution times that public documents describe.
//
// The commands are those that the project's driver, or a host that checks its work, sends: AES, Counter, ECDH, GenDig, GenKey,
// Info, Lock, MAC, Nonce, Random, Read, SelfTest, Sign, Verify and Write. Parse errors (0x03) are the other opcodes, CheckMac,
// DeriveKey, KDF, PrivWrite, SecureBoot, SHA and UpdateExtra, and these modes: GenDig's 03 and 05, GenKey's with a MAC, Info's
// 03 and 04, Verify's with a MAC. Read refuses what is to be read encrypted (0x0F).
//
// The rule for refusals is: 0x03 for what the bytes of the command alone decide, 0x0F for what depends on
// locks, configuration or volatile state. Where no public document says what silicon does, the choice is
// in doubts.go, and it is the stricter one: a driver that works here asks no favour of a real chip.
package chip

import (
	"crypto/rand"
	"fmt"
	"io"
	"time"
)

// Options are the properties of a simulated chip. The zero value is a new chip with a serial number of
// its own that answers at once.
type Options struct {
	// SerialNumber of a chip with factory contents; zero draws one of the form 01 23 .. EE. A chip that
	// already has a file keeps the serial number in it.
	SerialNumber [9]byte

	// Rand gives the chip's random numbers and private keys; nil is crypto/rand. A read that fails makes
	// the chip answer 0x08. ECDSA nonces always come from crypto/rand.
	Rand io.Reader

	// TimeScale is the real time that a command takes as a fraction of its time in silicon: 1 is the
	// maximum times of the data sheet, 0 answers at once. The watchdog counts the unscaled times.
	TimeScale float64

	// Sleep and Now are the clock; nil is the system's. With TimeScale 0 and Now nil the host's time does
	// not count for the watchdog, so that a slow test machine changes no answer.
	Sleep func(time.Duration)
	Now   func() time.Time

	// Cut is asked before each EEPROM byte is written, with its offset in the image (configuration from
	// 0, OTP from 128, slots from 192). If it says yes, the supply fails: neither this byte nor any later
	// one is written, and the chip is silent until PowerUp, or until it is opened again.
	Cut func(offset int) bool
}

// Device is one simulated ATECC608. It is not safe for concurrent use, as the bus it stands on is not.
type Device struct {
	eeprom *eeprom
	rand   io.Reader
	scale  float64
	sleep  func(time.Duration)
	now    func() time.Time

	volatile volatile
	awake    bool
	uptime   time.Duration // since wake, in the chip's time
	seen     time.Time     // when uptime was last brought up to date
}

// Open makes a chip whose EEPROM is the file at path: 1400 bytes, configuration, OTP, slots 0 to 15. A
// missing or empty file gets factory contents and mode 0600, since it will hold private keys in clear.
// Every byte is on the disk before the command that wrote it is answered. The file is locked until Close,
// so a second Open of it fails, in this process or another. A file of another size is an error.
func Open(path string, o Options) (*Device, error) {
	e, err := openEEPROM(path, o.serial())
	if err != nil {
		return nil, fmt.Errorf("open chip: %w", err)
	}
	return newDevice(e, o), nil
}

// New makes a chip with factory contents in memory.
func New(o Options) *Device {
	return newDevice(&eeprom{image: factory(o.serial())}, o)
}

func newDevice(e *eeprom, o Options) *Device {
	e.cut = o.Cut
	d := &Device{eeprom: e, rand: o.Rand, scale: o.TimeScale, sleep: o.Sleep, now: o.Now}
	if d.rand == nil {
		d.rand = rand.Reader
	}
	if d.sleep == nil {
		d.sleep = time.Sleep
	}
	if d.now == nil {
		d.now = time.Now
		if d.scale == 0 {
			d.now = func() time.Time { return time.Time{} }
		}
	}
	return d
}

func (o Options) serial() [9]byte {
	s := o.SerialNumber
	if s == [9]byte{} {
		rand.Read(s[2:8])
		s[0], s[1], s[8] = 0x01, 0x23, 0xEE
	}
	return s
}

// Close releases the file, which may then be opened again. The error is that of the first EEPROM write
// that the file did not take; the chip has been silent since then.
func (d *Device) Close() error {
	if err := d.eeprom.close(); err != nil {
		return fmt.Errorf("close chip: %w", err)
	}
	return nil
}

// PowerUp takes the supply away and gives it back: volatile state is lost, the chip sleeps.
func (d *Device) PowerUp() {
	d.eeprom.restore()
	d.Sleep()
}

// Wake is the wake token. It returns the group 04 11 33 43, or nil without supply. A chip that is awake
// gives the same answer and its watchdog runs on.
func (d *Device) Wake() []byte {
	d.tick()
	if d.eeprom.err != nil {
		return nil
	}
	if !d.awake {
		d.awake, d.uptime, d.seen = true, 0, d.now()
	}
	return wrap(byte(afterWake))
}

// Idle stops the chip and its watchdog until the next Wake; volatile state stays.
func (d *Device) Idle() {
	d.tick()
	d.awake = false
}

// Sleep stops the chip until the next Wake; volatile state is lost.
func (d *Device) Sleep() {
	d.awake = false
	d.volatile = volatile{}
}

// tick counts the time that the host took, and puts the chip to sleep if the watchdog found it too long.
func (d *Device) tick() {
	if !d.awake {
		return
	}
	if now := d.now(); now.After(d.seen) {
		d.uptime += now.Sub(d.seen)
		d.seen = now
	}
	if d.uptime >= d.watchdog() {
		d.Sleep()
	}
}

// Exchange executes one command group (count to CRC) and returns the response group. A chip that sleeps,
// idles or has no supply, or loses it on the way, gives nil, as a bus on which nobody acknowledges.
func (d *Device) Exchange(group []byte) []byte {
	d.tick()
	if !d.awake || d.eeprom.err != nil {
		return nil
	}
	c, s := parse(group)
	if s != success {
		return wrap(byte(s))
	}
	run, times := d.lookup(c.opcode)
	if run == nil {
		return wrap(byte(parseError))
	}
	takes := times.at(d.divider())
	if d.uptime+takes >= d.watchdog() {
		return wrap(byte(watchdogExpires))
	}
	start := d.now()
	payload, s := run(c)
	if s == parseError {
		return wrap(byte(s)) // found before anything was executed
	}
	d.spend(takes, start)
	if d.eeprom.err != nil {
		d.Sleep()
		return nil
	}
	if payload == nil {
		return wrap(byte(s))
	}
	return wrap(payload...)
}

// lookup returns what executes an opcode, and its maximum times; nil for one that this chip lacks.
func (d *Device) lookup(op opcode) (func(command) ([]byte, status), times) {
	switch op {
	case opRead:
		return d.read, times{5, 5, 5}
	case opWrite:
		return d.write, times{45, 45, 45}
	case opNonce:
		return d.nonce, times{20, 20, 20}
	case opLock:
		return d.lock, times{35, 35, 35}
	case opRandom:
		return d.random, times{23, 23, 23}
	case opCounter:
		return d.counter, times{25, 25, 25}
	case opInfo:
		return d.info, times{5, 5, 5}
	case opGenKey:
		return d.genKey, times{115, 215, 653}
	case opSign:
		return d.sign, times{115, 220, 665}
	case opECDH:
		return d.ecdh, times{75, 172, 531}
	case opVerify:
		return d.verify, times{105, 295, 1085}
	case opAES:
		return d.aes, times{27, 27, 27}
	case opGenDig:
		return d.genDig, times{25, 35, 35}
	case opMAC:
		return d.mac, times{55, 55, 55}
	case opSelfTest:
		return d.selfTest, times{250, 625, 2324}
	}
	return nil, times{}
}

// times are the maximum execution times in milliseconds at the clock dividers M0, M1 and M2.
type times [3]int

func (t times) at(divider byte) time.Duration {
	ms := t[2]
	switch divider {
	case 0x00:
		ms = t[0]
	case 0x05:
		ms = t[1]
	}
	return time.Duration(ms) * time.Millisecond
}

func (d *Device) divider() byte { return d.eeprom.image[atChipMode] >> 3 }

func (d *Device) watchdog() time.Duration {
	if d.eeprom.image[atChipMode]&0x04 != 0 {
		return longWatchdog
	}
	return shortWatchdog
}

// spend lets a command's time pass, for the chip whole and for the host scaled; what the simulation took since start is part of it.
func (d *Device) spend(takes time.Duration, start time.Time) {
	d.uptime += takes
	d.seen = d.now()
	real := time.Duration(float64(takes)*d.scale) - d.seen.Sub(start)
	if d.scale > 0 && real > 0 {
		d.sleep(real)
		d.seen = d.seen.Add(real)
	}
}
