//go:build cgo

package hsm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/pkcs11"
)

const sessionsTried = 16 // at once, for a moment: small tokens have no more, and a station does with defaultSessions and one

func (e *examination) trait(name, value string) {
	e.report.Traits = append(e.report.Traits, Trait{name, value})
}

// traits notes in which of the allowed ways the token does what the standard leaves open. The error says that it did not
// answer.
func (e *examination) traits(ctx context.Context) error {
	var form, silent, sessions, twin, changed string
	err := e.token.read(ctx, func(s session) error {
		private, err := e.key.in(s)
		if err != nil {
			return err
		}
		form, err = s.pointForm(e.key.pair)
		silent, sessions = s.silent(private), e.token.sessions()
		return err
	})
	if err != nil {
		return err
	}
	err = e.token.write(ctx, func(s session) error {
		private, err := e.key.in(s)
		if err != nil {
			return err
		}
		twin, err = s.twin(e.key.pair)
		changed = s.changed(private)
		return err
	})
	e.trait("form of CKA_EC_POINT", form)
	e.trait("attributes that a private key lacks", silent)
	e.trait("sessions at once", sessions)
	e.trait("second key of one label and id", twin)
	e.trait("flags that can be changed later", changed)
	return err
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// none is a list for people.
func none(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, " ")
}

// describe is what the module says of itself.
func (mod *module) describe() (string, error) {
	info, err := mod.ctx.GetInfo()
	if err != nil {
		return "", fmt.Errorf("C_GetInfo: %w", err)
	}
	text := func(s string) string { return strings.TrimRight(s, "\x00 ") }
	return fmt.Sprintf("%s, %s %d.%d, Cryptoki %d.%02d", text(info.ManufacturerID), text(info.LibraryDescription),
		info.LibraryVersion.Major, info.LibraryVersion.Minor, info.CryptokiVersion.Major, info.CryptokiVersion.Minor), nil
}

// pointForm says which of the two forms that parsePoint takes the token has.
func (s session) pointForm(pair keyPair) (string, error) {
	objects, err := s.publicHalves(pair.selector())
	if err != nil || len(objects) == 0 {
		return "", errors.Join(err, errors.New("the token has no public key for it"))
	}
	value, err := s.attribute(objects[0], pkcs11.CKA_EC_POINT)
	if err != nil {
		return "", err
	}
	if len(value) == 65 {
		return "raw", nil
	}
	return "in an OCTET STRING", nil
}

// silent names the attributes of a private key that people ask for and that the token has no answer to.
func (s session) silent(private pkcs11.ObjectHandle) string {
	var names []string
	for _, a := range []struct {
		kind uint
		name string
	}{
		{pkcs11.CKA_EC_PARAMS, "CKA_EC_PARAMS"},
		{pkcs11.CKA_EC_POINT, "CKA_EC_POINT"}, // not in the standard, but some have it
		{pkcs11.CKA_ALWAYS_AUTHENTICATE, "CKA_ALWAYS_AUTHENTICATE"},
		{pkcs11.CKA_ALLOWED_MECHANISMS, "CKA_ALLOWED_MECHANISMS"},
		{pkcs11.CKA_WRAP_WITH_TRUSTED, "CKA_WRAP_WITH_TRUSTED"},
		{pkcs11.CKA_KEY_GEN_MECHANISM, "CKA_KEY_GEN_MECHANISM"},
	} {
		if _, err := s.attribute(private, a.kind); err != nil {
			names = append(names, a.name)
		}
	}
	return none(names)
}

// sessions opens as many as there are to be had, and closes them. The caller is in an operation of this token.
func (t *token) sessions() string {
	var open []pkcs11.SessionHandle
	defer func() {
		for _, handle := range open {
			_ = t.module.ctx.CloseSession(handle) // what is left, C_Finalize closes
		}
	}()
	for len(open) < sessionsTried {
		handle, err := t.module.ctx.OpenSession(t.slot, uint(reading))
		if err != nil {
			return fmt.Sprintf("%d, then C_OpenSession: %v", len(open), err)
		}
		open = append(open, handle)
	}
	return fmt.Sprintf("%d and more", sessionsTried)
}

// twin tries to make a second pair of one label and id, and destroys it. The error says that one was left behind.
func (s session) twin(pair keyPair) (string, error) {
	public, private, err := s.makePair(pair.label, pair.id)
	if err != nil {
		return "refused", nil
	}
	return "accepted", errors.Join(s.destroy(private), s.destroy(public))
}

// changed names the flags that the token lets be changed against what it was told when it made the key.
func (s session) changed(private pkcs11.ObjectHandle) string {
	var names []string
	for _, c := range changes {
		if c.try(s, private) == nil {
			names = append(names, c.name)
		}
	}
	return none(names)
}
