package cmd

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"

	"github.com/birthmark/birthmark/hsm"
)

// settings are a machine's own: where its token, book and order are. Flag > environment (BIRTHMARK_KEY and so on) > file >
// default. Nothing that is reviewed or signed and no secret is ever among them.
type settings struct {
	Module        string `mapstructure:"module"`    // PKCS#11 module
	Key           string `mapstructure:"key"`       // the station's order key: PKCS#11 URI or key file
	Ledger        string `mapstructure:"ledger"`    // the station's book
	Order         string `mapstructure:"order"`     // the order file in force
	Bundle        string `mapstructure:"bundle"`    // what the station was told of its authority
	Authority     string `mapstructure:"authority"` // the officer's folder
	Baud          int    `mapstructure:"baud"`
	PINFile       string `mapstructure:"pin-file"` // where a PIN is, never a PIN
	PINEnv        string `mapstructure:"pin-env"`
	PINFD         int    `mapstructure:"pin-fd"`
	PINCredential string `mapstructure:"pin-credential"`
}

const (
	environment  = "BIRTHMARK"
	settingsName = "birthmark.yaml"
	noDescriptor = -1
)

var defaults = map[string]any{
	"module": "", "key": "", "ledger": "ledger.db", "order": "", "bundle": "bundle.cbor", "authority": "authority", "baud": 115200,
	"pin-file": "", "pin-env": "", "pin-fd": noDescriptor, "pin-credential": "",
}

// pathSettings may be relative in a settings file; they start at the file's own folder.
var pathSettings = []string{"module", "ledger", "order", "bundle", "authority", "pin-file"}

// load fills the settings for the command that is about to run.
func (p *program) load(c *cobra.Command) error {
	v := viper.New()
	for key, value := range defaults {
		v.SetDefault(key, value)
	}
	if err := p.readSettings(v); err != nil {
		return err
	}
	v.SetEnvPrefix(environment)
	v.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	v.AutomaticEnv()
	for key := range defaults {
		if flag := c.Flags().Lookup(key); flag != nil {
			if err := v.BindPFlag(key, flag); err != nil {
				return err
			}
		}
	}
	if err := v.UnmarshalExact(&p.settings); err != nil {
		return usage("settings: %w", err)
	}
	return nil
}

func (p *program) readSettings(v *viper.Viper) error {
	path := p.config
	if path == "" {
		path = os.Getenv(environment + "_CONFIG")
	}
	if path == "" {
		// The working folder is not searched: the file names a shared library that this process will load.
		folder, err := os.UserConfigDir()
		if err != nil {
			return nil
		}
		path = filepath.Join(folder, "birthmark", settingsName)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	v.SetConfigFile(path)
	if err := v.ReadInConfig(); err != nil {
		return usage("read settings %s: %w", path, err)
	}
	if err := v.UnmarshalExact(new(settings)); err != nil {
		return usage("settings %s: %w", path, err)
	}
	for _, key := range pathSettings {
		if value := v.GetString(key); v.InConfig(key) && value != "" && !filepath.IsAbs(value) {
			if err := v.MergeConfigMap(map[string]any{key: filepath.Join(filepath.Dir(path), value)}); err != nil {
				return usage("settings %s: %w", path, err)
			}
		}
	}
	return nil
}

// keyFlags gives a command that opens a key its flags.
func keyFlags(c *cobra.Command) {
	f := c.Flags()
	f.String("module", "", "PKCS#11 module (shared library) of the token")
	f.String("pin-file", "", "file with the PIN: one line, closed to group and world")
	f.Int("pin-fd", noDescriptor, "file descriptor to read the PIN from")
	f.String("pin-env", "", "name of an environment variable that holds the PIN")
	f.String("pin-credential", "", "name of a systemd credential that holds the PIN")
}

// keyOptions says how this run reaches a key; several keys of one run share modules.
func (p *program) keyOptions(modules *hsm.Modules) (hsm.Options, error) {
	s := p.settings
	var sources []hsm.PINSource
	if s.PINFile != "" {
		sources = append(sources, hsm.PINFromFile(s.PINFile))
	}
	if s.PINFD != noDescriptor {
		sources = append(sources, hsm.PINFromFD(s.PINFD))
	}
	if s.PINEnv != "" {
		sources = append(sources, hsm.PINFromEnv(s.PINEnv))
	}
	if s.PINCredential != "" {
		sources = append(sources, hsm.PINFromCredential(s.PINCredential))
	}
	if len(sources) > 1 {
		return hsm.Options{}, usage("%d PIN sources given, want one at most", len(sources))
	}
	o := hsm.Options{Module: s.Module, Modules: modules}
	if len(sources) == 1 {
		o.PIN = sources[0]
	}
	return o, nil
}
