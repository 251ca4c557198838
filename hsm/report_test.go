//go:build cgo

package hsm

import (
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/pkcs11"

	"github.com/birthmark/birthmark/hsm/hsmtest"
)

func TestList(t *testing.T) {
	options := tokens(t, "factory-a", "factory-b")
	k := create(t, order, options)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	list, err := List(options.Module)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(info TokenInfo) bool { return info.Label == "factory-a" })
	if i < 0 {
		t.Fatalf("factory-a is not in %+v", list)
	}
	info := list[i]
	public, err := k.(tokenKey).pair.public.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Keys) != 1 || info.Keys[0].Label != "order" || info.Keys[0].Point != hex.EncodeToString(public) || len(info.Keys[0].ID) != 2*idSize {
		t.Errorf("keys: %+v", info.Keys)
	}
	if !slices.Contains(info.Mechanisms, "CKM_ECDSA") || !slices.Contains(info.Flags, "user PIN set") || info.Manufacturer != "SoftHSM project" {
		t.Errorf("%+v", info)
	}
	named, err := OpenKey(context.Background(), info.URI+";object=order", options)
	if err != nil {
		t.Fatalf("%s: %v", info.URI, err)
	}
	defer named.Close()
	if _, err := List(options.Module); err == nil {
		t.Error("a module in use was initialised again")
	}
}

func TestTestPasses(t *testing.T) {
	options := tokens(t, "factory-a")
	report, err := Test(context.Background(), "pkcs11:token=factory-a", options)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range report.Checks {
		if !c.Passed {
			t.Errorf("%s: %s", c.Name, c.Detail)
		}
	}
	if len(report.Checks) != 8+len(attacks) || len(report.Traits) != 10 {
		t.Errorf("%d checks, %d traits", len(report.Checks), len(report.Traits))
	}
	if err := open(t, options).read(context.Background(), func(s session) error {
		left, err := s.find(nil)
		if len(left) != 0 {
			t.Errorf("%d objects are left", len(left))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := Test(context.Background(), "order.key", options); err == nil {
		t.Error("a key file was tested as a token")
	}
}

// A token that does not say what its key is fails the test, which still ends with a report.
func TestTestFails(t *testing.T) {
	options := tokens(t, "factory-a")
	inject(t, hsmtest.GetAttributeValue, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, 0, 1)
	report, err := Test(context.Background(), "pkcs11:token=factory-a", options)
	if err != nil || len(report.Checks) != 3 || report.Checks[2].Passed || !strings.Contains(report.Checks[2].Detail, "CKR_ATTRIBUTE_TYPE_INVALID") {
		t.Errorf("%+v, %v", report.Checks, err)
	}
	inject(t, hsmtest.Sign, pkcs11.CKR_DEVICE_REMOVED, 0, hsmtest.Forever)
	_, err = Test(context.Background(), "pkcs11:token=factory-a", options)
	wantError(t, err, ErrLost)
}

// A test that fails only good tokens proves nothing: on a weak key every attack must get through.
func TestAttacksWork(t *testing.T) {
	token := open(t, tokens(t, "factory-a"))
	for _, a := range slices.Concat(changes, attacks) {
		if strings.Contains(a.name, "CBC_PAD") {
			continue // SoftHSM2 cannot wrap with it
		}
		err := token.write(context.Background(), func(s session) error {
			private := weakKey(t, s)
			defer s.DestroyObject(s.handle, private)
			return a.try(s, private)
		})
		if err != nil {
			t.Errorf("%s: %v", a.name, err)
		}
	}
}

func weakKey(t *testing.T, s session) pkcs11.ObjectHandle {
	t.Helper()
	_, private, err := s.GenerateKeyPair(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_EC_KEY_PAIR_GEN, nil)},
		[]*pkcs11.Attribute{attr(pkcs11.CKA_EC_PARAMS, []byte(p256)), attr(pkcs11.CKA_TOKEN, false), attr(pkcs11.CKA_LABEL, "weak"), attr(pkcs11.CKA_ID, t.Name())},
		[]*pkcs11.Attribute{attr(pkcs11.CKA_TOKEN, false), attr(pkcs11.CKA_SENSITIVE, false), attr(pkcs11.CKA_EXTRACTABLE, true),
			attr(pkcs11.CKA_DERIVE, true), attr(pkcs11.CKA_LABEL, "weak"), attr(pkcs11.CKA_ID, t.Name())})
	if err != nil {
		t.Fatal(err)
	}
	return private
}

func TestBench(t *testing.T) {
	options := tokens(t, "factory-a")
	options.Sessions = 2
	f, err := Bench(context.Background(), "pkcs11:token=factory-a", options, 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", f)
	for _, r := range []Rate{f.Sign, f.Raw, f.Checked} {
		if r.PerSecond <= 0 || r.Median <= 0 || r.P99 < r.Median {
			t.Errorf("%+v", f)
		}
	}
	if f.Workers != 2 || f.Rounds < 2 {
		t.Errorf("%+v", f)
	}
}
