//go:build cgo

package hsm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/miekg/pkcs11"
)

const defaultSessions = 4 // a module call is short; more sessions than lanes sign at once gain nothing

// Token is a token that this process is logged in to as its user.
type Token struct {
	*token
	uri     URI
	modules *Modules
	closing sync.Once
}

// token is the state that every Token of one physical token shares.
type token struct {
	module   *module
	identity URI // label, manufacturer, serial and model
	users    int // guarded by Modules.mu

	room chan struct{} // one element for each operation under way

	mu         sync.Mutex // guards what follows
	login      login
	closed     bool
	refused    error  // what the token said to the PIN; it is not offered again
	generation uint64 // of the module, when slot, keeper and idle were made
	slot       uint
	keeper     pkcs11.SessionHandle // keeps the login alive: it ends with the last session
	idle       []pkcs11.SessionHandle
}

// errAbsent is what a token that was there before becomes when it is in no slot.
var errAbsent = errors.New("it is in no slot")

// Open logs in to the one token that u names. Errors wrap ErrNoToken or ErrAmbiguous, both with a list of
// what is there; ErrPIN after the only try; ErrPINLocked, also before a try that would be the last;
// ErrLost. A token that options.Modules has open already is shared: its PIN and sessions stay.
func Open(ctx context.Context, u URI, options Options) (*Token, error) {
	path := u.ModulePath
	if path == "" {
		path = options.Module
	}
	if path == "" {
		return nil, errors.New("open token: no PKCS#11 module is named; set module-path in the URI or the module option")
	}
	if u.PINFile != "" {
		options.PIN = PINFromFile(u.PINFile)
	}
	modules := options.Modules
	if modules == nil {
		modules = new(Modules)
	}
	mod, err := modules.use(path)
	if err != nil {
		return nil, err
	}
	shared, err := modules.join(mod, u, options)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open token: %w", err), modules.release(mod))
	}
	t := &Token{token: shared, uri: u, modules: modules}
	if _, err := shared.try(ctx, reading, func(session) error { return nil }); err != nil {
		if lost(err) {
			err = fmt.Errorf("%w: %w", ErrLost, err)
		}
		return nil, errors.Join(fmt.Errorf("open token %q: %w", shared.identity.Token, err), t.Close())
	}
	return t, nil
}

// Close ends the login if no other Token shares it, and waits for signatures under way. Signers of a
// closed token return an error.
func (t *Token) Close() (err error) {
	t.closing.Do(func() { err = t.modules.leave(t.token) })
	if err != nil {
		return fmt.Errorf("close token %q: %w", t.identity.Token, err)
	}
	return nil
}

// end logs out and closes every session of this token.
func (t *token) end() error {
	t.module.mu.Lock()
	defer t.module.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	err := t.login.forget()
	if t.generation != t.module.generation {
		return err // logged out already
	}
	if e := t.module.ctx.Logout(t.keeper); e != nil && !lost(e) {
		err = errors.Join(err, fmt.Errorf("C_Logout: %w", e))
	}
	for _, session := range append(t.idle, t.keeper) {
		_ = t.module.ctx.CloseSession(session) // what is left, C_Finalize closes
	}
	return err
}

// attach finds the token and logs in, unless that was done since the last C_Initialize. The caller holds
// module.mu for reading.
func (t *token) attach(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return errors.New("it is closed")
	case t.refused != nil:
		return t.refused
	case t.generation == t.module.generation:
		return nil
	}
	slot, info, err := t.module.find(t.identity)
	if errors.Is(err, ErrNoToken) && t.generation != 0 {
		return errAbsent
	}
	if err != nil {
		return err
	}
	keeper, err := t.module.ctx.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return fmt.Errorf("C_OpenSession: %w", err)
	}
	if err := t.logIn(ctx, keeper, info.Flags); err != nil {
		_ = t.module.ctx.CloseSession(keeper)
		return err
	}
	t.slot, t.keeper, t.idle, t.generation = slot, keeper, nil, t.module.generation
	return nil
}

