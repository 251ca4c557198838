// Package hsmtest gives tests PKCS#11 modules, each with tokens in a folder of its own, and a module that stands before
// another one and makes its calls fail.
package hsmtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const (
	soPIN     = "77441122"
	patience  = 10 * time.Second // for a server to start
	tpmHandle = 0x80000000       // the first of a TPM's transient objects (TPM 2.0, part 2, section 7.2)
	tpmLoaded = 3                // of them fit into swtpm
)

// Store is a PKCS#11 module with tokens.
type Store struct {
	Module string   // path
	Env    []string // KEY=VALUE, what the module reads when it is initialised

	start  func() (*exec.Cmd, error) // of the server behind it; nil if there is none
	server *exec.Cmd
	tpm    int // port; 0 if it is none
}

// SoftHSM gives SoftHSM2 with a token of each label.
func SoftHSM(folder, pin string, labels ...string) (*Store, error) {
	module, err := find("softhsm2", "softhsm/libsofthsm2.so")
	if err != nil {
		return nil, err
	}
	tokens := filepath.Join(folder, "tokens")
	if err := os.MkdirAll(tokens, 0o700); err != nil {
		return nil, err
	}
	conf := filepath.Join(folder, "softhsm2.conf")
	text := "directories.tokendir = " + tokens + "\nobjectstore.backend = file\nlog.level = ERROR\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	s := &Store{Module: module, Env: []string{"SOFTHSM2_CONF=" + conf}}
	return s, s.initialize(pin, labels)
}

// RemoteSoftHSM gives the same tokens behind `p11-kit server`: a socket is between the module and them, as with a network HSM.
func RemoteSoftHSM(folder, pin string, labels ...string) (*Store, error) {
	module, err := find("p11-kit-modules", "pkcs11/p11-kit-client.so")
	if err != nil {
		return nil, err
	}
	local, err := SoftHSM(folder, pin, labels...)
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(folder, "socket")
	s := &Store{Module: module, Env: []string{"P11_KIT_SERVER_ADDRESS=unix:path=" + socket, "XDG_RUNTIME_DIR=" + folder}}
	s.start = func() (*exec.Cmd, error) {
		if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		c := exec.Command("p11-kit", "server", "--foreground", "--provider", local.Module, "--name", socket, "pkcs11:")
		c.Env = append(os.Environ(), local.Env...)
		return c, begin(c, folder, func() error {
			c, err := net.Dial("unix", socket) // there is a moment between its name and its listening
			if err != nil {
				return err
			}
			return c.Close()
		})
	}
	return s, s.Return()
}

// TPM gives tpm2-pkcs11 on a TPM in software, with a token of each label.
func TPM(folder, pin string, labels ...string) (*Store, error) {
	module, err := find("libtpm2-pkcs11-1", "pkcs11/libtpm2_pkcs11.so", "pkcs11/libtpm2_pkcs11.so.1", "libtpm2_pkcs11.so.1")
	if err != nil {
		return nil, err
	}
	var s *Store
	for range 3 { // somebody else may take the ports first
		if s, err = beginTPM(module, folder); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	for _, label := range labels {
		if err := errors.Join(s.initialize(pin, []string{label}), s.Settle()); err != nil {
			return nil, errors.Join(err, s.Pull())
		}
	}
	return s, nil
}

func beginTPM(module, folder string) (*Store, error) {
	port, err := twoPorts()
	if err != nil {
		return nil, err
	}
	s := &Store{Module: module, tpm: port, Env: []string{
		fmt.Sprintf("TPM2_PKCS11_TCTI=swtpm:host=127.0.0.1,port=%d", port),
		"TPM2_PKCS11_STORE=" + folder, "TPM2_PKCS11_BACKEND=esysdb", "TPM2_PKCS11_LOG_LEVEL=0", "TSS2_LOG=all+NONE"}}
	s.start = func() (*exec.Cmd, error) {
		address := func(port int) string { return fmt.Sprintf("type=tcp,bindaddr=127.0.0.1,port=%d", port) }
		c := exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+folder, "--server", address(port), "--ctrl", address(port+1),
			"--flags", "not-need-init,startup-clear")
		return c, begin(c, folder, s.Settle)
	}
	return s, s.Return()
}

