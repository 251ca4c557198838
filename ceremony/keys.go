package ceremony

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/birthmark/birthmark/ca"
)

// openKeys opens the keys that are there, before it makes those that are not.
func (p *performance) openKeys(ctx context.Context) (map[string]Key, error) {
	keys := map[string]Key{}
	uses := p.plan.deed.uses(p)
	for _, u := range uses {
		if _, destroyed := p.journal.last(intends, stepDestroy+u.role); destroyed || u.make {
			continue
		}
		if err := ctx.Err(); err != nil {
			return keys, err
		}
		key, err := p.keys.Open(ctx, u.uri, nil)
		if err != nil {
			return keys, fmt.Errorf("%s: %w", u.role, err)
		}
		keys[u.role] = key
		if u.public != nil && !p.rehearsal && !u.public.Equal(key.Public()) {
			return keys, fmt.Errorf("%s, at %s, is not the key that it should be: %w", u.role, u.uri, ca.ErrVerify)
		}
		if err := p.journal.write(did, "open "+u.role, "Opened "+key.Description()+".", "public", encodeKey(key.Public().(*ecdsa.PublicKey))); err != nil {
			return keys, err
		}
	}
	for _, u := range uses {
		if !u.make {
			continue
		}
		key, err := p.makeKey(ctx, u)
		if err != nil {
			return keys, fmt.Errorf("%s: %w", u.role, err)
		}
		keys[u.role] = key
	}
	return keys, nil
}

// makeKey makes a key, or opens the one that this run made. What a making left that was cut short is destroyed: nothing was ever
// signed with it.
func (p *performance) makeKey(ctx context.Context, u use) (Key, error) {
	step := stepKey + u.role
	if e, is := p.journal.last(did, step); is {
		id, err := hex.DecodeString(e.Fields["id"])
		if err != nil {
			return nil, fmt.Errorf("transcript: id: %w: %w", err, ca.ErrVerify)
		}
		key, err := p.keys.Open(ctx, u.uri, id)
		if err != nil {
			return nil, err
		}
		if have := encodeKey(key.Public().(*ecdsa.PublicKey)); have != e.Fields["public"] {
			return nil, errors.Join(fmt.Errorf("the key at %s is not the one that this run made: %w", u.uri, ca.ErrVerify), key.Close())
		}
		return key, nil
	}
	if err := p.discard(ctx, u); err != nil {
		return nil, err
	}
	id := make([]byte, idSize)
	rand.Read(id)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	fields, text := []string{"uri", u.uri, "id", hex.EncodeToString(id)}, "Make the key "+u.role+" at "+u.uri+"."
	if u.shares != nil && u.shares.Copy != "" {
		fields = append(fields, "copy", u.shares.Copy)
		text = "Make the key " + u.role + " at " + u.uri + ", and the same key at " + u.shares.Copy + "."
	}
	if err := p.journal.write(intends, step, text, fields...); err != nil {
		return nil, err
	}
	var key Key
	var err error
	made := "No attestation of where it was made."
	switch {
	case u.shares != nil:
		key, err = p.divide(ctx, u, id)
		made = "It is in its backup too."
	case u.backup != nil:
		key, err = p.restore(ctx, u, id)
		made = "It came from its backup."
	default:
		key, err = p.keys.Make(ctx, u.uri, id)
	}
	if err != nil {
		return nil, err
	}
	public := encodeKey(key.Public().(*ecdsa.PublicKey))
	err = p.journal.write(did, step, "There is now "+key.Description()+". Its attributes were read back, and it signed. "+made,
		"id", hex.EncodeToString(id), "public", public)
	if err != nil {
		return nil, errors.Join(err, key.Close())
	}
	return key, nil
}

// discard destroys what an attempt of this run to make a key left behind.
func (p *performance) discard(ctx context.Context, u use) error {
	e, tried := p.journal.last(intends, stepKey+u.role)
	if !tried {
		return nil
	}
	if gone, is := p.journal.last(undone, stepKey+u.role); is && gone.Number > e.Number {
		return nil
	}
	id, err := hex.DecodeString(e.Fields["id"])
	if err != nil {
		return fmt.Errorf("transcript: id: %w: %w", err, ca.ErrVerify)
	}
	found, err := p.keys.Discard(ctx, e.Fields["uri"], id)
	if err != nil {
		return err
	}
	if second := e.Fields["copy"]; second != "" {
		there, err := p.keys.Discard(ctx, second, id)
		if err != nil {
			return err
		}
		found = found || there
	}
	text := "Nothing was left of the key " + u.role + "."
	if found {
		text = "Destroyed the key " + u.role + " that this run had made, at " + e.Fields["uri"] + "."
	}
	return p.journal.write(undone, stepKey+u.role, text)
}
