package chip

import "encoding/binary"

// A group is count(1) payload crc(2), where count is the size of the whole group. A command's payload
// is opcode(1) mode(1) param2(2, low byte first) data; a response's is one status byte or the result.
const (
	minCommand = 7   // bytes; a command without data
	maxGroup   = 155 // bytes; the device's input buffer
)

type opcode byte

const (
	opRead     opcode = 0x02
	opMAC      opcode = 0x08
	opWrite    opcode = 0x12
	opGenDig   opcode = 0x15
	opNonce    opcode = 0x16
	opLock     opcode = 0x17
	opRandom   opcode = 0x1B
	opCounter  opcode = 0x24
	opInfo     opcode = 0x30
	opGenKey   opcode = 0x40
	opSign     opcode = 0x41
	opECDH     opcode = 0x43
	opVerify   opcode = 0x45
	opAES      opcode = 0x51
	opSelfTest opcode = 0x77
)

type status byte

const (
	success         status = 0x00
	miscompare      status = 0x01 // Verify: the signature is not this key's
	parseError      status = 0x03 // refused for the command's bytes, in whatever state
	eccFault        status = 0x05 // the computation went wrong; the same command may work
	healthError     status = 0x08 // the random number generator does not deliver
	executionError  status = 0x0F // refused in the present state or configuration
	afterWake       status = 0x11
	watchdogExpires status = 0xEE // too little time left: idle or sleep, wake, repeat
	crcError        status = 0xFF // the group arrived damaged: send it again
)

type command struct {
	opcode opcode
	mode   byte   // param1
	param2 uint16 // slot, address, checksum or counter
	data   []byte // aliases the group
}

// CRC is the checksum of groups and zones: polynomial 0x8005, initial value 0, bits of each byte least
// significant first, register shifted left. On the wire and in parameters its low byte goes first.
func CRC(data []byte) uint16 {
	var crc uint16
	for _, b := range data {
		for mask := byte(1); mask != 0; mask <<= 1 {
			carry := (crc&0x8000 != 0) != (b&mask != 0)
			crc <<= 1
			if carry {
				crc ^= 0x8005
			}
		}
	}
	return crc
}

// parse takes one command group apart. Damage (a count that is not the group's size, a wrong CRC) gives
// crcError, a whole group too short for a command parseError.
func parse(group []byte) (command, status) {
	n := len(group)
	if n < 4 || n > maxGroup || int(group[0]) != n || binary.LittleEndian.Uint16(group[n-2:]) != CRC(group[:n-2]) {
		return command{}, crcError
	}
	if n < minCommand {
		return command{}, parseError
	}
	return command{
		opcode: opcode(group[1]),
		mode:   group[2],
		param2: binary.LittleEndian.Uint16(group[3:]),
		data:   group[5 : n-2],
	}, success
}

// wrap makes a response group of a payload.
func wrap(payload ...byte) []byte {
	group := append([]byte{byte(len(payload) + 3)}, payload...)
	return binary.LittleEndian.AppendUint16(group, CRC(group))
}
