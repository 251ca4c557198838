// Bench measures what the project promises, each figure beside its floor from the same run, into build/bench.json.
package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/hsm"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/link/sim"
	"github.com/birthmark/birthmark/provision"
	"github.com/birthmark/birthmark/scripts/figures"
	"github.com/birthmark/birthmark/templates"
)

const (
	units       = 100
	softHSM     = "/usr/lib/softhsm/libsofthsm2.so"
	tokenURI    = "pkcs11:token=bench"
	signingTime = 5 * time.Second
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	folder, err := os.MkdirTemp("", "birthmark-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	signing, key, signature, err := token(ctx, folder)
	if err != nil {
		return err
	}
	defer key.Close()
	list, err := line(ctx, folder)
	if err != nil {
		return err
	}
	times, err := unitTimes(ctx, folder, key, signature)
	if err != nil {
		return err
	}
	made, err := fleets(ctx, folder)
	if err != nil {
		return err
	}
	born, err := ceremony(ctx, folder)
	if err != nil {
		return err
	}
	return figures.Write("bench", slices.Concat(list, signing, times, born, made))
}

// line provisions units one after the other on a simulated chip that takes no time, so that what is left is the station's.
func line(ctx context.Context, folder string) ([]figures.Figure, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	station, err := newStation(ctx, filepath.Join(folder, "line"), key)
	if err != nil {
		return nil, err
	}
	defer station.Book.Close()
	folder, order := filepath.Join(folder, "line"), station.Order
	var overhead []float64
	var ports [6]string // of the first ones
	for i := range units {
		u, err := sim.Start(sim.Options{Dir: folder, Index: i, Image: device.Image{
			AnchorHash: order.Anchor.Hash(), Product: order.Profile.Product, Peers: order.Profile.Peers,
		}})
		if err != nil {
			return nil, err
		}
		if i < len(ports) {
			ports[i] = u.Port()
		}
		station.Run(ctx, []string{u.Port()}, func(r provision.Result) {
			own := r.Took - r.Waited - r.Signed
			overhead, err = append(overhead, own.Seconds()*1e3), r.Err
		})
		if err := errors.Join(err, u.Close()); err != nil {
			return nil, err
		}
	}
	var unit, pair float64
	var certificate []byte
	for e, err := range station.Book.Units(ctx) {
		if err != nil {
			return nil, err
		}
		unit = max(unit, float64(len(e.Certificate)))
		certificate = e.Certificate
		pair = max(pair, float64(len(e.Certificate)+len(order.Certificate.Raw)))
	}
	slices.Sort(overhead)
	floor, err := commits(folder)
	if err != nil {
		return nil, err
	}
	bytes, edhoc, err := handshakes(certificate, order.Certificate.Raw)
	if err != nil {
		return nil, err
	}
	operations, err := meetings(ports[:2])
	if err != nil {
		return nil, err
	}
	meetingTimes, err := handshakeTimes(ports[2:], edhoc)
	if err != nil {
		return nil, err
	}
	return slices.Concat([]figures.Figure{
		{Name: "certificate_unit", Value: unit, Unit: "B", Bar: figures.Of(135), Note: "largest of the run"},
		{Name: "certificate_unit_and_order", Value: pair, Unit: "B", Bar: figures.Of(340), Note: "largest of the run"},
		{Name: "station_overhead_ms", Value: overhead[len(overhead)/2], Unit: "ms", Floor: figures.Of(floor), Bar: figures.Of(20),
			Note: fmt.Sprintf("median of %d units, p99 %.1f; floor: as many durable writes to the same disk", units, overhead[len(overhead)*99/100])},
	}, bytes, operations, meetingTimes), nil
}

// newStation is a station in a new folder, with an authority of its own that ordered these units of it.
func newStation(ctx context.Context, folder string, orderKey crypto.Signer) (*provision.Station, error) {
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	root, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	next, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	public, ok := orderKey.Public().(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("the order key is not ECDSA")
	}
	text, err := templates.Product("demo-sensor")
	if err != nil {
		return nil, err
	}
	profile, err := ca.ParseProfile(text)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	authority, err := ca.Init(rand.Reader, root, next, ca.InitRequest{
		Folder: filepath.Join(folder, "authority"), Name: "bench", Test: true, RootURI: "root.key", NextURI: "next.key", Now: now,
	})
	if err != nil {
		return nil, err
	}
	order, err := authority.Order(rand.Reader, root, ca.OrderRequest{
		Request: &ca.Request{Station: "bench", Key: public}, Profile: profile, Count: units, Validity: time.Hour, Now: now,
	})
	if err != nil {
		return nil, err
	}
	book, err := ledger.Create(filepath.Join(folder, "ledger.db"), ledger.Identity{
		Anchor: order.Anchor.Hash(), Authority: "bench", Station: "bench", Test: true,
	})
	if err != nil {
		return nil, err
	}
	s := &provision.Station{Order: order, Bundle: &authority.Bundle, Key: orderKey, Book: book, Test: true, Now: time.Now, Baud: 115200}
	return s, s.CheckReady(ctx)
}

// commits measures three durable writes of a page, what reserve, commit and close cannot do without: the median in ms.
func commits(folder string) (float64, error) {
	f, err := os.CreateTemp(folder, "floor-")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	page := make([]byte, 4096)
	var spent []float64
	for range units {
		start := time.Now()
		for range 3 {
			if _, err := f.Write(page); err != nil {
				return 0, err
			}
			if err := f.Sync(); err != nil {
				return 0, err
			}
		}
		spent = append(spent, time.Since(start).Seconds()*1e3)
	}
	slices.Sort(spent)
	return spent[len(spent)/2], nil
}

// token measures signing through package hsm beside the module's own calls, on SoftHSM2. It gives a key in that token, and how long a
// bare signature takes.
func token(ctx context.Context, folder string) ([]figures.Figure, hsm.Key, time.Duration, error) {
	options, err := newToken(folder)
	if err != nil {
		return nil, nil, 0, err
	}
	f, err := hsm.Bench(ctx, tokenURI, options, signingTime)
	if err != nil {
		return nil, nil, 0, err
	}
	key, err := hsm.CreateKey(ctx, tokenURI+";object=order", options)
	if err != nil {
		return nil, nil, 0, err
	}
	return []figures.Figure{
		{Name: "hsm_sign_ratio", Value: f.OfRaw, Unit: "", Floor: figures.Of(1), Bar: figures.Of(0.9),
			Note: fmt.Sprintf("%.0f/s, each verified; bare C_Sign calls, unverified: %.0f/s", f.Sign.PerSecond, f.Raw.PerSecond)},
		{Name: "hsm_sign_ratio_verified", Value: f.OfChecked, Unit: "", Floor: figures.Of(1), Bar: figures.Of(0.9),
			Note: fmt.Sprintf("against bare C_Sign calls and the same verification: %.0f/s", f.Checked.PerSecond)},
	}, key, f.Raw.Median, nil
}

// newToken makes a token that lives as long as this run, and says how it is reached.
func newToken(folder string) (hsm.Options, error) {
	config := filepath.Join(folder, "softhsm2.conf")
	tokens := filepath.Join(folder, "tokens")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		return hsm.Options{}, err
	}
	text := fmt.Appendf(nil, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", tokens)
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return hsm.Options{}, err
	}
	if err := os.Setenv("SOFTHSM2_CONF", config); err != nil {
		return hsm.Options{}, err
	}
	sum := sha256.Sum256([]byte(folder))
	pin := fmt.Sprintf("%x", sum[:4])
	if out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", "bench", "--pin", pin, "--so-pin", pin).CombinedOutput(); err != nil {
		return hsm.Options{}, fmt.Errorf("softhsm2-util: %w\n%s", err, out)
	}
	pinFile := filepath.Join(folder, "pin")
	return hsm.Options{Module: softHSM, PIN: hsm.PINFromFile(pinFile)}, os.WriteFile(pinFile, []byte(pin+"\n"), 0o600)
}
