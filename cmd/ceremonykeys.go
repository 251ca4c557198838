package cmd

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"maps"
	"slices"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/ceremony"
	"github.com/birthmark/birthmark/hsm"
)

// tokenKeys are a ceremony's keys, in tokens and files.
type tokenKeys struct {
	folder  string // of the authority
	options hsm.Options
}

// at gives a key's URI as this process reaches it, with its id.
func (k *tokenKeys) at(uri string, id []byte) (string, error) {
	uri, err := keyIn(k.folder, uri)
	if err != nil || id == nil {
		return uri, err
	}
	u, err := hsm.ParseURI(uri)
	if err != nil || u.File != "" {
		return uri, err
	}
	u.ID = id
	return u.String(), nil
}

func (k *tokenKeys) Look(uri string) (where string, taken bool, err error) {
	if uri, err = k.at(uri, nil); err != nil {
		return "", false, err
	}
	place, err := hsm.Look(uri, k.options)
	return place.Name, place.Taken, inHSM(err)
}

func (k *tokenKeys) Make(ctx context.Context, uri string, id []byte) (ceremony.Key, error) {
	uri, err := k.at(uri, id)
	if err != nil {
		return nil, err
	}
	return forCeremony(hsm.CreateKey(ctx, uri, k.options))
}

func (k *tokenKeys) Open(ctx context.Context, uri string, id []byte) (ceremony.Key, error) {
	uri, err := k.at(uri, id)
	if err != nil {
		return nil, err
	}
	return forCeremony(hsm.OpenKey(ctx, uri, k.options))
}

// ceremonyKey is a key whose logout counts: it is in the transcript.
type ceremonyKey struct{ hsm.Key }

func (k ceremonyKey) Close() error { return inHSM(k.Key.Close()) }

func forCeremony(key hsm.Key, err error) (ceremony.Key, error) {
	if err != nil {
		return nil, inHSM(err)
	}
	return ceremonyKey{key}, nil
}

func (k *tokenKeys) Discard(ctx context.Context, uri string, id []byte) (bool, error) {
	uri, err := k.at(uri, id)
	if err != nil {
		return false, err
	}
	found, err := hsm.DiscardKey(ctx, uri, k.options)
	return found, inHSM(err)
}

func (k *tokenKeys) Destroy(ctx context.Context, uri string, key *ecdsa.PublicKey) (bool, error) {
	uri, err := k.at(uri, nil)
	if err != nil {
		return false, err
	}
	err = hsm.DestroyKey(ctx, uri, key, k.options)
	if errors.Is(err, hsm.ErrNoKey) {
		return false, nil
	}
	return err == nil, inHSM(err)
}

func (k *tokenKeys) Divide(ctx context.Context, uri string, needed, shares int) (ceremony.Backup, error) {
	place, err := k.at(uri, nil)
	if err != nil {
		return nil, err
	}
	backup, secret, list, err := hsm.NewBackup(ctx, place, k.options, needed, shares)
	if err != nil {
		return nil, inHSM(err)
	}
	b := &tokenBackup{keys: k, backup: backup, secret: secret}
	if b.file, err = backup.Encode(); err != nil {
		return nil, err
	}
	key, err := ca.FormatKey(backup.Public)
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		b.pages = append(b.pages, sharePage(shareJSON{s.Number, s.Lines()}, len(list), needed, backup.Code(), key))
	}
	return b, nil
}

func (k *tokenKeys) Backup(file []byte) (ceremony.Backup, error) {
	backup, err := hsm.ParseBackup(file)
	if err != nil {
		return nil, err
	}
	return &tokenBackup{keys: k, backup: backup, file: file, reader: hsm.NewReader(backup), shares: map[int]hsm.Share{}}, nil
}

// tokenBackup is a key between its backup and a token.
type tokenBackup struct {
	keys   *tokenKeys
	backup *hsm.Backup
	file   []byte
	secret *hsm.Secret // nil until shares enough are typed
	pages  []string
	reader *hsm.Reader
	shares map[int]hsm.Share
}

func (b *tokenBackup) Code() string    { return b.backup.Code() }
func (b *tokenBackup) File() []byte    { return b.file }
func (b *tokenBackup) Pages() []string { return b.pages }

func (b *tokenBackup) Line(text string) (int, error) {
	share, err := b.reader.Line(text)
	if err == nil && share != nil {
		b.shares[share.Number] = *share
	}
	wanted := b.backup.Needed - len(b.shares)
	if err == nil && wanted == 0 {
		b.secret, err = b.backup.Combine(slices.Collect(maps.Values(b.shares)))
	}
	return wanted, err
}

func (b *tokenBackup) Restore(ctx context.Context, uri string, id []byte) (ceremony.Key, error) {
	uri, err := b.keys.at(uri, id)
	if err != nil {
		return nil, err
	}
	return forCeremony(hsm.RestoreKey(ctx, uri, b.keys.options, b.backup, b.secret))
}
