package c509

import (
	"encoding/hex"
	"fmt"
	"slices"
)

// SignatureAlgorithm is a value of the C509 Signature Algorithms registry, section 8.14. Algorithms that have
// none, which a certificate names by OID, are not supported: nothing here could verify them.
type SignatureAlgorithm int

// The signature algorithms that VerifySignature knows. More can be read and written.
const (
	ECDSAWithSHA256 SignatureAlgorithm = 0
	ECDSAWithSHA384 SignatureAlgorithm = 1
	ECDSAWithSHA512 SignatureAlgorithm = 2
	Ed25519         SignatureAlgorithm = 12
	SHA256WithRSA   SignatureAlgorithm = 23
	SHA384WithRSA   SignatureAlgorithm = 24
	SHA512WithRSA   SignatureAlgorithm = 25
	SHA256WithPSS   SignatureAlgorithm = 26
	SHA384WithPSS   SignatureAlgorithm = 27
	SHA512WithPSS   SignatureAlgorithm = 28
)

// PublicKeyAlgorithm is a value of the C509 Public Key Algorithms registry, section 8.15.
type PublicKeyAlgorithm int

// The public key algorithms that Certificate.Key knows. More can be read and written.
const (
	RSAKey     PublicKeyAlgorithm = 0
	P256Key    PublicKeyAlgorithm = 1
	P384Key    PublicKeyAlgorithm = 2
	P521Key    PublicKeyAlgorithm = 3
	X25519Key  PublicKeyAlgorithm = 8
	Ed25519Key PublicKeyAlgorithm = 12
)

// algorithmEntry is a row of either registry. Sizes are in bytes.
type algorithmEntry struct {
	id   int
	name string
	der  string // content of the AlgorithmIdentifier SEQUENCE, hexadecimal
	form form
	size int // of a coordinate, or of the only length that a key or signature of form opaque may have
}

// form says how a key or a signature is encoded, section 3.2.
type form byte

const (
	formOpaque form = iota // the content of the X.509 BIT STRING
	formRSA                // key: modulus and exponent; signature: as opaque
	formEC                 // key: point; signature: r and s
)

const ecPublicKey = "06072a8648ce3d0201" // id-ecPublicKey, RFC 5480, section 2.1.1

// The DER column of the draft gives the RSASSA-PKCS1-v1_5 rows a SEQUENCE length of 11 where 13 bytes follow;
// lengths are computed here.
var signatureAlgorithms = []algorithmEntry{
	{-256, "sha1WithRSAEncryption", "06092a864886f70d0101050500", formRSA, 0},
	{-255, "ecdsa-with-SHA1", "06072a8648ce3d0401", formEC, 0},
	{0, "ecdsa-with-SHA256", "06082a8648ce3d040302", formEC, 0},
	{1, "ecdsa-with-SHA384", "06082a8648ce3d040303", formEC, 0},
	{2, "ecdsa-with-SHA512", "06082a8648ce3d040304", formEC, 0},
	{3, "id-ecdsa-with-shake128", "06082b06010505070620", formEC, 0},
	{4, "id-ecdsa-with-shake256", "06082b06010505070621", formEC, 0},
	{5, "id-alg-unsigned", "06082b06010505070624", formOpaque, 0},
	{8, "sm2-with-sm3", "06082a811ccf55018375", formEC, 0},
	{12, "Ed25519", "06032b6570", formOpaque, 64},
	{13, "Ed448", "06032b6571", formOpaque, 114},
	{23, "sha256WithRSAEncryption", "06092a864886f70d01010b0500", formRSA, 0},
	{24, "sha384WithRSAEncryption", "06092a864886f70d01010c0500", formRSA, 0},
	{25, "sha512WithRSAEncryption", "06092a864886f70d01010d0500", formRSA, 0},
	{26, "rsassa-pss-sha256", pss("0609608648016503040201", "20"), formRSA, 0},
	{27, "rsassa-pss-sha384", pss("0609608648016503040202", "30"), formRSA, 0},
	{28, "rsassa-pss-sha512", pss("0609608648016503040203", "40"), formRSA, 0},
	{29, "id-RSASSA-PSS-SHAKE128", "06082b0601050507061e", formRSA, 0},
	{30, "id-RSASSA-PSS-SHAKE256", "06082b0601050507061f", formRSA, 0},
}