// logIn offers the PIN once. After an error it is never offered again, since the token may have counted the try, unless the
// token was gone before it could.
func (t *token) logIn(ctx context.Context, session pkcs11.SessionHandle, flags uint) error {
	switch {
	case flags&pkcs11.CKF_LOGIN_REQUIRED == 0:
		return nil
	case flags&pkcs11.CKF_USER_PIN_INITIALIZED == 0:
		return errors.New("its user PIN was never set")
	case flags&pkcs11.CKF_USER_PIN_LOCKED != 0:
		return fmt.Errorf("%w: CKF_USER_PIN_LOCKED is set", ErrPINLocked)
	case flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0:
		return fmt.Errorf("%w: CKF_USER_PIN_FINAL_TRY is set, one wrong PIN would lock it", ErrPINLocked)
	}
	var pin []byte
	if flags&pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH == 0 {
		var err error
		if pin, err = t.login.pin(ctx); err != nil {
			return err
		}
		defer clear(pin)
	}
	err := t.module.login(session, pin)
	switch code(err) {
	case pkcs11.CKR_OK, pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED,
		pkcs11.CKR_SLOT_ID_INVALID, pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED:
		return err
	case pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE:
		t.refused = fmt.Errorf("%w: %w", ErrPIN, err)
	case pkcs11.CKR_PIN_LOCKED:
		t.refused = fmt.Errorf("%w: %w", ErrPINLocked, err)
	default:
		t.refused = fmt.Errorf("the PIN was tried once: %w", err)
	}
	return t.refused
}

// find returns the slot of the one initialised token that u names.
func (mod *module) find(u URI) (uint, pkcs11.TokenInfo, error) {
	slots, err := mod.slots()
	if err != nil {
		return 0, pkcs11.TokenInfo{}, err
	}
	var matches, others []slot
	for _, s := range slots {
		switch {
		case s.info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0:
		case u.matches(s.info):
			matches = append(matches, s)
		default:
			others = append(others, s)
		}
	}
	switch len(matches) {
	case 0:
		return 0, pkcs11.TokenInfo{}, fmt.Errorf("%w: %s; the module has %s", ErrNoToken, u.tokenOnly(), list(others))
	case 1:
		return matches[0].id, matches[0].info, nil
	}
	return 0, pkcs11.TokenInfo{}, fmt.Errorf("%w: %s is %s; add serial and manufacturer", ErrAmbiguous, u.tokenOnly(), list(matches))
}

// slot is a slot with a token in it.
type slot struct {
	id   uint
	info pkcs11.TokenInfo
}

func (mod *module) slots() ([]slot, error) {
	ids, err := mod.ctx.GetSlotList(true)
	if err != nil {
		return nil, fmt.Errorf("C_GetSlotList: %w", err)
	}
	var slots []slot
	for _, id := range ids {
		info, err := mod.ctx.GetTokenInfo(id)
		switch code(err) {
		case pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED:
			continue // pulled since the list was made, or not for this module
		}
		if err != nil {
			return nil, fmt.Errorf("C_GetTokenInfo: %w", err)
		}
		for _, text := range []*string{&info.Label, &info.ManufacturerID, &info.Model, &info.SerialNumber} {
			*text = strings.TrimRight(*text, "\x00 ") // tpm2-pkcs11 fills up with NUL bytes and not with spaces
		}
		slots = append(slots, slot{id, info})
	}
	return slots, nil
}

// list names tokens for people who must choose one.
func list(slots []slot) string {
	if len(slots) == 0 {
		return "none"
	}
	text := ""
	for _, s := range slots {
		text += fmt.Sprintf(", %q (serial %s, manufacturer %q)", s.info.Label, s.info.SerialNumber, s.info.ManufacturerID)
	}
	return text[len(", "):]
}

func identify(info pkcs11.TokenInfo) URI {
	return URI{Token: info.Label, Manufacturer: info.ManufacturerID, Serial: info.SerialNumber, Model: info.Model}
}

func (u URI) tokenOnly() URI {
	return URI{Token: u.Token, Manufacturer: u.Manufacturer, Serial: u.Serial, Model: u.Model}
}

func (u URI) matches(info pkcs11.TokenInfo) bool {
	same := func(want, have string) bool { return want == "" || want == have }
	return same(u.Token, info.Label) && same(u.Manufacturer, info.ManufacturerID) &&
		same(u.Serial, info.SerialNumber) && same(u.Model, info.Model)
}
