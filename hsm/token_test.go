//go:build cgo

package hsm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"

	"github.com/birthmark/birthmark/hsm/hsmtest"
)

var digest = sha256.Sum256([]byte("one unit"))

const order = "pkcs11:token=factory-a;object=order"

func create(t *testing.T, uri string, options Options) Key {
	t.Helper()
	k, err := CreateKey(context.Background(), uri, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func open(t *testing.T, options Options) *Token {
	t.Helper()
	token, err := Open(context.Background(), URI{Token: "factory-a"}, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { token.Close() })
	return token
}

func signOnce(k crypto.Signer) error {
	der, err := k.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err == nil && !ecdsa.VerifyASN1(k.Public().(*ecdsa.PublicKey), digest[:], der) {
		err = errors.New("the signature does not verify")
	}
	return err
}

// wantError checks that err wraps want and shows no PIN.
func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("have error %v, want %v", err, want)
	}
	if strings.Contains(err.Error(), testPIN) {
		t.Fatalf("the error shows the PIN: %v", err)
	}
}

func TestCreateCloseOpen(t *testing.T) {
	options := tokens(t, "factory-b", "factory-a")
	k := create(t, order, options)
	if err := signOnce(k); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateKey(context.Background(), order, Options{Module: options.Module}); err == nil || !strings.Contains(err.Error(), "one owner") {
		t.Fatalf("a second owner of the module: %v", err)
	}
	if err := errors.Join(k.Close(), k.Close()); err != nil {
		t.Fatal(err)
	}
	if err := signOnce(k); err == nil {
		t.Fatal("a closed key signed")
	}
	again, err := OpenKey(context.Background(), order+";type=private", options)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := signOnce(again); err != nil || !again.Public().(*ecdsa.PublicKey).Equal(k.Public()) {
		t.Fatal("another key came back", err)
	}
	for _, other := range []Options{{}, {Module: "libsofthsm2.so"}} {
		if _, err := OpenKey(context.Background(), order, other); err == nil {
			t.Fatalf("module %q was taken", other.Module)
		}
	}
}

func TestDigestOnly(t *testing.T) {
	k := create(t, order, tokens(t, "factory-a"))
	for name, sign := range map[string]func() ([]byte, error){
		"short":       func() ([]byte, error) { return k.Sign(rand.Reader, digest[:31], crypto.SHA256) },
		"long":        func() ([]byte, error) { return k.Sign(rand.Reader, append(digest[:], 0), crypto.SHA256) },
		"other hash":  func() ([]byte, error) { return k.Sign(rand.Reader, digest[:], crypto.SHA512_256) },
		"no hash":     func() ([]byte, error) { return k.Sign(rand.Reader, digest[:], crypto.Hash(0)) },
		"nil options": func() ([]byte, error) { return k.Sign(rand.Reader, digest[:], nil) },
	} {
		if der, err := sign(); err == nil || der != nil {
			t.Errorf("%s: signed", name)
		}
	}
}

func TestExactlyOneToken(t *testing.T) {
	options := tokens(t, "factory-a", "factory-a", "other")
	list, err := List(options.Module)
	if err != nil {
		t.Fatal(err)
	}
	var serials []string
	for _, info := range list {
		if info.Label == "factory-a" {
			serials = append(serials, info.Serial)
		}
	}
	if len(serials) != 2 {
		t.Fatalf("List shows %+v", list)
	}
	login := calls(hsmtest.Login)
	_, err = Open(context.Background(), URI{Token: "factory-a"}, options)
	wantError(t, err, ErrAmbiguous)
	for _, want := range append(serials, "SoftHSM project") {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("candidates without %q: %v", want, err)
		}
	}
	for _, u := range []URI{{Token: "factory-c"}, {Token: "factory-a", Serial: "0"}, {Token: "factory-a", Manufacturer: "x"}, {Token: "factory-a", Model: "x"}} {
		_, err = Open(context.Background(), u, options)
		wantError(t, err, ErrNoToken)
		if !strings.Contains(err.Error(), serials[0]) {
			t.Errorf("no list of what is there: %v", err)
		}
	}
	if login() != 0 {
		t.Fatal("a PIN went to a token that was not named exactly")
	}
	token, err := Open(context.Background(), URI{Token: "factory-a", Serial: serials[1]}, options)
	if err != nil {
		t.Fatal(err)
	}
	defer token.Close()
	if token.identity.Serial != serials[1] {
		t.Fatal("the wrong token was opened")
	}
}