// find returns the first of the libraries that this machine has.
func find(debian string, names ...string) (string, error) {
	for _, folder := range []string{"/usr/lib/*-linux-gnu", "/usr/lib", "/usr/lib64", "/usr/local/lib"} {
		for _, name := range names {
			if paths, err := filepath.Glob(filepath.Join(folder, name)); err == nil && len(paths) > 0 {
				return paths[0], nil
			}
		}
	}
	return "", fmt.Errorf("%s is not on this machine; Debian's package is %s, which scripts/bootstrap installs", names[0], debian)
}

func (s *Store) initialize(pin string, labels []string) error {
	for _, label := range labels {
		c := exec.Command("softhsm2-util", "--module", s.Module, "--init-token", "--free", "--label", label, "--so-pin", soPIN, "--pin", pin)
		c.Env = append(os.Environ(), s.Env...)
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("softhsm2-util: %w\n%s", err, out)
		}
	}
	return nil
}

// begin starts a server and waits until it is ready. What it says goes into a file in its folder.
func begin(c *exec.Cmd, folder string, ready func() error) error {
	said, err := os.Create(filepath.Join(folder, "server.log"))
	if err != nil {
		return err
	}
	defer said.Close()
	c.Stdout, c.Stderr = said, said
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // p11-kit has one more process for each connection
	if err := c.Start(); err != nil {
		return err
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err = ready(); err == nil {
			return nil
		}
	}
	text, _ := os.ReadFile(said.Name())
	return errors.Join(fmt.Errorf("%s does not start: %w\n%s", c.Path, err, text), end(c))
}

// end kills a server and what it started.
func end(c *exec.Cmd) error {
	err := syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	c.Wait() // its status is that it was killed
	return err
}

// Served says whether a server is behind the module, which can die.
func (s *Store) Served() bool { return s.start != nil }

// Pull takes the tokens away: the server behind the module dies.
func (s *Store) Pull() error {
	if s.server == nil {
		return nil
	}
	err := end(s.server)
	s.server = nil
	return err
}

// Return brings them back.
func (s *Store) Return() (err error) {
	if s.start != nil {
		s.server, err = s.start()
	}
	return err
}

// Settle throws out what the module left behind in a TPM, which has room for three objects. On a machine with a TPM the
// kernel's resource manager does it. The module must not be in use.
func (s *Store) Settle() error {
	if s.tpm == 0 {
		return nil
	}
	tpm, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.tpm)))
	if err != nil {
		return err
	}
	defer tpm.Close()
	for i := range uint32(tpmLoaded) {
		// TPM2_FlushContext (TPM 2.0, part 3, section 28.4): TPM_ST_NO_SESSIONS, size, TPM_CC_FlushContext, handle.
		command := binary.BigEndian.AppendUint32([]byte{0x80, 0x01, 0, 0, 0, 14, 0, 0, 0x01, 0x65}, tpmHandle+i)
		if _, err := tpm.Write(command); err != nil {
			return err
		}
		if _, err := io.ReadFull(tpm, make([]byte, 10)); err != nil { // a header: nothing more, whether there was such an object or not
			return err
		}
	}
	return nil
}

// twoPorts finds a free port after which another one is free: swtpm's second is that of its control channel.
func twoPorts() (int, error) {
	for range 100 {
		first, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := first.Addr().(*net.TCPAddr).Port
		second, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+1)))
		first.Close()
		if err == nil {
			second.Close()
			return port, nil
		}
	}
	return 0, errors.New("no two free ports side by side")
}
