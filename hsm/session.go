//go:build cgo

package hsm

import (
	"context"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// session is one PKCS#11 session, lent to one operation.
type session struct {
	native
	traced
	handle     pkcs11.SessionHandle
	generation uint64 // of the module: handles of keys are good for as long
}

// access is what an operation does to the token. Only administration writes.
type access uint

const (
	reading access = pkcs11.CKF_SERIAL_SESSION
	writing access = pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION
)

// read runs an operation that may be repeated. A lost token is brought back, once: C_Finalize,
// C_Initialize, find it by its serial number, log in, and run the operation again. Wraps ErrLost if that
// did not help; the next call tries anew.
func (t *token) read(ctx context.Context, operation func(session) error) error {
	generation, err := t.try(ctx, reading, operation)
	switch {
	case lost(err):
		if err := t.module.reset(generation); err != nil {
			return fmt.Errorf("%w: %w", ErrLost, err)
		}
	case code(err) == pkcs11.CKR_OPERATION_ACTIVE:
		// An earlier operation was left open; try has closed its session.
	default:
		return err
	}
	if _, err = t.try(ctx, reading, operation); lost(err) {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return err
}

// write runs an operation that changes the token, so nobody knows what a second run would do: there is
// none. Wraps ErrLost.
func (t *token) write(ctx context.Context, operation func(session) error) error {
	_, err := t.try(ctx, writing, operation)
	if lost(err) {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return err
}

// try runs an operation in a session of its own, when there is room. It returns the module's generation
// that the operation saw. C_GetSessionInfo is never asked whether a session is good: one module takes
// a second for the answer, another says yes while the token is gone. Return codes tell.
func (t *token) try(ctx context.Context, access access, operation func(session) error) (uint64, error) {
	select {
	case t.room <- struct{}{}:
		defer func() { <-t.room }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	t.module.mu.RLock()
	defer t.module.mu.RUnlock()
	generation := t.module.generation
	if err := t.attach(ctx); err != nil {
		return generation, err
	}
	handle, err := t.take(access)
	if err != nil {
		return generation, fmt.Errorf("C_OpenSession: %w", err)
	}
	err = operation(session{t.module.native, t.module.ctx, handle, generation})
	if err == nil && access == reading {
		t.mu.Lock()
		t.idle = append(t.idle, handle)
		t.mu.Unlock()
	} else {
		_ = t.module.ctx.CloseSession(handle) // its state is unknown or it can write: not for the next one
	}
	return generation, err
}

// take returns an idle session, or opens one.
func (t *token) take(access access) (pkcs11.SessionHandle, error) {
	if access == reading {
		t.mu.Lock()
		defer t.mu.Unlock()
		if last := len(t.idle) - 1; last >= 0 {
			handle := t.idle[last]
			t.idle = t.idle[:last]
			return handle, nil
		}
	}
	return t.module.ctx.OpenSession(t.slot, uint(access))
}

// code returns the PKCS#11 return code in err, CKR_OK if there is none.
func code(err error) uint {
	var rv pkcs11.Error
	if errors.As(err, &rv) {
		return uint(rv)
	}
	return pkcs11.CKR_OK
}

// lost says whether err means that the token, its sessions or its login are gone.
func lost(err error) bool {
	switch code(err) {
	case pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED,
		pkcs11.CKR_SLOT_ID_INVALID,                        // a slot that went with its token
		pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_GENERAL_ERROR, // what network modules say when the line is down
		pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED,
		pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_KEY_HANDLE_INVALID, // a token that was put back has new handles
		pkcs11.CKR_USER_NOT_LOGGED_IN,       // and has forgotten the login
		pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED: // the C_Initialize of an earlier recovery failed
		return true
	}
	return errors.Is(err, errAbsent)
}