func TestPINIsOfferedOnce(t *testing.T) {
	options := tokens(t, "factory-a")
	login := calls(hsmtest.Login)
	options.PIN = PINFromFile(secretFile(t, testPIN+"x"))
	_, err := Open(context.Background(), URI{Token: "factory-a"}, options)
	wantError(t, err, ErrPIN)
	if !strings.Contains(err.Error(), "CKR_PIN_INCORRECT") || login() != 1 {
		t.Fatalf("%d logins, error %v", login(), err)
	}
	options.PIN = PINFromFile(filepath.Join(t.TempDir(), "none"))
	_, err = Open(context.Background(), URI{Token: "factory-a"}, options)
	wantError(t, err, os.ErrNotExist)
	if login() != 1 {
		t.Fatal("an unreadable source became a PIN")
	}
	inject(t, hsmtest.Login, pkcs11.CKR_PIN_LOCKED, 0, 1)
	options.PIN = PINFromFile(secretFile(t, testPIN))
	_, err = Open(context.Background(), URI{Token: "factory-a"}, options)
	wantError(t, err, ErrPINLocked)
}

func TestTokenFlagsBeforePIN(t *testing.T) {
	for _, flag := range []uint64{pkcs11.CKF_USER_PIN_LOCKED, pkcs11.CKF_USER_PIN_FINAL_TRY} {
		options := tokens(t, "factory-a")
		login := calls(hsmtest.Login)
		inject(t, hsmtest.GetTokenInfo, hsmtest.TokenFlags|flag, 0, hsmtest.Forever)
		_, err := Open(context.Background(), URI{Token: "factory-a"}, options)
		wantError(t, err, ErrPINLocked)
		if login() != 0 {
			t.Fatal("a PIN was offered")
		}
	}
}

func TestOwnPad(t *testing.T) {
	options := tokens(t, "factory-a")
	inject(t, hsmtest.GetTokenInfo, hsmtest.TokenFlags|pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH, 0, hsmtest.Forever)
	inject(t, hsmtest.Login, pkcs11.CKR_OK, 0, 1) // a person types at the pad
	options.PIN = PINFromFile("/nonexistent")
	open(t, options)
}

// lostCodes are what modules answer when a token, its sessions or its login are gone.
var lostCodes = []uint64{0x32, 0x30, 0xE0, 0xB3, 0xE1, 0x5, 0x82, 0x3, 0xB0, 0x60, 0x101, 0x190}

func TestLostTokenComesBack(t *testing.T) {
	k := create(t, order, tokens(t, "factory-a"))
	for _, entry := range []int{hsmtest.SignInit, hsmtest.Sign} {
		for _, code := range lostCodes {
			initialized, login := calls(hsmtest.Initialize), calls(hsmtest.Login)
			inject(t, entry, code, 0, 1)
			if err := signOnce(k); err != nil {
				t.Errorf("entry %d, 0x%X: %v", entry, code, err)
			}
			if initialized() != 1 || login() != 1 {
				t.Errorf("entry %d, 0x%X: %d C_Initialize, %d C_Login", entry, code, initialized(), login())
			}
		}
	}
	inject(t, hsmtest.SignInit, hsmtest.CloseAll, 0, 1)
	if err := signOnce(k); err != nil {
		t.Error("pulled and put back:", err)
	}
}

