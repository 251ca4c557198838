//go:build !cgo

package hsm

import (
	"context"
	"crypto"
	"io"
	"time"
)

// The token half of this package, in a build that cannot load a PKCS#11 module. A Token or a Signer
// cannot be had here, so their methods are never reached.
type (
	Modules struct {
		Trace func(function, code string)
	}
	Token  struct{}
	Signer struct{}
)

func Open(context.Context, URI, Options) (*Token, error)    { return nil, ErrUnsupported }
func Test(context.Context, string, Options) (Report, error) { return Report{}, ErrUnsupported }
func Bench(context.Context, string, Options, time.Duration) (Figures, error) {
	return Figures{}, ErrUnsupported
}
func Look(uri string, _ Options) (Place, error) {
	u, err := ParseURI(uri)
	if err != nil {
		return Place{}, err
	}
	if u.File != "" {
		return lookAtFile(u.File)
	}
	return Place{}, ErrUnsupported
}
func List(string) ([]TokenInfo, error) { return nil, ErrUnsupported }

func (*Token) Close() error                                         { return nil }
func (*Token) Signer(context.Context, Selector) (*Signer, error)    { return nil, ErrUnsupported }
func (*Token) GenerateKey(context.Context, string) (*Signer, error) { return nil, ErrUnsupported }
func (*Token) create(context.Context, string, []byte) (*Signer, error) {
	return nil, ErrUnsupported
}
func (*Token) newBackup(context.Context, int, int) (*Backup, *Secret, []Share, error) {
	return nil, nil, nil, ErrUnsupported
}
func (*Token) restore(context.Context, string, []byte, *Backup, *Secret) (*Signer, error) {
	return nil, ErrUnsupported
}
func (*Token) adopt(context.Context, Selector) (*Signer, error) { return nil, ErrUnsupported }
func (*Token) DestroyKey(context.Context, Selector) error       { return ErrUnsupported }

func (*Signer) Public() crypto.PublicKey { return nil }
func (*Signer) Description() string      { return "" }
func (*Signer) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, ErrUnsupported
}
