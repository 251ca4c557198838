//go:build cgo

package hsm

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/miekg/pkcs11"
)

// Modules holds the PKCS#11 modules that one process has initialised and the tokens it is logged in to.
// A login belongs to the whole process (PKCS#11 v2.40, section 2.6), so whoever opens several keys
// shares one Modules among them; a module that something else in the process uses is refused. The zero
// value is ready. A module is finalized with its last token, and never unloaded.
type Modules struct {
	// Trace, if it is set before a token is opened, is told of every call of a module: its function and its return code, such as
	// CKR_OK. It may be called from several goroutines at once.
	Trace func(function, code string)

	mu   sync.Mutex
	open map[string]*module // by path, links resolved
}

// module is one initialised module. Whoever calls into it holds mu for reading; reset holds it for
// writing, so it finds no call under way.
type module struct {
	native
	ctx   traced
	path  string
	users int               // tokens handed out, guarded by Modules.mu
	all   map[string]*token // by identity, guarded by Modules.mu

	mu         sync.RWMutex
	generation uint64 // counts C_Initialize; sessions, logins and handles of another one are void
}

// use returns the module at path, initialised, with one more user.
func (m *Modules) use(path string) (*module, error) {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if mod := m.open[path]; mod != nil {
		mod.users++
		return mod, nil
	}
	ctx, functions, err := load(path)
	if err != nil {
		return nil, err
	}
	functions.trace = m.Trace
	mod := &module{native: functions, ctx: traced{ctx, m.Trace}, path: path, users: 1, all: make(map[string]*token)}
	if err := mod.initialize(); err != nil {
		return nil, err
	}
	if m.open == nil {
		m.open = make(map[string]*module)
	}
	m.open[path] = mod
	return mod, nil
}

// release takes one user from a module.
func (m *Modules) release(mod *module) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.drop(mod)
}

func (m *Modules) drop(mod *module) error {
	mod.users--
	if mod.users > 0 {
		return nil
	}
	delete(m.open, mod.path)
	mod.mu.Lock()
	defer mod.mu.Unlock()
	if err := mod.ctx.Finalize(); err != nil {
		return fmt.Errorf("C_Finalize: %w", err)
	}
	return nil
}

// join returns the state of the one token that u names, with one more user.
func (m *Modules) join(mod *module, u URI, options Options) (*token, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	mod.mu.RLock()
	defer mod.mu.RUnlock()
	_, info, err := mod.find(u)
	if err != nil {
		return nil, err
	}
	identity := identify(info)
	t := mod.all[identity.String()]
	if t == nil {
		sessions := options.Sessions
		if sessions <= 0 {
			sessions = defaultSessions
		}
		// 0 and CK_UNAVAILABLE_INFORMATION (all ones) set no limit; the keeper takes one session.
		if most := info.MaxSessionCount; most > 1 && most-1 < uint(sessions) {
			sessions = int(most - 1)
		}
		prompt := fmt.Sprintf("PIN of token %q, serial number %s", identity.Token, identity.Serial)
		t = &token{module: mod, identity: identity, room: make(chan struct{}, sessions),
			login: login{source: options.PIN, prompt: prompt, own: options.OwnPIN}}
		mod.all[identity.String()] = t
	}
	t.users++
	return t, nil
}

// leave takes one user from a token and its module. The last one logs out, before anybody can join a
// new state of the same token: the login is one and the same.
func (m *Modules) leave(t *token) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	t.users--
	var err error
	if t.users == 0 {
		delete(t.module.all, t.identity.String())
		err = t.end()
	}
	return errors.Join(err, m.drop(t.module))
}

func (mod *module) initialize() error {
	err := mod.ctx.Initialize()
	if errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
		return fmt.Errorf("C_Initialize %q: %w; a login belongs to one owner: open its keys with one Modules", mod.path, err)
	}
	if err != nil {
		return fmt.Errorf("C_Initialize %q: %w", mod.path, err)
	}
	mod.generation++
	return nil
}

// reset gives a module that lost a token a fresh start: only C_Initialize makes every module look at
// its slots again. It does nothing if the given generation has ended already, so of many callers that
// saw one loss the first resets.
func (mod *module) reset(generation uint64) error {
	mod.mu.Lock()
	defer mod.mu.Unlock()
	if mod.generation != generation {
		return nil
	}
	if slots, err := mod.ctx.GetSlotList(true); err == nil {
		for _, slot := range slots {
			// Errors here and below say what is known, that the token is gone. C_Initialize decides.
			_ = mod.ctx.CloseAllSessions(slot)
		}
	}
	_ = mod.ctx.Finalize()
	return mod.initialize()
}
