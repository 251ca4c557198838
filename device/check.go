package device

import "fmt"

// Check is the first thing that does not hold in what a unit is given at its birth or in what a peer shows: enum bm_check of
// birthmark.h, the detail of status 6 in docs/wire.md, and enum bm_peer_check of trust.h.
type Check int

// The checks, by their numbers in both.
const (
	CheckAnchor Check = 1 + iota
	CheckOrder
	CheckOrderIssuer
	CheckOrderSignature
	CheckProduct
	CheckUnit
	CheckUnitIssuer
	CheckSerial
	CheckKey
	CheckUnitSignature
	CheckRoot
	CheckClosed
	CheckRevoked
	CheckHeld
	CheckSelf
	CheckID
)

// Error says in words what does not hold.
func (c Check) Error() string {
	switch c {
	case CheckAnchor:
		return "the anchor is not the one in the unit's image"
	case CheckOrder:
		return "the order's certificate is malformed or not of the profile"
	case CheckOrderIssuer:
		return "the order's issuer is not the anchor's root"
	case CheckOrderSignature:
		return "the order's signature does not hold"
	case CheckProduct:
		return "the order is for another product"
	case CheckUnit:
		return "the unit's certificate is malformed or not of the profile"
	case CheckUnitIssuer:
		return "the unit's issuer is not the order"
	case CheckSerial:
		return "the unit's serial is outside the order's range"
	case CheckKey:
		return "the certificate's key is not the chip's"
	case CheckUnitSignature:
		return "the unit's signature does not hold"
	case CheckRoot:
		return "no root of the order's epoch is known"
	case CheckClosed:
		return "the order is not among those that its closed root signed"
	case CheckRevoked:
		return "the unit is revoked"
	case CheckHeld:
		return "the unit's order or range is held: no new pairings"
	case CheckSelf:
		return "the certificate is the unit's own"
	case CheckID:
		return "what names the credential is not {25: [unit, order]}"
	}
	return fmt.Sprintf("check %d, which this version does not know", int(c))
}

// Birth is what a unit is given, and the key that its chip made.
type Birth struct {
	Anchor []byte   // 98 bytes (docs/formats.md)
	Links  [][]byte // to the newest root, lowest first; nil under the first one
	List   []byte   // the status list; nil: none
	Order  []byte   // the order's C509 certificate
	Unit   []byte   // the unit's C509 certificate
	Key    []byte   // 64 bytes, X then Y
}