func TestLostTokenStaysLost(t *testing.T) {
	k := create(t, order, tokens(t, "factory-a"))
	for _, fault := range []struct {
		entry int
		kind  uint64
	}{{hsmtest.SignInit, 0x32}, {hsmtest.Sign, 0xB3}, {hsmtest.OpenSession, 0xE0}, {hsmtest.GetSlotList, hsmtest.NoSlots}, {hsmtest.GetTokenInfo, 0xE0}, {hsmtest.FindObjects, 0x30}, {hsmtest.Initialize, 0x5}} {
		inject(t, hsmtest.Sign, 0x32, 0, 1) // what sends it looking
		inject(t, fault.entry, fault.kind, 0, hsmtest.Forever)
		login := calls(hsmtest.Login)
		for range 2 {
			wantError(t, signOnce(k), ErrLost)
		}
		if login() > 2 {
			t.Errorf("entry %d: %d logins in two tries", fault.entry, login())
		}
		inject(t, fault.entry, 0, 0, 0)
		inject(t, hsmtest.Sign, 0, 0, 0)
		if err := signOnce(k); err != nil {
			t.Errorf("entry %d: the token is back, but: %v", fault.entry, err)
		}
	}
}

func TestRecoveryOffersPINOnce(t *testing.T) {
	options := tokens(t, "factory-a")
	path := secretFile(t, testPIN)
	options.PIN = PINFromFile(path)
	k := create(t, order, options)
	if err := os.WriteFile(path, []byte("000000"), 0o600); err != nil {
		t.Fatal(err)
	}
	login := calls(hsmtest.Login)
	inject(t, hsmtest.Sign, 0x32, 0, 1)
	for range 3 {
		wantError(t, signOnce(k), ErrPIN)
	}
	if login() != 1 {
		t.Fatalf("a wrong PIN was offered %d times", login())
	}
}

