//go:build cgo

package hsm

import (
	"fmt"

	"github.com/miekg/pkcs11"
)

// attack is a way in which a private key could leave its token, or do what it is not for. try returns
// nil if it got anywhere, and leaves at most session objects behind, which end with the session.
type attack struct {
	name string
	try  func(session, pkcs11.ObjectHandle) error
}

// changes are made before the attacks. A token may take one, since a flag is only what the module says: tpm2-pkcs11
// does, and the TPM keeps the key all the same. Whether anything comes of it, the attacks show.
var changes = []attack{
	{"CKA_DERIVE", set(pkcs11.CKA_DERIVE, true)},
	{"CKA_EXTRACTABLE", set(pkcs11.CKA_EXTRACTABLE, true)},
	{"CKA_SENSITIVE", set(pkcs11.CKA_SENSITIVE, false)},
}

// attacks end with reading the key, after everything that could have made it readable.
var attacks = []attack{
	{"copy with CKA_EXTRACTABLE", copyWith(pkcs11.CKA_EXTRACTABLE, true)},
	{"copy without CKA_SENSITIVE", copyWith(pkcs11.CKA_SENSITIVE, false)},
	{"wrap with CKM_AES_KEY_WRAP", wrapWith(pkcs11.CKM_AES_KEY_WRAP, nil)},
	{"wrap with CKM_AES_KEY_WRAP_PAD", wrapWith(pkcs11.CKM_AES_KEY_WRAP_PAD, nil)},
	{"wrap with CKM_AES_CBC_PAD", wrapWith(pkcs11.CKM_AES_CBC_PAD, make([]byte, 16))},
	{"derive with CKM_ECDH1_DERIVE", derive},
	{"read CKA_VALUE", readValue},
}

func readValue(s session, private pkcs11.ObjectHandle) error {
	value, err := s.attribute(private, pkcs11.CKA_VALUE)
	clear(value)
	if err == nil && len(value) == 0 {
		return fmt.Errorf("C_GetAttributeValue: the value is empty")
	}
	return err
}

func set(kind uint, value bool) func(session, pkcs11.ObjectHandle) error {
	return func(s session, private pkcs11.ObjectHandle) error {
		if err := s.SetAttributeValue(s.handle, private, []*pkcs11.Attribute{attr(kind, value)}); err != nil {
			return fmt.Errorf("C_SetAttributeValue: %w", err)
		}
		return nil
	}
}

func copyWith(kind uint, value bool) func(session, pkcs11.ObjectHandle) error {
	return func(s session, private pkcs11.ObjectHandle) error {
		template := []*pkcs11.Attribute{attr(pkcs11.CKA_TOKEN, false), attr(kind, value)}
		if _, err := s.CopyObject(s.handle, private, template); err != nil {
			return fmt.Errorf("C_CopyObject: %w", err)
		}
		return nil
	}
}

func wrapWith(mechanism uint, iv []byte) func(session, pkcs11.ObjectHandle) error {
	return func(s session, private pkcs11.ObjectHandle) error {
		wrapping, err := s.GenerateKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)},
			[]*pkcs11.Attribute{attr(pkcs11.CKA_TOKEN, false), attr(pkcs11.CKA_VALUE_LEN, 32), attr(pkcs11.CKA_WRAP, true)})
		if err != nil {
			return fmt.Errorf("no key to wrap with: C_GenerateKey: %w", err)
		}
		wrapped, err := s.WrapKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, iv)}, wrapping, private)
		clear(wrapped)
		if err != nil {
			return fmt.Errorf("C_WrapKey: %w", err)
		}
		return nil
	}
}

// derive agrees with the token's own public point, the one that is surely good.
func derive(s session, private pkcs11.ObjectHandle) error {
	pair, err := s.describe(private)
	if err != nil {
		return err
	}
	if pair.public, err = s.publicKey(pair); err != nil {
		return err
	}
	point, err := pair.public.Bytes()
	if err != nil {
		return err
	}
	parameter := pkcs11.NewECDH1DeriveParams(pkcs11.CKD_NULL, nil, point)
	_, err = s.DeriveKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_ECDH1_DERIVE, parameter)}, private,
		[]*pkcs11.Attribute{
			attr(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
			attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET),
			attr(pkcs11.CKA_VALUE_LEN, 32),
			attr(pkcs11.CKA_TOKEN, false),
		})
	if err != nil {
		return fmt.Errorf("C_DeriveKey: %w", err)
	}
	return nil
}
