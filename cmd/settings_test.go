package cmd

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// loaded gives the settings of a command that has all their flags, for these arguments, this settings file ("" = none) and
// this environment.
func loaded(t *testing.T, file string, environment map[string]string, args ...string) (settings, string, error) {
	t.Helper()
	folder := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", folder)
	t.Setenv("BIRTHMARK_CONFIG", "")
	for name, value := range environment {
		t.Setenv(name, value)
	}
	p := new(program)
	if file != "" {
		p.config = filepath.Join(folder, "station.conf") // the name does not say that it is YAML
		if err := os.WriteFile(p.config, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := &cobra.Command{}
	for _, s := range allSettings {
		settingFlags(c, s.name)
	}
	if err := c.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	err := p.load(c)
	return p.settings, folder, err
}

// TestPrecedence: flag > environment > file > default, for every setting.
func TestPrecedence(t *testing.T) {
	value := func(s settings, name string) any {
		return map[string]any{
			"authority": s.Authority, "baud": s.Baud, "bundle": s.Bundle, "captured": s.Captured, "key": s.Key, "ledger": s.Ledger, "module": s.Module, "order": s.Order,
			"pin-credential": s.PINCredential, "pin-env": s.PINEnv, "pin-fd": s.PINFD, "pin-file": s.PINFile,
		}[name]
	}
	for _, s := range allSettings {
		t.Run(s.name, func(t *testing.T) {
			inFile, inEnvironment, inFlag := any("/file.key"), any("/environment.key"), any("/flag.key")
			text := [3]string{"/file.key", "/environment.key", "/flag.key"}
			if _, number := s.value.(int); number {
				inFile, inEnvironment, inFlag = 1, 2, 3
				text = [3]string{"1", "2", "3"}
			}
			variable := map[string]string{"BIRTHMARK_" + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_")): text[1]}
			file, flag := s.name+": "+text[0]+"\n", "--"+s.name+"="+text[2]
			for _, c := range []struct {
				file        string
				environment map[string]string
				args        []string
				want        any
			}{
				{want: s.value},
				{file: file, want: inFile},
				{file: file, environment: variable, want: inEnvironment},
				{file: file, environment: variable, args: []string{flag}, want: inFlag},
			} {
				got, _, err := loaded(t, c.file, c.environment, c.args...)
				if err != nil {
					t.Fatal(err)
				}
				if value(got, s.name) != c.want {
					t.Errorf("file %q, environment %v, arguments %q: %v, want %v", c.file, c.environment, c.args, value(got, s.name), c.want)
				}
				for name := range c.environment {
					t.Setenv(name, "")
				}
			}
		})
	}
}

// TestRelativePaths: in a file they start at the file's folder, elsewhere at the working folder.
func TestRelativePaths(t *testing.T) {
	got, folder, err := loaded(t, "ledger: books/a.db\norder: /media/b.order\nkey: keys/c.key\n", nil, "--bundle=d.cbor")
	if err != nil {
		t.Fatal(err)
	}
	want := settings{Ledger: filepath.Join(folder, "books/a.db"), Order: "/media/b.order", Key: "file:" + filepath.Join(folder, "keys/c.key"), Bundle: "d.cbor"}
	if got.Ledger != want.Ledger || got.Order != want.Order || got.Key != want.Key || got.Bundle != want.Bundle {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestBadSettings(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{"modul: /x.so\n", `no setting "modul"`},
		{"station:\n  key: x.key\n", `no setting "station.key"`},
		{"baud: fast\n", "'baud'"},
		{"baud: 0\n", "baud 0: want a speed"},
		{"key: order-1\n", "want pkcs11:..., file:PATH"},
		{"key: 'pkcs11:token=a;slot-id=1'\n", "slot-id is refused"},
		{"a: b: c\n", "yaml"},
	} {
		_, _, err := loaded(t, c.file, nil)
		if err == nil || !strings.Contains(sentence(err), c.want) {
			t.Errorf("%q: %v, want %q", c.file, err, c.want)
			continue
		}
		if code, _ := outcome(err); code != exitUsage {
			t.Errorf("%q: exit code %d", c.file, code)
		}
	}
}

// TestPINSources: one at most.
func TestPINSources(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, ""},
		{[]string{"--pin-file=a"}, ""},
		{[]string{"--pin-fd=0"}, ""},
		{[]string{"--pin-file=a", "--pin-fd=3"}, "PIN from pin-file and pin-fd: want one source"},
		{[]string{"--pin-env=A", "--pin-credential=b"}, "PIN from pin-env and pin-credential: want one source"},
	} {
		s, _, err := loaded(t, "", nil, c.args...)
		if err != nil {
			t.Fatal(err)
		}
		_, err = (&program{settings: s}).keyOptions(nil)
		if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%q: %v, want %q", c.args, err, c.want)
		}
	}
}

// TestKeyFilesMove: what is written into a file of one folder is found again from any other.
func TestKeyFilesMove(t *testing.T) {
	for _, c := range []struct{ folder, typed, written, read string }{
		{"authority", "root.key", "file:../root.key", "file:root.key"},
		{"a/b", "keys/root.key", "file:../../keys/root.key", "file:keys/root.key"},
		{"authority", "file:authority/root.key", "file:root.key", "file:authority/root.key"},
		{"authority", "/vault/root.key", "/vault/root.key", "/vault/root.key"},
		{"authority", "pkcs11:token=a;object=b", "pkcs11:token=a;object=b", "pkcs11:token=a;object=b"},
	} {
		written, err := keySeenFrom(c.folder, c.typed)
		if err != nil || written != c.written {
			t.Errorf("%s from %s: %q, %v, want %q", c.typed, c.folder, written, err, c.written)
		}
		if read, err := keyIn(c.folder, written); err != nil || read != c.read {
			t.Errorf("%s in %s: %q, %v, want %q", written, c.folder, read, err, c.read)
		}
	}
	if _, err := keySeenFrom("authority", "root"); !errors.Is(err, errUsage) {
		t.Errorf("got %v", err)
	}
}