// A login that failed for no reason that says where the PIN got to is not repeated either; one whose token was gone is.
func TestFailedLoginIsNotRepeated(t *testing.T) {
	for code, again := range map[uint64]bool{pkcs11.CKR_GENERAL_ERROR: false, pkcs11.CKR_FUNCTION_FAILED: false, pkcs11.CKR_DEVICE_REMOVED: true} {
		k := create(t, order, tokens(t, "factory-a"))
		login := calls(hsmtest.Login)
		inject(t, hsmtest.Sign, pkcs11.CKR_DEVICE_REMOVED, 0, 1)
		inject(t, hsmtest.Login, code, 0, 1)
		if signOnce(k) == nil || login() != 1 {
			t.Errorf("0x%X: %d logins", code, login())
		}
		if err := signOnce(k); (err == nil) != again {
			t.Errorf("0x%X: after it: %v", code, err)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestDescriptorPINSurvivesRecovery(t *testing.T) {
	options := tokens(t, "factory-a")
	f, err := os.Open(secretFile(t, testPIN+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	options.PIN = PINFromFD(duplicate(t, f))
	k := create(t, order, options)
	inject(t, hsmtest.Sign, 0x32, 0, 1)
	if err := signOnce(k); err != nil {
		t.Fatal(err)
	}
	kept := k.(tokenKey).token.login.kept
	if kept == nil {
		t.Fatal("nothing was kept")
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if k.(tokenKey).token.login.kept != nil {
		t.Fatal("the PIN outlives the token")
	}
}

func TestOperationActive(t *testing.T) {
	k := create(t, order, tokens(t, "factory-a"))
	if err := signOnce(k); err != nil {
		t.Fatal(err)
	}
	initialized, closed := calls(hsmtest.Initialize), calls(hsmtest.CloseSession)
	inject(t, hsmtest.SignInit, pkcs11.CKR_OPERATION_ACTIVE, 0, 1)
	if err := signOnce(k); err != nil {
		t.Fatal(err)
	}
	if initialized() != 0 || closed() != 1 {
		t.Fatalf("%d C_Initialize, %d C_CloseSession", initialized(), closed())
	}
	inject(t, hsmtest.SignInit, pkcs11.CKR_OPERATION_ACTIVE, 0, hsmtest.Forever)
	if err := signOnce(k); code(err) != pkcs11.CKR_OPERATION_ACTIVE {
		t.Fatalf("have %v", err)
	}
}

func TestFlippedBit(t *testing.T) {
	k := create(t, order, tokens(t, "factory-a"))
	inject(t, hsmtest.Sign, hsmtest.FlipBit, 0, 1)
	if der, err := k.Sign(rand.Reader, digest[:], crypto.SHA256); err == nil || der != nil {
		t.Fatal("a wrong signature left the package")
	}
	if err := signOnce(k); err != nil {
		t.Fatal(err)
	}
}

func TestConcurrentSigners(t *testing.T) {
	options := tokens(t, "factory-a")
	options.Sessions = 4
	opened, asked := calls(hsmtest.OpenSession), calls(hsmtest.GetSessionInfo)
	k := create(t, order, options)
	inject(t, hsmtest.Sign, 0x32, 100, 1)
	initialized := calls(hsmtest.Initialize)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for range 25 {
				if err := signOnce(k); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	// Twice a keeper and four in the pool, and one that wrote; a few more may be lost with the token.
	if opened() > 16 || asked() != 0 || initialized() != 1 {
		t.Errorf("%d sessions opened, %d times asked for their state, %d resets", opened(), asked(), initialized())
	}
}

func TestSharedModules(t *testing.T) {
	options := tokens(t, "factory-a", "factory-b")
	options.Modules = new(Modules)
	login, finalized := calls(hsmtest.Login), calls(hsmtest.Finalize)
	a := create(t, order, options)
	b := create(t, "pkcs11:token=factory-a;object=checkpoint", options)
	c := create(t, "pkcs11:token=factory-b;object=root", options)
	if login() != 2 {
		t.Fatalf("%d logins to 2 tokens", login())
	}
	inject(t, hsmtest.Sign, 0x32, 0, 1)
	for _, k := range []Key{a, b, c} {
		if err := signOnce(k); err != nil {
			t.Fatal(err)
		}
	}
	if login() != 4 || finalized() != 1 {
		t.Fatalf("%d logins, %d C_Finalize after one reset", login(), finalized())
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := signOnce(b); err != nil {
		t.Fatal("it closed with its sister:", err)
	}
	if err := errors.Join(b.Close(), c.Close()); err != nil || finalized() != 2 {
		t.Fatal(err, finalized())
	}
}

// TestEveryCallFails makes each module call of a key's life fail in turn.
func TestEveryCallFails(t *testing.T) {
	options := tokens(t, "factory-a")
	life := func() error {
		token, err := Open(context.Background(), URI{Token: "factory-a"}, options)
		if err != nil {
			return err
		}
		defer token.Close()
		k, err := token.GenerateKey(context.Background(), "order")
		if err != nil {
			return err
		}
		if err := signOnce(k); err != nil {
			return err
		}
		return token.DestroyKey(context.Background(), Selector{Label: "order"})
	}
	everyCallFails(t, options, life)
}

// everyCallFails makes each call of a life, which runs well, fail once, and wants a token behind it on which nothing is left of a key
// "order" or all of it.
func everyCallFails(t *testing.T, options Options, life func() error) {
	t.Helper()
	before := proxy.Entry
	if err := life(); err != nil {
		t.Fatal(err)
	}
	after := proxy.Entry
	cleanUp(t, options, "a whole life")
	for i := range before {
		n := after[i].Calls() - before[i].Calls()
		for skip := range n {
			for _, code := range []uint64{pkcs11.CKR_FUNCTION_FAILED, pkcs11.CKR_DEVICE_REMOVED} {
				inject(t, i, code, skip, 1)
				err := life()
				inject(t, i, 0, 0, 0)
				if i == hsmtest.Finalize { // nobody else does it, and a module that stays initialised is refused
					pkcs11.New(proxy.module).Finalize()
				}
				if err != nil && strings.Contains(err.Error(), testPIN) {
					t.Fatal(err)
				}
				cleanUp(t, options, fmt.Sprintf("entry %d, call %d of %d, 0x%X: %v", i, skip+1, n, code, err))
			}
		}
	}
}

// cleanUp destroys what an aborted life left, and wants the token to be good again.
func cleanUp(t *testing.T, options Options, after string) {
	t.Helper()
	token, err := Open(context.Background(), URI{Token: "factory-a"}, options)
	if err != nil {
		t.Fatalf("%s; then: %v", after, err)
	}
	defer token.Close()
	err = token.DestroyKey(context.Background(), Selector{Label: "order"})
	if err != nil && !errors.Is(err, ErrNoKey) {
		t.Fatalf("%s; then: %v", after, err)
	}
	if err := token.read(context.Background(), func(s session) error { return s.labelFree("order") }); err != nil {
		t.Fatalf("%s; half a pair is left", after)
	}
}
