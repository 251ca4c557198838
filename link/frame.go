package link

import (
	"errors"
	"iter"
)

// Sizes in bytes (docs/wire.md, "Frame").
const (
	maxRequest = 640 // payload that a unit takes
	maxReply   = 512 // payload that the station takes
	crcSize    = 2
	cobsBlock  = 254 // data bytes that one COBS code byte covers
	maxEncoded = maxReply + crcSize + (maxReply+crcSize+cobsBlock-1)/cobsBlock
)

var errFrame = errors.New("malformed frame")

// encodeFrame gives the bytes on the wire for a payload: 0x00, COBS of the payload and its CRC, 0x00. The first 0x00
// ends whatever the unit had half received, be it noise or a frame whose own end was lost.
func encodeFrame(payload []byte) []byte {
	crc := crc16(payload)
	data := append(payload[:len(payload):len(payload)], byte(crc), byte(crc>>8))
	frame := appendCOBS([]byte{0}, data)
	return append(frame, 0)
}

// DecodeFrame gives the payload of one frame without its zeros, or an error. It takes exactly one encoding of each payload.
func DecodeFrame(encoded []byte) ([]byte, error) {
	data, err := decodeCOBS(encoded)
	if err != nil || len(data) < crcSize {
		return nil, errFrame
	}
	payload, tail := data[:len(data)-crcSize], data[len(data)-crcSize:]
	if crc := crc16(payload); tail[0] != byte(crc) || tail[1] != byte(crc>>8) {
		return nil, errFrame
	}
	return payload, nil
}

// appendCOBS appends the consistent overhead byte stuffing of data (Cheshire and Baker 1999): each code byte counts
// itself and the bytes up to the next zero, 0xFF stands for 254 bytes without a zero after them.
func appendCOBS(out, data []byte) []byte {
	code := len(out)
	out = append(out, 1)
	for i, b := range data {
		if b != 0 {
			out = append(out, b)
			out[code]++
		}
		// A block that is full at the end of the data needs no successor.
		if b == 0 || out[code] == cobsBlock+1 && i < len(data)-1 {
			code = len(out)
			out = append(out, 1)
		}
	}
	return out
}

// decodeCOBS reverses appendCOBS and takes no other encoding: no zero byte, no block past the end, no empty block
// after a full last one.
func decodeCOBS(encoded []byte) ([]byte, error) {
	data := make([]byte, 0, len(encoded))
	for rest := encoded; ; {
		if len(rest) == 0 || rest[0] == 0 || int(rest[0]) > len(rest) {
			return nil, errFrame
		}
		code := int(rest[0])
		for _, b := range rest[1:code] {
			if b == 0 {
				return nil, errFrame
			}
		}
		data = append(data, rest[1:code]...)
		rest = rest[code:]
		full := code == cobsBlock+1
		switch {
		case len(rest) == 0:
			return data, nil
		case full && len(rest) == 1 && rest[0] == 1:
			return nil, errFrame
		case !full:
			data = append(data, 0)
		}
	}
}

// crc16 is the ATECC608's checksum: polynomial 0x8005, register 0 at the start, bits of each byte least significant
// first into a register that shifts left, no final xor.
func crc16(data []byte) uint16 {
	var crc uint16
	for _, b := range data {
		for bit := range 8 {
			carry := crc>>15 != uint16(b>>bit)&1
			crc <<= 1
			if carry {
				crc ^= 0x8005
			}
		}
	}
	return crc
}

// frameReader cuts a stream of bytes into frames. It holds one frame at most, drops what is not a frame of a reply and
// starts afresh after each zero byte.
type frameReader struct {
	partial []byte // bytes since the last zero, never more than maxEncoded + 1
	dropped bool   // something that was not a frame has been thrown away
}

// push takes the next bytes from the line and yields the payload of each good frame that they complete. A payload
// belongs to the caller.
func (r *frameReader) push(chunk []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, b := range chunk {
			if b != 0 {
				if len(r.partial) <= maxEncoded {
					r.partial = append(r.partial, b)
				}
				continue
			}
			encoded := r.partial
			r.partial = r.partial[:0]
			if len(encoded) == 0 {
				continue // a zero between frames
			}
			payload, err := DecodeFrame(encoded)
			if err != nil || len(payload) > maxReply {
				r.dropped = true
			} else if !yield(payload) {
				return
			}
		}
	}
}

// reset forgets what came so far.
func (r *frameReader) reset() { *r = frameReader{partial: r.partial[:0]} }

// noise says whether anything came since the last reset that was not part of a good frame.
func (r *frameReader) noise() bool { return r.dropped || len(r.partial) > 0 }
