//go:build cgo

package hsm

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"
)

// Test tries whether a token keeps its promises, on a throwaway key that it makes and destroys:
// attributes such as CKA_EXTRACTABLE are what a module says, so each way around them is tried and must
// fail. The report tells what was found; the error says that the test could not be carried out.
func Test(ctx context.Context, uri string, options Options) (Report, error) {
	t, err := openToken(ctx, uri, options)
	if err != nil {
		return Report{}, err
	}
	e := &examination{token: t, report: Report{Token: t.identity.String(), Traits: []Trait{}, Checks: []Check{}}}
	err = e.run(ctx)
	if err != nil {
		err = fmt.Errorf("test token %q: %w", t.identity.Token, err)
	}
	return e.report, errors.Join(err, t.Close())
}

// openToken opens the token of a URI that must not name a key file.
func openToken(ctx context.Context, uri string, options Options) (*Token, error) {
	u, err := ParseURI(uri)
	if err != nil {
		return nil, err
	}
	if u.File != "" {
		return nil, errors.New("a key file is not a token: want a PKCS#11 URI")
	}
	return Open(ctx, u, options)
}

const throwawayLabel = "birthmark throwaway " // and a random end

// throwaway makes a key with a label that nobody else has. Those of earlier runs that died are destroyed first.
func (t *Token) throwaway(ctx context.Context) (*Signer, error) {
	if err := t.sweep(ctx); err != nil {
		return nil, fmt.Errorf("destroy the throwaway keys of earlier runs: %w", err)
	}
	return t.GenerateKey(ctx, throwawayLabel+rand.Text()[:8])
}

// discard destroys a throwaway key, also when the caller was cancelled. Wraps ErrLeft.
func (t *Token) discard(ctx context.Context, k *Signer) error {
	ctx = context.WithoutCancel(ctx)
	err := t.DestroyKey(ctx, k.pair.selector())
	if err != nil && t.undo(ctx, Selector{Label: k.pair.label}) != nil {
		return fmt.Errorf("%w, which the next test destroys: %w", ErrLeft, err)
	}
	return nil
}

// sweep destroys all throwaway keys.
func (t *Token) sweep(ctx context.Context) error {
	var labels []string
	err := t.read(ctx, func(s session) error {
		labels = nil
		for _, class := range []uint{pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_PUBLIC_KEY} {
			objects, err := s.find(Selector{}.template(class))
			if err != nil {
				return err
			}
			for _, object := range objects {
				label, err := s.attribute(object, pkcs11.CKA_LABEL)
				if err != nil {
					return err
				}
				if strings.HasPrefix(string(label), throwawayLabel) {
					labels = append(labels, string(label))
				}
			}
		}
		return nil
	})
	for _, label := range labels {
		err = errors.Join(err, t.undo(ctx, Selector{Label: label}))
	}
	return err
}

type examination struct {
	token  *Token
	key    *Signer
	report Report
}

// note records a check that passes if err is nil.
func (e *examination) note(name string, err error, detail string) {
	if err != nil {
		detail = err.Error()
	}
	e.report.Checks = append(e.report.Checks, Check{Name: name, Passed: err == nil, Detail: detail})
}

func (e *examination) run(ctx context.Context) (err error) {
	if e.report.Module, err = e.token.module.describe(); err != nil {
		return err
	}
	complete, err := e.mechanisms(ctx)
	if err != nil || !complete {
		return err
	}
	const makes = "make a key, read back its attributes, sign and verify"
	e.key, err = e.token.throwaway(ctx)
	if err != nil {
		if errors.Is(err, ErrLost) {
			return err
		}
		e.note(makes, err, "")
		return nil
	}
	e.note(makes, nil, e.key.Description())
	defer func() {
		failed := e.token.discard(ctx, e.key)
		e.note("destroy the key", failed, "gone")
		if err != nil || errors.Is(failed, ErrLost) {
			err = errors.Join(err, failed)
		}
	}()
	if err := e.traits(ctx); err != nil {
		return err
	}

	e.refuse("sign a digest of 31 bytes", func() error { return e.sign(make([]byte, sha256.Size-1)) })
	e.refuse("sign a digest of 33 bytes", func() error { return e.sign(make([]byte, sha256.Size+1)) })
	e.refuse("make a second key of one label", func() error {
		_, err := e.token.GenerateKey(ctx, e.key.pair.label)
		return err
	})
	for _, a := range attacks {
		e.refuse(a.name, func() error {
			return e.token.write(ctx, func(s session) error {
				private, err := e.key.in(s)
				if err != nil {
					return err
				}
				return a.try(s, private)
			})
		})
	}
	// A refusal counts only from a token that works: one that is gone refuses everything.
	digest := sha256.Sum256([]byte("birthmark self-test"))
	e.note("sign and verify after the attempts", e.sign(digest[:]), "good")
	return nil
}

// mechanisms checks that what signing needs is there, and says whether it is. It notes which of the others are.
func (e *examination) mechanisms(ctx context.Context) (bool, error) {
	var have []string
	err := e.token.read(ctx, func(session) (err error) {
		have, err = e.token.module.mechanisms(e.token.slot)
		return err
	})
	if err != nil {
		return false, err
	}
	complete := true
	for _, name := range []string{"CKM_EC_KEY_PAIR_GEN", "CKM_ECDSA"} {
		present := slices.Contains(have, name)
		detail := "there"
		if !present {
			detail = "not there; the token has " + strings.Join(have, ", ")
		}
		e.report.Checks = append(e.report.Checks, Check{Name: name, Passed: present, Detail: detail})
		complete = complete && present
	}
	for _, name := range []string{"CKM_ECDSA_SHA256", "CKM_ECDH1_DERIVE", "CKM_AES_KEY_GEN", "CKM_AES_KEY_WRAP", "CKM_AES_KEY_WRAP_PAD"} {
		e.trait(name, yesNo(slices.Contains(have, name)))
	}
	return complete, nil
}

func (e *examination) sign(digest []byte) error {
	_, err := e.key.Sign(rand.Reader, digest, crypto.SHA256)
	return err
}

// ckrActionProhibited is how a token refuses to change what is not modifiable (PKCS#11 v2.40, section 6.2). The binding
// prints it without a name.
const ckrActionProhibited = 0x1B

// refuse records an attempt that must fail.
func (e *examination) refuse(name string, try func() error) {
	c := Check{Name: "must fail: " + name, Detail: "it was done"}
	if err := try(); err != nil {
		c.Passed, c.Detail = true, err.Error()
		if errors.Is(err, pkcs11.Error(ckrActionProhibited)) {
			c.Detail += "CKR_ACTION_PROHIBITED"
		}
	}
	e.report.Checks = append(e.report.Checks, c)
}
