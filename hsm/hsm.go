// Package hsm opens the keys that Birthmark signs with: P-256 keys inside a PKCS#11 v2.40 token, or in
// an encrypted PKCS#8 file. Either comes out as a crypto.Signer that takes SHA-256 digests, returns
// ASN.1 DER and has verified every signature it returns.
//
// A PIN reaches exactly one token, once. A token that was lost comes back without the caller noticing,
// or as ErrLost.
package hsm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Errors that a caller acts on. Where a module answered, its return code is in the text (CKR_...).
var (
	ErrNoToken     = errors.New("no such token")
	ErrAmbiguous   = errors.New("more than one match")
	ErrPIN         = errors.New("wrong PIN or passphrase")
	ErrPINLocked   = errors.New("the token takes no PIN")
	ErrPINDefault  = errors.New("a PIN that everybody knows")
	ErrNoKey       = errors.New("no such key")
	ErrKeyExists   = errors.New("key exists already")
	ErrHalfKey     = errors.New("only the public half of a key is there")
	ErrLost        = errors.New("token lost")
	ErrLeft        = errors.New("a key pair may be left in the token") // of a key that was not made
	ErrSign        = errors.New("sign")                                // what Sign returned
	ErrUnsupported = errors.New("this birthmark was built without cgo, so PKCS#11 tokens are not supported; use a build with cgo")
)

// Options say how a key is reached. The zero value asks at the terminal.
type Options struct {
	Module   string    // absolute path of the PKCS#11 module; a URI's module-path goes before it
	PIN      PINSource // where the URI has no pin-source of its own; the zero value is the terminal
	OwnPIN   bool      // refuse PINs that tokens are delivered with (ErrPINDefault), which are not offered then
	Sessions int       // signatures in flight at once on a token; 0 is defaultSessions

	// Modules lets several tokens and keys of one process share a module and a login. Nil gives this key
	// a module of its own, which refuses to be opened twice.
	Modules *Modules
}

// Key signs for one P-256 key, wherever it lives. Sign takes a SHA-256 digest (32 bytes) and
// crypto.SHA256, and returns an ASN.1 DER signature (RFC 3279, section 2.2.3) that verifies under
// Public, or an error that wraps ErrSign. It is safe for concurrent use until Close, which logs out of the token.
type Key interface {
	crypto.Signer
	io.Closer
	Description() string // where the key is, for people; no secret
}

// OpenKey opens the one key that uri names: a PKCS#11 URI (RFC 7512) or a key file, see ParseURI.
// Errors wrap ErrNoToken, ErrAmbiguous, ErrPIN, ErrPINLocked, ErrNoKey, ErrLost or ErrUnsupported.
func OpenKey(ctx context.Context, uri string, options Options) (Key, error) {
	return withKey(ctx, uri, options, openFile, func(ctx context.Context, token *Token, u URI) (*Signer, error) {
		return token.Signer(ctx, u.Key())
	})
}

// AdoptKey is OpenKey for a key that becomes an authority's or a station's and that was there before: it refuses one that its token
// would give out, or that is good for more than signing.
func AdoptKey(ctx context.Context, uri string, options Options) (Key, error) {
	return withKey(ctx, uri, options, openFile, func(ctx context.Context, token *Token, u URI) (*Signer, error) {
		return token.adopt(ctx, u.Key())
	})
}

// CreateKey makes a P-256 key where uri says and opens it: in a token under the URI's object, which is
// its label, and its id, random if it names none, or in a new encrypted file. It never replaces a key: errors wrap ErrKeyExists, ErrHalfKey, ErrLeft and
// those of OpenKey.
func CreateKey(ctx context.Context, uri string, options Options) (Key, error) {
	return withKey(ctx, uri, options, createFile, func(ctx context.Context, token *Token, u URI) (*Signer, error) {
		return token.create(ctx, u.Object, u.ID)
	})
}

// DestroyKey destroys the key that uri names, which must be this one, and looks that it is gone: in a token both halves, in a file the
// file itself. What was copied elsewhere before is not reached. Errors wrap those of OpenKey; ErrNoKey: it is gone already.
func DestroyKey(ctx context.Context, uri string, public *ecdsa.PublicKey, options Options) error {
	u, err := ParseURI(uri)
	if err != nil {
		return err
	}
	if u.File != "" {
		return destroyFile(ctx, u.File, public, options.PIN)
	}
	token, err := Open(ctx, u, options)
	if err != nil {
		return err
	}
	want := u.Key()
	want.Public = public
	return errors.Join(token.DestroyKey(ctx, want), token.Close())
}

// DiscardKey destroys what is left of a key whose making was cut short, and says whether anything was: in a token whatever has the label
// and the id of uri, which must name both, in a file the file, whatever is in it. Errors wrap those of OpenKey.
func DiscardKey(ctx context.Context, uri string, options Options) (found bool, err error) {
	u, err := ParseURI(uri)
	if err != nil {
		return false, err
	}
	if u.File != "" {
		err := os.Remove(u.File)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
	if u.Object == "" || u.ID == nil {
		return false, errors.New("discard key: the URI must name its object and id")
	}
	token, err := Open(ctx, u, options)
	if err != nil {
		return false, err
	}
	err = token.DestroyKey(ctx, u.Key())
	found = err == nil
	if errors.Is(err, ErrNoKey) {
		err = nil
	}
	return found, errors.Join(err, token.Close())
}

// Place is where a key is or will be.
type Place struct {
	Name  string // the token's label and serial number, or the file's path
	Taken bool   // a key is there already
}

func lookAtFile(path string) (Place, error) {
	p := Place{Name: fmt.Sprintf("key file %q", path)}
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	p.Taken = err == nil
	return p, err
}

func withKey(ctx context.Context, text string, options Options,
	file func(context.Context, string, PINSource) (Key, error),
	inToken func(context.Context, *Token, URI) (*Signer, error)) (Key, error) {
	u, err := ParseURI(text)
	if err != nil {
		return nil, err
	}
	if u.File != "" {
		return file(ctx, u.File, options.PIN)
	}
	token, err := Open(ctx, u, options)
	if err != nil {
		return nil, err
	}
	signer, err := inToken(ctx, token, u)
	if err != nil {
		return nil, errors.Join(err, token.Close())
	}
	return tokenKey{signer, token}, nil
}

// tokenKey is the key of a token that was opened for it alone.
type tokenKey struct {
	*Signer
	token *Token
}

func (k tokenKey) Close() error { return k.token.Close() }

// checkDigest refuses what is not a SHA-256 digest: CKM_ECDSA signs any bytes it is given.
func checkDigest(digest []byte, opts crypto.SignerOpts) error {
	if opts == nil || opts.HashFunc() != crypto.SHA256 || len(digest) != sha256.Size {
		return fmt.Errorf("sign: want a SHA-256 digest of %d bytes, have %d bytes", sha256.Size, len(digest))
	}
	return nil
}

// verified returns der if it is a signature of digest. It is the last step before a signature leaves
// this package: a fault in a token or in memory must not become a published signature, which can give
// the key away.
func verified(public *ecdsa.PublicKey, digest, der []byte) ([]byte, error) {
	if !ecdsa.VerifyASN1(public, digest, der) {
		return nil, errors.New("the signature does not verify under the public key")
	}
	return der, nil
}
