package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"math/big"
	"slices"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// The encoded headers of every root-signed object: {1: -7}, and nothing unprotected.
var (
	protectedHeader = []byte{0xA1, 0x01, 0x26}
	noHeader        = cbor.RawMessage{0xA0}
)

// signature1 is RFC 9052's Sig_structure for COSE_Sign1 (section 4.4), put together by hand.
func signature1(t testing.TB, protected []byte, title string, payload []byte) []byte {
	return items{[]any{"Signature1", protected, []byte(title), payload}}.encode(t)
}

// handMade is a COSE_Sign1 that no library of COSE has touched, with whatever headers.
func handMade(t testing.TB, root *ecdsa.PrivateKey, title string, protected []byte, unprotected cbor.RawMessage, payload []byte) []byte {
	signature := rawSign(t, root, signature1(t, protected, title, payload))
	return items{cbor.Tag{Number: 18, Content: []any{protected, unprotected, payload, signature}}}.encode(t)
}

func open(root *ecdsa.PublicKey, title string, object []byte) ([]byte, error) {
	m, err := parseObject(title, object)
	if err != nil {
		return nil, err
	}
	return m.Payload, verifyObject(m, title, root)
}

// Objects agree with RFC 9052 as these tests read it, in both directions.
func TestObjectsByHand(t *testing.T) {
	root := newKey(t)
	payload := []byte{0x82, 1, 2}
	object, err := signObject(rand.Reader, root, "birthmark test 1", payload)
	if err != nil {
		t.Fatal(err)
	}
	var sign1 struct {
		_           struct{} `cbor:",toarray"`
		Protected   []byte
		Unprotected map[int]any
		Payload     []byte
		Signature   []byte
	}
	if object[0] != 0xD2 {
		t.Fatalf("object begins with %02x, not with tag 18", object[0])
	}
	if err := cbor.Unmarshal(object[1:], &sign1); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sign1.Protected, protectedHeader) || len(sign1.Unprotected) != 0 || !bytes.Equal(sign1.Payload, payload) || len(sign1.Signature) != 64 {
		t.Errorf("%+v", sign1)
	}
	digest := sha256.Sum256(signature1(t, sign1.Protected, "birthmark test 1", sign1.Payload))
	r, s := new(big.Int).SetBytes(sign1.Signature[:32]), new(big.Int).SetBytes(sign1.Signature[32:])
	if !ecdsa.Verify(&root.PublicKey, digest[:], r, s) {
		t.Error("the signature does not hold over the Sig_structure")
	}
	got, err := open(&root.PublicKey, "birthmark test 1", handMade(t, root, "birthmark test 1", protectedHeader, noHeader, payload))
	if err != nil || !bytes.Equal(got, payload) {
		t.Errorf("made by hand: %x, %v", got, err)
	}
}

func TestObjectsRefused(t *testing.T) {
	root, other := newKey(t), newKey(t)
	const title = "birthmark test 1"
	payload := []byte{0x82, 1, 2}
	object := handMade(t, root, title, protectedHeader, noHeader, payload)
	untagged := items{[]any{protectedHeader, noHeader, payload, object[len(object)-64:]}}.encode(t)
	for name, test := range map[string]struct {
		object []byte
		want   error
	}{
		"another title":                    {handMade(t, root, "birthmark link 1", protectedHeader, noHeader, payload), ErrVerify},
		"another root":                     {handMade(t, other, title, protectedHeader, noHeader, payload), ErrVerify},
		"high s":                           {negated(object), ErrMalformed},
		"r of zeros":                       {slices.Concat(object[:len(object)-64], make([]byte, 32), object[len(object)-32:]), ErrMalformed},
		"ES384":                            {handMade(t, root, title, []byte{0xA1, 0x01, 0x38, 0x22}, noHeader, payload), ErrMalformed},
		"no algorithm":                     {handMade(t, root, title, []byte{0xA0}, noHeader, payload), ErrMalformed},
		"an empty protected header":        {handMade(t, root, title, []byte{}, noHeader, payload), ErrMalformed},
		"a key identifier":                 {handMade(t, root, title, []byte{0xA2, 0x01, 0x26, 0x04, 0x41, 0x01}, noHeader, payload), ErrMalformed},
		"a longer protected header":        {handMade(t, root, title, []byte{0xA1, 0x18, 0x01, 0x26}, noHeader, payload), ErrMalformed},
		"an unprotected key identifier":    {handMade(t, root, title, protectedHeader, cbor.RawMessage{0xA1, 0x04, 0x41, 0x01}, payload), ErrMalformed},
		"a longer empty header":            {slices.Concat(object[:6], []byte{0xB8, 0x00}, object[7:]), ErrMalformed}, // the header is not signed
		"an empty header without a length": {slices.Concat(object[:6], []byte{0xBF, 0xFF}, object[7:]), ErrMalformed},
		"a longer length of the payload":   {slices.Concat(object[:7], []byte{0x58, 3}, object[8:]), ErrMalformed},
		"a longer length of the signature": {slices.Concat(object[:len(object)-66], []byte{0x59, 0, 64}, object[len(object)-64:]), ErrMalformed},
		"no tag":                           {untagged, ErrMalformed},
		"another tag":                      {slices.Concat([]byte{0xD1}, object[1:]), ErrMalformed},
		"no payload":                       {items{cbor.Tag{Number: 18, Content: []any{protectedHeader, noHeader, nil, object[len(object)-64:]}}}.encode(t), ErrVerify},
		"a byte more":                      {append(bytes.Clone(object), 0), ErrMalformed},
		"a tag in a longer form":           {slices.Concat([]byte{0xD8, 0x12}, object[1:]), ErrMalformed},
		"more than the bound":              {handMade(t, root, title, protectedHeader, noHeader, make([]byte, maxObject)), ErrMalformed},
		"nothing":                          {nil, ErrMalformed},
	} {
		_, err := open(&root.PublicKey, title, test.object)
		wantError(t, name, err, test.want)
	}
}