// pss returns id-RSASSA-PSS with the parameters hash, MGF-1 with the same hash, and salt length (RFC 4055,
// section 3.1).
func pss(hash, salt string) string {
	hash = "300d" + hash + "0500"
	return "06092a864886f70d01010a3034a00f" + hash + "a11c301a06092a864886f70d010108" + hash + "a2030201" + salt
}

var publicKeyAlgorithms = []algorithmEntry{
	{0, "rsaEncryption", "06092a864886f70d0101010500", formRSA, 0},
	{1, "secp256r1", ecPublicKey + "06082a8648ce3d030107", formEC, 32},
	{2, "secp384r1", ecPublicKey + "06052b81040022", formEC, 48},
	{3, "secp521r1", ecPublicKey + "06052b81040023", formEC, 66},
	{6, "sm2p256v1", ecPublicKey + "06082a811ccf5501822d", formEC, 32},
	{8, "X25519", "06032b656e", formOpaque, 32},
	{9, "X448", "06032b656f", formOpaque, 56},
	{12, "Ed25519", "06032b6570", formOpaque, 32},
	{13, "Ed448", "06032b6571", formOpaque, 57},
	{24, "brainpoolP256r1", ecPublicKey + "06092b2403030208010107", formEC, 32},
	{25, "brainpoolP384r1", ecPublicKey + "06092b240303020801010b", formEC, 48},
	{26, "brainpoolP512r1", ecPublicKey + "06092b240303020801010d", formEC, 64},
	{27, "FRP256v1", ecPublicKey + "060a2a817a01815f65820001", formEC, 32},
}

// algorithm reads an AlgorithmIdentifier of which only the int form is supported.
func (r *reader) algorithm() int {
	if t := r.peek(); t == majorBytes || t == majorArray {
		r.unsupported("algorithm by OID")
		return 0
	}
	return r.code()
}

func algorithmByID(table []algorithmEntry, id int) (algorithmEntry, error) {
	i := slices.IndexFunc(table, func(e algorithmEntry) bool { return e.id == id })
	if i < 0 {
		return algorithmEntry{}, fmt.Errorf("%w: algorithm %d", ErrUnsupported, id)
	}
	return table[i], nil
}

// algorithmByDER finds the entry for the content of an AlgorithmIdentifier SEQUENCE.
func algorithmByDER(table []algorithmEntry, content []byte) (algorithmEntry, error) {
	der := hex.EncodeToString(content)
	i := slices.IndexFunc(table, func(e algorithmEntry) bool { return e.der == der })
	if i < 0 {
		return algorithmEntry{}, fmt.Errorf("%w: algorithm identifier %s", ErrUnsupported, der)
	}
	return table[i], nil
}

func algorithmByName(table []algorithmEntry, name string) (algorithmEntry, error) {
	i := slices.IndexFunc(table, func(e algorithmEntry) bool { return e.name == name })
	if i < 0 {
		return algorithmEntry{}, fmt.Errorf("%w: algorithm %q", ErrUnsupported, name)
	}
	return table[i], nil
}

func (a SignatureAlgorithm) entry() (algorithmEntry, error) {
	return algorithmByID(signatureAlgorithms, int(a))
}

func (a PublicKeyAlgorithm) entry() (algorithmEntry, error) {
	return algorithmByID(publicKeyAlgorithms, int(a))
}

// String returns the algorithm's registered identifier.
func (a SignatureAlgorithm) String() string {
	e, err := a.entry()
	if err != nil {
		return fmt.Sprintf("signature algorithm %d", int(a))
	}
	return e.name
}

// String returns the name of the key type, for an elliptic curve that of the curve.
func (a PublicKeyAlgorithm) String() string {
	e, err := a.entry()
	if err != nil {
		return fmt.Sprintf("public key algorithm %d", int(a))
	}
	return e.name
}

// checkSignature checks the length of a signature. The curve of an ECDSA key is the issuer's, which the
// certificate does not name, so any registered curve's length will do (section 3.2.2).
func (a SignatureAlgorithm) checkSignature(sig []byte) error {
	e, err := a.entry()
	if err != nil {
		return err
	}
	var ok bool
	switch e.form {
	case formEC:
		ok = slices.Contains(fieldSizes, len(sig)/2) && len(sig)%2 == 0
	case formRSA:
		ok = len(sig) > 0
	default:
		ok = len(sig) == e.size
	}
	if !ok {
		return fmt.Errorf("%w: %s signature of %d bytes", ErrMalformed, e.name, len(sig))
	}
	return nil
}

// fieldSizes are the sizes of r and s on the registered curves, in bytes, rising.
var fieldSizes = []int{32, 48, 64, 66}
