//go:build cgo

package hsm

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"
)

// Look finds out, without a PIN, what is where uri says that a key is or will be: which token, and whether a key has its label, as far
// as public keys show. A token that could not sign is an error. Errors wrap ErrNoToken or ErrAmbiguous.
func Look(uri string, options Options) (Place, error) {
	u, err := ParseURI(uri)
	if err != nil {
		return Place{}, err
	}
	if u.File != "" {
		return lookAtFile(u.File)
	}
	path := u.ModulePath
	if path == "" {
		path = options.Module
	}
	modules := options.Modules
	if modules == nil {
		modules = new(Modules)
	}
	mod, err := modules.use(path)
	if err != nil {
		return Place{}, err
	}
	place, err := mod.look(u)
	if err != nil {
		err = fmt.Errorf("look at token: %w", err)
	}
	return place, errors.Join(err, modules.release(mod))
}

func (mod *module) look(u URI) (Place, error) {
	mod.mu.RLock()
	defer mod.mu.RUnlock()
	slot, info, err := mod.find(u)
	if err != nil {
		return Place{}, err
	}
	if info.Flags&pkcs11.CKF_USER_PIN_INITIALIZED == 0 && info.Flags&pkcs11.CKF_LOGIN_REQUIRED != 0 {
		return Place{}, fmt.Errorf("the user PIN of token %q was never set", info.Label)
	}
	have, err := mod.mechanisms(slot)
	if err != nil {
		return Place{}, err
	}
	for _, name := range []string{"CKM_EC_KEY_PAIR_GEN", "CKM_ECDSA"} {
		if !slices.Contains(have, name) {
			return Place{}, fmt.Errorf("token %q has no %s; it has %s", info.Label, name, strings.Join(have, ", "))
		}
	}
	keys, err := mod.publicKeys(slot)
	if err != nil {
		return Place{}, err
	}
	return Place{
		Name:  fmt.Sprintf("token %q, serial number %s, %s %s", info.Label, info.SerialNumber, info.ManufacturerID, info.Model),
		Taken: slices.ContainsFunc(keys, func(k PublicKey) bool { return k.Label == u.Object }),
	}, nil
}
