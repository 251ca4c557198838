//go:build cgo

package hsm

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// List returns the tokens of the PKCS#11 module at an absolute path, initialised or not, with what each
// shows without a login. The module must not be in use in this process.
func List(path string) ([]TokenInfo, error) {
	var modules Modules
	mod, err := modules.use(path)
	if err != nil {
		return nil, err
	}
	tokens, err := mod.list()
	if err != nil {
		err = fmt.Errorf("list tokens of %q: %w", path, err)
	}
	return tokens, errors.Join(err, modules.release(mod))
}

func (mod *module) list() ([]TokenInfo, error) {
	slots, err := mod.slots()
	if err != nil {
		return nil, err
	}
	tokens := make([]TokenInfo, 0, len(slots))
	for _, s := range slots {
		info := TokenInfo{URI: identify(s.info).String(), Label: s.info.Label, Manufacturer: s.info.ManufacturerID,
			Model: s.info.Model, Serial: s.info.SerialNumber, Flags: flagNames(s.info.Flags)}
		if info.Mechanisms, err = mod.mechanisms(s.id); err != nil {
			return nil, err
		}
		if s.info.Flags&pkcs11.CKF_TOKEN_INITIALIZED != 0 {
			if info.Keys, err = mod.publicKeys(s.id); err != nil {
				return nil, err
			}
		}
		tokens = append(tokens, info)
	}
	return tokens, nil
}

func flagNames(flags uint) []string {
	names := []string{}
	for _, f := range []struct {
		bit  uint
		name string
	}{
		{pkcs11.CKF_TOKEN_INITIALIZED, "initialized"},
		{pkcs11.CKF_WRITE_PROTECTED, "write protected"},
		{pkcs11.CKF_LOGIN_REQUIRED, "login required"},
		{pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH, "own pad"},
		{pkcs11.CKF_USER_PIN_INITIALIZED, "user PIN set"},
		{pkcs11.CKF_USER_PIN_COUNT_LOW, "user PIN count low"},
		{pkcs11.CKF_USER_PIN_FINAL_TRY, "user PIN final try"},
		{pkcs11.CKF_USER_PIN_LOCKED, "user PIN locked"},
		{pkcs11.CKF_USER_PIN_TO_BE_CHANGED, "user PIN to be changed"},
	} {
		if flags&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	return names
}

// mechanisms names those that a slot offers of the ones that matter here.
func (mod *module) mechanisms(slot uint) ([]string, error) {
	have, err := mod.ctx.GetMechanismList(slot)
	if err != nil {
		return nil, fmt.Errorf("C_GetMechanismList: %w", err)
	}
	offered := make(map[uint]bool)
	for _, m := range have {
		offered[m.Mechanism] = true
	}
	names := []string{}
	for _, m := range []struct {
		kind uint
		name string
	}{
		{pkcs11.CKM_EC_KEY_PAIR_GEN, "CKM_EC_KEY_PAIR_GEN"},
		{pkcs11.CKM_ECDSA, "CKM_ECDSA"},
		{pkcs11.CKM_ECDSA_SHA256, "CKM_ECDSA_SHA256"},
		{pkcs11.CKM_ECDH1_DERIVE, "CKM_ECDH1_DERIVE"},
		{pkcs11.CKM_AES_KEY_GEN, "CKM_AES_KEY_GEN"},
		{pkcs11.CKM_AES_KEY_WRAP, "CKM_AES_KEY_WRAP"},
		{pkcs11.CKM_AES_KEY_WRAP_PAD, "CKM_AES_KEY_WRAP_PAD"},
	} {
		if offered[m.kind] {
			names = append(names, m.name)
		}
	}
	return names, nil
}

func (mod *module) publicKeys(slot uint) ([]PublicKey, error) {
	handle, err := mod.ctx.OpenSession(slot, uint(reading))
	if err != nil {
		return nil, fmt.Errorf("C_OpenSession: %w", err)
	}
	s := session{mod.native, mod.ctx, handle, mod.generation}
	defer mod.ctx.CloseSession(handle)
	objects, err := s.find([]*pkcs11.Attribute{attr(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY)})
	if err != nil {
		return nil, err
	}
	keys := []PublicKey{}
	for _, object := range objects {
		pair, err := s.describe(object)
		if err != nil {
			return nil, err
		}
		key := PublicKey{Label: pair.label, ID: hex.EncodeToString(pair.id)}
		if public, err := s.point(object); err == nil {
			if point, err := public.Bytes(); err == nil {
				key.Point = hex.EncodeToString(point)
			}
		}
		keys = append(keys, key)
	}
	return keys, nil
}
