package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/birthmark/birthmark/hsm"
)

// settings are a machine's own: where its token, book and order are. Flag > environment (BIRTHMARK_KEY and so on) > file >
// default. Nothing that is reviewed or signed and no secret is ever among them.
type settings struct {
	Module        string `mapstructure:"module"`
	Key           string `mapstructure:"key"`
	Ledger        string `mapstructure:"ledger"`
	Order         string `mapstructure:"order"`
	Bundle        string `mapstructure:"bundle"`
	Authority     string `mapstructure:"authority"`
	Captured      string `mapstructure:"captured"`
	Baud          int    `mapstructure:"baud"`
	PINFile       string `mapstructure:"pin-file"` // where a PIN is, never a PIN
	PINFD         int    `mapstructure:"pin-fd"`
	PINEnv        string `mapstructure:"pin-env"`
	PINCredential string `mapstructure:"pin-credential"`
}

const (
	environment   = "BIRTHMARK"
	settingsName  = "birthmark.yaml"
	defaultBundle = "bundle.cbor"
	defaultLedger = "ledger.db"
	noDescriptor  = -1
)

// setting is one of the settings: its flag, its line in a file and its environment variable have one name.
type setting struct {
	name  string
	value any  // default, a string or an int
	path  bool // a relative one in a file starts at the file's own folder
	usage string
}

var allSettings = []setting{
	{"authority", "authority", true, "the authority's folder"},
	{"baud", 115200, false, "speed of the serial line, bits a second"},
	{"bundle", defaultBundle, true, "the authority's bundle, from 'birthmark ca bundle'"},
	{"captured", "", true, "goods-in's capture lists: a folder of *.capture files, or one list"},
	{"key", "", false, "the key or its token: PKCS#11 URI, or a key file"},
	{"ledger", defaultLedger, true, "the station's ledger"},
	{"module", "", true, "PKCS#11 module (shared library) of the token"},
	{"order", "", true, "the order file, from 'birthmark ca order'"},
	{"pin-credential", "", false, "name of a systemd credential that holds the PIN"},
	{"pin-env", "", false, "name of an environment variable that holds the PIN"},
	{"pin-fd", noDescriptor, false, "file descriptor to read the PIN from, -1 for none"},
	{"pin-file", "", true, "file with the PIN: one line, closed to group and world"},
}

// keySettings are what a command needs that opens a key.
var keySettings = []string{"module", "pin-file", "pin-fd", "pin-env", "pin-credential"}

// settingFlags gives a command the flags of the settings that it uses.
func settingFlags(c *cobra.Command, names ...string) {
	for _, s := range allSettings {
		if !slices.Contains(names, s.name) {
			continue
		}
		if n, ok := s.value.(int); ok {
			c.Flags().Int(s.name, n, s.usage)
		} else {
			c.Flags().String(s.name, s.value.(string), s.usage)
		}
	}
}

// load fills the settings for the command that is about to run.
func (p *program) load(c *cobra.Command) error {
	v := viper.New()
	for _, s := range allSettings {
		v.SetDefault(s.name, s.value)
	}
	if err := p.readSettings(v); err != nil {
		return err
	}
	v.SetEnvPrefix(environment)
	v.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	v.AutomaticEnv()
	for _, s := range allSettings {
		flag := c.Flags().Lookup(s.name)
		if flag == nil {
			continue
		}
		if _, many := flag.Value.(pflag.SliceValue); many { // not the setting: 'ca rotate' takes many ledgers, 'ca revoke' orders
			continue
		}
		if err := v.BindPFlag(s.name, flag); err != nil {
			return err
		}
	}
	if err := v.UnmarshalExact(&p.settings); err != nil {
		return usage("settings: %w", err)
	}
	if p.settings.Baud <= 0 {
		return usage("baud %d: want a speed in bits a second, such as 115200", p.settings.Baud)
	}
	if p.settings.Key != "" {
		if _, err := hsm.ParseURI(p.settings.Key); err != nil {
			return usage("key: %w", err)
		}
	}
	if p.settings.Module != "" {
		// What loads it takes absolute paths alone: the search path of libraries is no place for a token's module.
		module, err := filepath.Abs(p.settings.Module)
		if err != nil {
			return err
		}
		p.settings.Module = module
	}
	return nil
}

// settingsPath is the file to read, or "" where there is none. The working folder is not searched: the file names a
// shared library that this process will load.
func (p *program) settingsPath() string {
	if p.config != "" {
		return p.config
	}
	if path := os.Getenv(environment + "_CONFIG"); path != "" {
		return path
	}
	folder, err := os.UserConfigDir()
	if err != nil {
		return "" // a service without a home has no configuration folder either
	}
	path := filepath.Join(folder, "birthmark", settingsName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return path
}

func (p *program) readSettings(v *viper.Viper) error {
	path := p.settingsPath()
	if path == "" {
		return nil
	}
	v.SetConfigFile(path)
	v.SetConfigType("yaml")
	err := v.ReadInConfig()
	if err == nil {
		err = checkNames(v)
	}
	if err == nil {
		err = v.UnmarshalExact(new(settings))
	}
	if err == nil {
		err = relocate(v, filepath.Dir(path))
	}
	if err != nil {
		return usage("settings %s: %w", path, err)
	}
	return nil
}

// checkNames finds a setting that there is not, which UnmarshalExact finds too and tells in words of its own.
func checkNames(v *viper.Viper) error {
	var names []string
	for _, s := range allSettings {
		names = append(names, s.name)
	}
	for _, key := range v.AllKeys() {
		if !slices.Contains(names, key) {
			return fmt.Errorf("no setting %q; there are %s", key, strings.Join(names, ", "))
		}
	}
	return nil
}

// relocate makes what a settings file says of paths mean the same in any working folder.
func relocate(v *viper.Viper, folder string) error {
	moved := make(map[string]any)
	for _, s := range allSettings {
		value := v.GetString(s.name)
		switch {
		case !v.InConfig(s.name) || value == "":
		case s.name == "key":
			key, err := keyIn(folder, value)
			if err != nil {
				return fmt.Errorf("key: %w", err)
			}
			moved[s.name] = key
		case s.path && !filepath.IsAbs(value):
			moved[s.name] = filepath.Join(folder, value)
		}
	}
	return v.MergeConfigMap(moved)
}
