//go:build cgo

package hsm

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"

	"github.com/birthmark/birthmark/hsm/hsmtest"
)

// The trace has every call that reached the module, with its return code; what the proxy counts is what it tells.
func TestTrace(t *testing.T) {
	token := tokens(t, "factory-a")
	var mu sync.Mutex
	told := map[string]int{}
	codes := map[string]bool{}
	modules := &Modules{Trace: func(function, code string) {
		mu.Lock()
		defer mu.Unlock()
		told[function]++
		codes[code] = true
	}}
	options := Options{Module: proxy.module, Modules: modules, PIN: token.PIN}
	counts := func() (n [68]uint64) {
		for i := range n {
			n[i] = proxy.Entry[i].Calls()
		}
		return n
	}
	start := counts()
	k, err := CreateKey(context.Background(), "pkcs11:token=factory-a;object=a", options)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CreateKey(context.Background(), "pkcs11:token=factory-a;object=a", options); !errors.Is(err, ErrKeyExists) {
		t.Fatal(err)
	}
	inject(t, hsmtest.Sign, pkcs11.CKR_FUNCTION_FAILED, 0, 1)
	signOnce(k)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	end := counts()
	for entry, function := range map[int]string{
		hsmtest.Initialize: "C_Initialize", hsmtest.Finalize: "C_Finalize", hsmtest.OpenSession: "C_OpenSession", hsmtest.CloseSession: "C_CloseSession", hsmtest.GetTokenInfo: "C_GetTokenInfo",
		hsmtest.Login: "C_Login", hsmtest.FindObjects: "C_FindObjects", hsmtest.SignInit: "C_SignInit", hsmtest.Sign: "C_Sign", hsmtest.GenerateKeyPair: "C_GenerateKeyPair",
	} {
		if calls := int(end[entry] - start[entry]); calls == 0 || told[function] != calls {
			t.Errorf("%s: %d calls, %d told", function, calls, told[function])
		}
	}
	if !codes["CKR_OK"] || !codes["CKR_FUNCTION_FAILED"] {
		t.Errorf("return codes %v", codes)
	}
}

// What a making that was cut short left behind can be found by label and id and discarded, whole or half.
func TestDiscard(t *testing.T) {
	options := tokens(t, "factory-a")
	ctx, uri := context.Background(), "pkcs11:token=factory-a;object=a;id=%01%02"
	if found, err := DiscardKey(ctx, uri, options); found || err != nil {
		t.Fatalf("nothing is there: %v, %v", found, err)
	}
	for _, half := range []bool{false, true} {
		token := open(t, options)
		k, err := token.create(ctx, "a", []byte{1, 2})
		if err != nil {
			t.Fatal(err)
		}
		if half {
			err = token.write(ctx, func(s session) error { return s.destroy(k.pair.private) })
		}
		if err := errors.Join(err, token.Close()); err != nil {
			t.Fatal(err)
		}
		if p, err := Look("pkcs11:token=factory-a;object=a", options); err != nil || !p.Taken {
			t.Fatalf("look: %+v, %v", p, err)
		}
		if found, err := DiscardKey(ctx, "pkcs11:token=factory-a;object=a;id=%01%03", options); found || err != nil {
			t.Fatalf("another id: %v, %v", found, err)
		}
		if found, err := DiscardKey(ctx, uri, options); !found || err != nil {
			t.Fatalf("half=%v: %v, %v", half, found, err)
		}
		if p, err := Look("pkcs11:token=factory-a;object=a", options); err != nil || p.Taken {
			t.Fatalf("look again: %+v, %v", p, err)
		}
	}
	if _, err := DiscardKey(ctx, "pkcs11:token=factory-a;object=a", options); err == nil {
		t.Fatal("any key of the label")
	}
	_, err := Look("pkcs11:token=nobody", options)
	wantError(t, err, ErrNoToken)
}
