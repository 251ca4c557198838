package device

/*
#include <stdlib.h>
#include "birthmark.h"

typedef const uint8_t const_byte; // lets the exported function have bm_port's very prototype

int bm_judge_verify(void *user, const_byte *key, const_byte *digest, const_byte *signature);
*/
import "C"

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"fmt"
	"slices"
	"unsafe"
)

// Judge gives the opinion of a unit, by its own code, on what it is given at its birth: nil, or the first Check that
// does not hold. Its image has this anchor hash and product. The checks are those of docs/wire.md, status 6; signatures are
// verified by crypto/ecdsa in place of the chip. A key or anchor of the wrong size is an error that is no Check, as is a link or a
// list that the unit does not take, a Status.
func Judge(anchorHash [32]byte, product uint32, b Birth) error {
	if len(b.Anchor) != C.BM_ANCHOR_SIZE || len(b.Key) != C.BM_KEY_SIZE {
		return fmt.Errorf("judge a birth: anchor of %d bytes and key of %d, not %d and %d",
			len(b.Anchor), len(b.Key), C.BM_ANCHOR_SIZE, C.BM_KEY_SIZE)
	}
	if len(b.Links) > 0 || b.List != nil {
		return judgeLater(Image{AnchorHash: anchorHash, Product: product}, b)
	}
	port := C.struct_bm_port{verify: (*[0]byte)(C.bm_judge_verify)}
	if status := trust(&port, anchorHash, product, b); status != C.BM_OK {
		return Check(status) // positive: bm_judge_verify has no chip that could fail
	}
	return nil
}

// judgeLater is Judge of a unit that is told more than its anchor, which it keeps.
func judgeLater(image Image, b Birth) error {
	t, err := believer(image, b)
	if err != nil {
		return err
	}
	defer t.Close()
	return t.Birth(b)
}

// believer is a unit that has the anchor, the links and the list of a birth, to be closed. An error is what it does not take of them.
func believer(image Image, b Birth) (*Trust, error) {
	t, err := NewTrust(image, NewFlash())
	if err != nil {
		return nil, err
	}
	if err := t.Learn(b.Anchor, b.Links, b.List); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// asked gives the opinion of a unit with this image, whose anchor is the birth's, that has the birth's anchor, links and list: a Check
// or a Status.
func asked(image Image, b Birth, ask func(*Trust) error) error {
	if len(b.Anchor) != C.BM_ANCHOR_SIZE {
		return fmt.Errorf("ask a unit: anchor of %d bytes, not %d", len(b.Anchor), C.BM_ANCHOR_SIZE)
	}
	image.AnchorHash = sha256.Sum256(b.Anchor)
	t, err := believer(image, b)
	if err != nil {
		return err
	}
	defer t.Close()
	return ask(t)
}

// JudgePeer gives the opinion of a unit that talks to these products, by its own code, on a peer that shows id = {25: [unit, order]}: nil,
// or the first Check that does not hold. It has the anchor, the links and the list of the birth, the anchor in its image.
func JudgePeer(b Birth, peers []uint32, id []byte) error {
	return asked(Image{Peers: peers}, b, func(t *Trust) error {
		_, err := t.Peer(id, false)
		return err
	})
}

// JudgeLink gives the opinion of such a unit on a link: nil, if it has it or takes it, or a Status.
func JudgeLink(b Birth, link []byte) error {
	return asked(Image{}, b, func(t *Trust) error { return t.Link(link) })
}

// JudgeList gives its opinion on a status list.
func JudgeList(b Birth, list []byte) error {
	return asked(Image{}, b, func(t *Trust) error {
		if bytes.Equal(t.Stored(0), list) {
			return nil // which ErrState would say
		}
		return t.List(list)
	})
}

// JudgeRelease gives the opinion of the unit of this serial number, whose pairing has this generation, on a release.
func JudgeRelease(b Birth, serial [8]byte, generation uint32, release []byte) error {
	return asked(Image{}, b, func(t *Trust) error { return t.Release(serial, generation, release) })
}

// trust calls bm_trust for an image of this anchor hash and product.
func trust(port *C.struct_bm_port, anchorHash [32]byte, product uint32, b Birth) C.int {
	image := C.struct_bm_image{product: C.uint32_t(product)}
	for i, v := range anchorHash {
		image.anchor_hash[i] = C.uint8_t(v)
	}
	return birth(port, &image, b)
}

// birth calls bm_trust on copies in C memory, each of exactly its size.
func birth(port *C.struct_bm_port, image *C.struct_bm_image, b Birth) C.int {
	anchor, order, unit, key := C.CBytes(b.Anchor), C.CBytes(b.Order), C.CBytes(b.Unit), C.CBytes(b.Key)
	defer C.free(anchor)
	defer C.free(order)
	defer C.free(unit)
	defer C.free(key)
	c := C.struct_bm_birth{
		anchor:     (*C.uint8_t)(anchor),
		order:      (*C.uint8_t)(order),
		order_size: C.size_t(len(b.Order)),
		unit:       (*C.uint8_t)(unit),
		unit_size:  C.size_t(len(b.Unit)),
		key:        (*C.uint8_t)(key),
	}
	return C.bm_trust(port, image, &c)
}

//export bm_judge_verify
func bm_judge_verify(_ unsafe.Pointer, key, digest, signature *C.const_byte) C.int {
	if verify(unsafe.Slice((*byte)(key), C.BM_KEY_SIZE), unsafe.Slice((*byte)(digest), C.BM_HASH_SIZE),
		unsafe.Slice((*byte)(signature), C.BM_SIGNATURE_SIZE)) != nil {
		return C.BM_ERR_AUTH
	}
	return C.BM_OK
}

// verify verifies a signature, r then s, of a digest by a key, X then Y: nil or ErrAuth.
func verify(key, digest, signature []byte) error {
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{4}, key...))
	if err != nil || !ecdsa.VerifyASN1(public, digest, signatureDER(signature)) {
		return ErrAuth
	}
	return nil
}

// signatureDER is a signature as ASN.1 has it (RFC 3279, 2.2.3).
func signatureDER(signature []byte) []byte {
	r, s := integerDER(signature[:32]), integerDER(signature[32:])
	return slices.Concat([]byte{0x30, byte(len(r) + len(s))}, r, s)
}

func integerDER(number []byte) []byte {
	number = bytes.TrimLeft(number, "\x00")
	if len(number) == 0 || number[0] >= 0x80 {
		number = append([]byte{0}, number...) // it is not negative
	}
	return append([]byte{2, byte(len(number))}, number...)
}
