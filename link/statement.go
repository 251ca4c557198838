package link

import "crypto/sha256"

// PossessionStatement gives the bytes that a unit signs, ECDSA with SHA-256, to prove that it has its key: the order's
// name (4 bytes), its chip's serial number, its firmware's hash and its key, X then Y, bound to the station's
// challenge (docs/formats.md, "Statements that a unit signs").
func PossessionStatement(challenge [32]byte, order []byte, chip [9]byte, firmware [32]byte, key [64]byte) []byte {
	b := []byte{cborArray | 7}
	b = appendString(b, cborText, []byte("birthmark possession 1"))
	b = appendString(b, cborBytes, challenge[:])
	b = appendString(b, cborBytes, order)
	b = appendString(b, cborBytes, chip[:])
	b = appendString(b, cborBytes, firmware[:])
	b = append(b, keyUsage)
	return appendString(b, cborBytes, key[:])
}

// InstalledStatement gives the bytes that a unit signs, ECDSA with SHA-256, over the anchor and the certificates that
// it has read back, bound to the station's challenge (docs/formats.md, "Statements that a unit signs").
func InstalledStatement(challenge [32]byte, chip [9]byte, anchor, order, unit []byte) []byte {
	b := []byte{cborArray | 6}
	b = appendString(b, cborText, []byte("birthmark installed 1"))
	b = appendString(b, cborBytes, challenge[:])
	b = appendString(b, cborBytes, chip[:])
	for _, stored := range [][]byte{anchor, order, unit} {
		hash := sha256.Sum256(stored)
		b = appendString(b, cborBytes, hash[:])
	}
	return b
}

// First bytes of CBOR items, RFC 8949, section 3.1.
const (
	cborBytes = 0x40
	cborText  = 0x60
	cborArray = 0x80
)

// appendString appends a string of less than 256 bytes with the shortest head (RFC 8949, section 4.2.1).
func appendString(b []byte, kind byte, s []byte) []byte {
	if len(s) < 24 {
		b = append(b, kind|byte(len(s)))
	} else {
		b = append(b, kind|24, byte(len(s)))
	}
	return append(b, s...)
}