// A token may answer with any bytes: what it signs is read back before anybody sees it, and here it must not stop the program.
func TestObjectsFromABrokenToken(t *testing.T) {
	root := newKey(t)
	n := root.Params().N
	for name, answer := range map[string][]byte{
		"nothing":         nil,
		"no DER":          {1, 2, 3},
		"zeros":           encodeDER(t, big.NewInt(0), big.NewInt(0)),
		"negative":        encodeDER(t, big.NewInt(-1), big.NewInt(-5)),
		"the group":       encodeDER(t, n, n),
		"beyond 256 bits": encodeDER(t, new(big.Int).Lsh(n, 8), n),
		"s above n":       encodeDER(t, big.NewInt(1), new(big.Int).Add(n, big.NewInt(9))),
	} {
		object, err := signObject(rand.Reader, answeringSigner{root, answer}, "birthmark test 1", []byte{1})
		if err == nil {
			_, err = open(&root.PublicKey, "birthmark test 1", object)
		}
		if err == nil {
			t.Errorf("%s: taken for a signature", name)
		}
	}
}

// The token is told which hash it signs, which go-cose leaves out.
func TestSignerIsToldTheHash(t *testing.T) {
	root := newKey(t)
	var told crypto.SignerOpts
	_, err := signObject(rand.Reader, watchingSigner{root, func(opts crypto.SignerOpts) { told = opts }}, "birthmark test 1", []byte{1})
	if err != nil || told != crypto.SHA256 {
		t.Errorf("%v, %v", told, err)
	}
}

func TestDecodeStrict(t *testing.T) {
	type pair struct {
		_     struct{} `cbor:",toarray"`
		Bytes [2]byte
		Text  string
		Count uint64
	}
	good := []byte{0x83, 0x42, 1, 2, 0x61, 'a', 5}
	var v pair
	if err := decodeStrict(good, &v); err != nil || v.Bytes != [2]byte{1, 2} || v.Text != "a" || v.Count != 5 {
		t.Fatalf("%+v, %v", v, err)
	}
	for name, b := range map[string][]byte{
		"a byte more":          append(bytes.Clone(good), 0),
		"a byte less":          good[:len(good)-1],
		"an item more":         {0x84, 0x42, 1, 2, 0x61, 'a', 5, 0},
		"an item less":         {0x82, 0x42, 1, 2, 0x61, 'a'},
		"a short string":       {0x83, 0x41, 1, 0x61, 'a', 5},
		"a long string":        {0x83, 0x43, 1, 2, 3, 0x61, 'a', 5},
		"numbers for bytes":    {0x83, 0x82, 1, 2, 0x61, 'a', 5},
		"null for bytes":       {0x83, 0xF6, 0x61, 'a', 5},
		"null for text":        {0x83, 0x42, 1, 2, 0xF6, 5},
		"text for bytes":       {0x83, 0x62, 1, 2, 0x61, 'a', 5},
		"a long head":          {0x83, 0x42, 1, 2, 0x61, 'a', 0x18, 5},
		"no length":            {0x9F, 0x42, 1, 2, 0x61, 'a', 5, 0xFF},
		"a tag":                {0x83, 0x42, 1, 2, 0x61, 'a', 0xC1, 5},
		"a float":              {0x83, 0x42, 1, 2, 0x61, 'a', 0xF9, 0x45, 0x00},
		"a negative count":     {0x83, 0x42, 1, 2, 0x61, 'a', 0x24},
		"text that is no text": {0x83, 0x42, 1, 2, 0x61, 0xFF, 5},
		"a map":                {0xA0},
		"nothing":              {},
		"too much":             make([]byte, maxObject+1),
	} {
		wantError(t, name, decodeStrict(b, new(pair)), ErrMalformed)
	}
}
