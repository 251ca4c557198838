package cmd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/birthmark/birthmark/hsm"
)

// keyOptions says how this run reaches a key; several keys of one run share modules.
func (p *program) keyOptions(modules *hsm.Modules) (hsm.Options, error) {
	s := p.settings
	o := hsm.Options{Module: s.Module, Modules: modules}
	var sources []string
	for _, source := range []struct {
		name  string
		given bool
		pin   hsm.PINSource
	}{
		{"pin-file", s.PINFile != "", hsm.PINFromFile(s.PINFile)},
		{"pin-fd", s.PINFD != noDescriptor, hsm.PINFromFD(s.PINFD)},
		{"pin-env", s.PINEnv != "", hsm.PINFromEnv(s.PINEnv)},
		{"pin-credential", s.PINCredential != "", hsm.PINFromCredential(s.PINCredential)},
	} {
		if source.given {
			sources = append(sources, source.name)
			o.PIN = source.pin
		}
	}
	if len(sources) > 1 {
		return hsm.Options{}, usage("PIN from %s: want one source", strings.Join(sources, " and "))
	}
	return o, nil
}

// makeKey makes the key at uri; with existing it takes the one that is there already, if there is one. It says which it was.
// options share modules.
func (p *program) makeKey(ctx context.Context, uri string, options hsm.Options, existing bool) (hsm.Key, error) {
	if !existing {
		key, err := hsm.CreateKey(ctx, uri, options)
		return p.named("made", key, err)
	}
	// The token stays open from the look to the making, so that its PIN is asked for once.
	if u, err := hsm.ParseURI(uri); err == nil && u.File == "" {
		token, err := hsm.Open(ctx, u, options)
		if err != nil {
			return nil, inHSM(err)
		}
		defer token.Close()
	}
	key, err := hsm.AdoptKey(ctx, uri, options)
	if errors.Is(err, hsm.ErrNoKey) {
		return p.makeKey(ctx, uri, options, false)
	}
	return p.named("using", key, err)
}

// named tells the person which key it is.
func (p *program) named(deed string, key hsm.Key, err error) (hsm.Key, error) {
	if err != nil {
		return nil, inHSM(err)
	}
	fmt.Fprintf(p.Err, "birthmark: %s %s\n", deed, key.Description())
	return key, nil
}

// keyIn gives a key as this process reaches it. In a file, a key file's relative path starts at the folder of the file that
// names it, so that both can be moved together.
func keyIn(folder, uri string) (string, error) {
	return placeKeyFile(uri, func(path string) (string, error) { return filepath.Join(folder, path), nil })
}

// keySeenFrom is the reverse: a key as it was typed here, to be written into a file in folder.
func keySeenFrom(folder, uri string) (string, error) {
	return placeKeyFile(uri, func(path string) (string, error) {
		from, err := filepath.Abs(folder)
		if err != nil {
			return "", err
		}
		to, err := filepath.Abs(path)
		if err != nil {
			return "", err
		}
		return filepath.Rel(from, to)
	})
}

func placeKeyFile(uri string, place func(path string) (string, error)) (string, error) {
	u, err := hsm.ParseURI(uri)
	if err != nil {
		return "", usage("%w", err)
	}
	if u.File == "" || filepath.IsAbs(u.File) {
		return uri, nil
	}
	if u.File, err = place(u.File); err != nil {
		return "", err
	}
	return u.String(), nil
}
