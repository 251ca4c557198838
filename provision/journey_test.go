//go:build cgo

package provision

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/link/sim"
)

// A unit from blank to sealed, and what is then known of it: by itself, in the book, on its receipt.
func TestUnit(t *testing.T) {
	f := newFactory(t, 10)
	u := f.unit(sim.Options{})
	s := f.station()
	s.Twin = true
	var stages []Stage
	s.Watch = func(e Event) {
		if e.Port != u.Port() || (e.Chip == "") != (e.Stage == Hello) {
			t.Errorf("event %+v", e)
		}
		stages = append(stages, e.Stage)
	}
	before := time.Now().Truncate(time.Second)
	result := run(t.Context(), s, u.Port())[0]
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	if want := []Stage{Hello, Prepare, Prove, Check, Reserve, Sign, Commit, Install, Handshake, Seal, Close}; !slices.Equal(stages, want) {
		t.Errorf("stages %v, want %v", stages, want)
	}
	if result.Waited <= 0 || result.Signed <= 0 || result.Took < result.Waited+result.Signed || result.Stage != Close {
		t.Errorf("result %+v", result)
	}
	f.audit(u)
	if n := f.key.signatures.Load(); n != 2 {
		t.Errorf("%d signatures for a certificate and its twin", n)
	}

	i, e, r := f.inspect(u), f.entry(u), result.Receipt
	fingerprint, twin := sha256.Sum256(e.Certificate), sha256.Sum256(e.X509)
	firmware := f.image().FirmwareHash
	want := Receipt{
		Schema:      1,
		Serial:      f.order.Certificate.Range.First.String(),
		Chip:        hex.EncodeToString(i.Chip[:]),
		Key:         hex.EncodeToString(e.Key[:]),
		Product:     f.profile.Product,
		Order:       1,
		Station:     stationName,
		Certificate: hex.EncodeToString(fingerprint[:]),
		Code:        fmt.Sprintf("%X-%X", fingerprint[:2], fingerprint[2:4]),
		X509:        hex.EncodeToString(twin[:]),
		IssuedAt:    i.Unit.IssuedAt,
		SealedAt:    r.SealedAt,
		Firmware:    hex.EncodeToString(firmware[:]),
		Locks:       "0000fffe",
		Attestation: "none",
		Handshake:   "edhoc",
		FalsePeers:  "refused",
		Test:        true,
	}
	if *r != want || r.IssuedAt.Before(before) || r.SealedAt.Before(r.IssuedAt) || r.SealedAt.After(time.Now()) {
		t.Errorf("receipt %+v\nwant    %+v", *r, want)
	}
	var kept Receipt
	if err := json.Unmarshal(e.Details, &kept); err != nil || kept != *r {
		t.Errorf("receipt in the book: %s, %v", e.Details, err)
	}
	if i.Locks != (link.Locks{0, 0, 0xFF, 0xFE}) || !i.DebugClosed || i.Generation == nil || *i.Generation != 0 {
		t.Errorf("sealed unit: %+v", i.Hello)
	}
	verifyTwin(t, f.order, e.X509, i.Unit)
}

// verifyTwin holds the X.509 twin against the order's X.509 chain, as any X.509 tool does, and against the certificate.
func verifyTwin(t *testing.T, o *ca.Order, twin []byte, u *ca.UnitCertificate) {
	t.Helper()
	order, root := o.X509()
	pool := func(der []byte) *x509.CertPool {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		p := x509.NewCertPool()
		p.AddCert(c)
		return p
	}
	c, err := x509.ParseCertificate(twin)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Verify(x509.VerifyOptions{Roots: pool(root), Intermediates: pool(order), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		t.Errorf("X.509 twin: %v", err)
	}
	if c.SerialNumber.Uint64() != uint64(u.Serial) || !u.Key.Equal(c.PublicKey) || !c.NotBefore.Equal(u.IssuedAt) {
		t.Errorf("X.509 twin: serial number %x, issued %v", c.SerialNumber, c.NotBefore)
	}
}

// Eight lanes, three shifts: each unit has a serial number of its own, and the book all of them.
func TestLanes(t *testing.T) {
	t.Parallel()
	const lanes, shifts = 8, 3
	f := newFactory(t, lanes*shifts)
	s := f.station()
	var mu sync.Mutex
	busy, most := 0, 0
	s.Watch = func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		switch e.Stage {
		case Prepare:
			busy++
			most = max(most, busy)
		case Close:
			busy--
		}
	}
	for range shifts {
		var ports []string
		for range lanes {
			ports = append(ports, f.unit(sim.Options{}).Port())
		}
		for _, r := range run(t.Context(), s, ports...) {
			if r.Err != nil {
				t.Errorf("%s, stage %v: %v", r.Port, r.Stage, r.Err)
			}
		}
	}
	if most < 2 {
		t.Error("the lanes did not work side by side")
	}
	f.audit(f.units...)
	if n := f.key.signatures.Load(); n != lanes*shifts {
		t.Errorf("%d signatures for %d units", n, lanes*shifts)
	}
}

// A finished unit is left alone, whichever order is in force.
func TestProvisionedAlready(t *testing.T) {
	f := newFactory(t, 10)
	u := f.unit(sim.Options{})
	s := f.station()
	f.pass(s, u)
	carries := f.inspect(u).UnitCertificate
	f.fail(s, u.Port(), Hello, ErrProvisioned)

	other := demoProfile(t, "product: 7 ", "product: 8 ")
	order, key := f.newOrder(ca.OrderRequest{Count: 10, Profile: other})
	f.fail(f.stationFor(order, key, f.book), u.Port(), Hello, ErrProvisioned)

	if i := f.inspect(u); !bytes.Equal(i.UnitCertificate, carries) {
		t.Error("the unit carries another certificate")
	}
	f.audit(u)
	if n := f.key.signatures.Load() + key.signatures.Load(); n != 1 {
		t.Errorf("%d signatures", n)
	}
}
