package chip

import "time"

// What no public document says about the ATECC608, or only by example. Each item is one guess; whoever
// has a chip to try it on changes it here.

// Contents of a blank chip. A line writes every policy itself; these are ones that no line wants, so that
// one which was forgotten shows when the line reads back.
const (
	factorySlotConfig = 0x0F0F // written in clear and readable
	factoryKeyConfig  = 0x0038 // AES key, lockable
	erased            = 0xFF   // OTP and slots
)

// The watchdog has a range of 0.7 to 1.7 s; this is its typical time. The long one is known by its
// approximate factor only. Whether silicon answers 0xEE by a command's maximum time, as here, or only
// when the watchdog fires, is not documented; nor is the time at clock dividers other than 0, 5 and 13,
// which count as the slowest.
const (
	shortWatchdog = 1300 * time.Millisecond
	longWatchdog  = 13 * time.Second
)

// From which stage on a command works. Documents speak of Sign, ECDH, slot AES and stored Verify (data
// locked) and of GenKey (configuration locked), not of these.
const (
	verifyExternalFrom = dataLocked
	slotLockFrom       = dataLocked
	counterFrom        = dataOpen
	tempKeyAESFrom     = dataOpen
)

// A public key that is no point of the curve: decided by the command's bytes alone if it came in the
// command, by the chip's state if it lay in a slot.
const (
	invalidPoint       = parseError
	invalidStoredPoint = executionError
)

// genKeyAfterLock says that GenKey may replace a private key when the data zone is locked: for a private
// key the bits of WriteConfig mean GenKey (13) and PrivWrite (14).
func (c slotConfig) genKeyAfterLock() bool { return c&0x2000 != 0 }

// slotWritable says whether Write may put size bytes in clear into a slot now. Policies are taken to
// begin with the data lock; private keys and locked slots to refuse always; and secret slots to take
// whole blocks only, as a word of a secret at a time would be easy to guess. What WriteConfig (bits 12 to
// 15) means is deduced from public sample configurations: 0000 always, 0001 while the public key in the
// slot is not validated, x1xx encrypted with a TempKey made by GenDig, else never.
func (e *eeprom) slotWritable(slot, size int) bool {
	stage := e.stage()
	if stage == configOpen || e.keyConfig(slot).private() || e.slotLocked(slot) {
		return false
	}
	if stage == dataOpen {
		return size == blockSize
	}
	sc := e.slotConfig(slot)
	if sc.secret() && size != blockSize {
		return false
	}
	switch sc >> 12 {
	case 0:
		return true
	case 1:
		return !e.publicValid(slot)
	default:
		return false
	}
}

// writeEncrypted says that a slot is written encrypted once the data zone is locked. The key is that of WriteKey, bits 8 to 11.
func (c slotConfig) writeEncrypted() bool { return c&0x4000 != 0 }

// wrongWriteMAC answers an encrypted write that does not hold, for the MAC or for what is in TempKey.
const wrongWriteMAC = executionError

// mixedSource is TempKey.SourceFlag after a Nonce that mixes TempKey instead of a random number. If the
// old value came from the host, so does all of the new one: it stays an input.
func mixedSource(old content) content { return old }

// ecdhToTempKey is TempKey.SourceFlag after an ECDH that left its secret there: not a random nonce.
const ecdhToTempKey = inputData

// ECDHprot in ChipOptions bits 8 and 9: what ECDH may put on the bus. Values 2 and 3 are taken as
// "nothing".
const (
	ecdhOutputClear     = 0
	ecdhOutputEncrypted = 1
)

// A private key lies behind four pad bytes. GenKey marks them before it changes the key and clears them
// after, so power lost within leaves a slot without a key, never with half of one. Silicon is taken to do
// the same by whatever means: nobody outside could tell half a key from a whole one.
const (
	padKey   = 0x00
	padNoKey = erased
)

// Limited use: each use of such a key counts Counter0 up, until it reaches its maximum or, if CountMatch
// (configuration byte 18) has bit 0 set, the limit in the slot that bits 4 to 7 name. Where the two copies
// of the limit differ, there is no use left.
func countMatch(b byte) (slot int, enabled bool) { return int(b >> 4), b&1 != 0 }

// Choices that are no constant, and where they are made:
//
//   - Wake: a chip that is awake answers the wake token as one that slept.
//   - Exchange: a parse error takes no time, any other refusal all of the command's.
//   - draw: Nonce works with the constant number while the configuration is open.
//   - read: a 32-byte Read that runs past the end of a slot is a parse error.
//   - writeConfig: Write may clear bits of SlotLocked in the open configuration, never set them.
//   - lock: a slot is locked with or without a checksum of its own, mode bit 7 clear: public hosts send 0 and the
//     slot's, and both are reported to work.
//   - ecdh: with the ephemeral key param2 is ignored; public hosts send 0 and FFFF. Mode 05, TempKey to a
//     slot, names no slot and is a parse error. The IO protection key is the first 32 bytes of its slot, whatever that one's policy
//     says; with an encryption that the options force, a secret is as long as with one that the mode asks for.
//   - messageReady: ReqRandom concerns Sign and Verify only. It wants the random nonce in TempKey even if the
//     message is in MsgDigBuf.
//   - digested: a digest of GenKey wants a nonce in TempKey, and takes over whether that was random.
//   - sign: an internal signature does not want the nonce to be random unless ReqRandom does; a message outside TempKey is a
//     parse error.
//   - internalMessage: the last byte but one is mode bit 0; were it PubKeyValid, that of a private key's slot would be 0 too.
//   - buffer: an ephemeral key in TempKey is good for ECDH alone; as message, AES key or nonce it is an
//     execution error. A command that is refused leaves TempKey and MsgDigBuf as they are.
//   - genDig: a block of the configuration can be digested in any lock state, all else from the data lock on; TempKey must hold
//     a value; a digest over configuration, OTP or a counter has no flag, and neither Sign nor an encrypted write takes it.
//   - mac: it refuses a slot with NoMac, and TempKey with the flag; both halves from TempKey are a parse error.
//   - unseal: TempKey is used up even if the MAC is wrong.
//   - digestStored: it works from the configuration lock on, and the key need not be on the curve.
//   - validate: what the message says of the slot's configuration is not compared with it, except whether it validates; the
//     locked slot is refused; the parent's ReqRandom concerns the nonce under the digest.
//   - SingleWire: after an illegal token the chip sleeps at once, and one that waits for the rest of a group does so
//     for ever; silicon sleeps in both cases after a time that public documents do not give. The response is there
//     for every transmit flag until the next command, idle, sleep or wake.
//   - encodeCounter: the arrangement within a counter's 8 bytes.
