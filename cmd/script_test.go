package cmd

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/birthmark/birthmark/fleet/spoil"
	"github.com/birthmark/birthmark/hsm/hsmtest"
	"github.com/birthmark/birthmark/link"
)

// TestMain lets the scripts run birthmark as a process of its own, which is this very test program.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"birthmark": func() { os.Exit(recorded(os.Args[1:])) }})
}

// TestStories runs the stories in testdata: what operators, security officers and CI jobs do, and what goes wrong. Beside
// testscript's own commands they have those of Cmds, and $ROOT is the module's folder.
func TestStories(t *testing.T) { testscript.Run(t, stories(t, "testdata")) }

// stories are the scripts of a folder.
func stories(t *testing.T, dir string) testscript.Params {
	build := goBuild(t)
	return testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars, "RECORDS="+filepath.Join(e.WorkDir, ".records"), "XDG_CONFIG_HOME="+filepath.Join(e.WorkDir, ".config"))
			e.Vars = append(e.Vars, build...)
			e.Defer(func() {
				if t, ok := e.T().(interface{ Failed() bool }); ok && t.Failed() {
					return // its background runs have not ended
				}
				if err := audit(e.WorkDir); err != nil {
					e.T().Fatal(err)
				}
			})
			return os.Mkdir(filepath.Join(e.WorkDir, ".records"), 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"tokens":  makeTokens,
			"store":   makeStore,
			"factory": makeFactory,
			"exits":   exits,
			"exited":  exited,
			"hears":   hears,
			"control": control,
			"occupy":  occupy,
			"unit":    wrongUnit,
			"vector":  vector,
			"page":    page,
			"killed":  killed,
			"judged":  judged,
		},
	}
}

// goBuild gives scripts what `go build` needs of this process's environment.
func goBuild(t *testing.T) []string {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE", "GOFLAGS").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(out), "\n")
	return []string{"ROOT=" + root, "GOCACHE=" + lines[0], "GOMODCACHE=" + lines[1], "GOFLAGS=" + lines[2]}
}

const pin = "648219-nobody-reads-this"

// A record has all that one run of birthmark printed, between these two lines.
const (
	commandLine = "$ birthmark "
	exitLine    = "exit "
)

// recorded runs the command line and keeps a record of it. Names of records sort by the time when the run began.
func recorded(args []string) int {
	file, err := os.CreateTemp(os.Getenv("RECORDS"), fmt.Sprintf("%020d-*", time.Now().UnixNano()))
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(file, "%s%s\n", commandLine, strings.Join(args, " "))
	code := Main(args, Streams{os.Stdin, io.MultiWriter(os.Stdout, file), io.MultiWriter(os.Stderr, file)})
	fmt.Fprintf(file, "%s%d\n", exitLine, code)
	return code
}

// lastRecord finds the newest run of a command.
func lastRecord(ts *testscript.TestScript, command string) string {
	files, err := filepath.Glob(filepath.Join(ts.Getenv("RECORDS"), "*"))
	ts.Check(err)
	for _, path := range slices.Backward(files) {
		if text := ts.ReadFile(path); strings.HasPrefix(text, commandLine+command) {
			return text
		}
	}
	return ""
}

// audit holds every run of a story against what is promised of all: a failure is one sentence and a hint, and exits with a
// code; success prints no error; and the PIN is nowhere but in the files that it is read from.
func audit(folder string) error {
	records, err := filepath.Glob(filepath.Join(folder, ".records", "*"))
	if err != nil {
		return err
	}
	for _, path := range records {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := auditRecord(string(text)); err != nil {
			return fmt.Errorf("%w:\n%s", err, text)
		}
	}
	return filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || strings.HasPrefix(entry.Name(), "pin") {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil && bytes.Contains(data, []byte(pin)) {
			err = fmt.Errorf("%s has the PIN in it", path)
		}
		return err
	})
}

func auditRecord(text string) error {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	failures := 0
	for i, line := range lines {
		if !strings.HasPrefix(line, "birthmark: error: ") {
			continue
		}
		failures++
		if i+1 == len(lines) || !strings.HasPrefix(lines[i+1], "birthmark: hint: ") {
			return errors.New("an error without a hint")
		}
	}
	switch code, ended := strings.CutPrefix(lines[len(lines)-1], exitLine); {
	case !ended:
		return errors.New("the run did not end by itself")
	case (code == "0") != (failures == 0):
		return fmt.Errorf("%d errors and exit code %s", failures, code)
	}
	return nil
}

// tokens LABEL... makes a SoftHSM2 store with a token of each label. Their PIN is in the file pin.
func makeTokens(ts *testscript.TestScript, neg bool, labels []string) {
	work := ts.Getenv("WORK")
	store, err := hsmtest.SoftHSM(filepath.Join(work, ".softhsm"), pin, labels...)
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(work, "pin"), []byte(pin+"\n"), 0o600))
	for _, variable := range store.Env {
		name, value, _ := strings.Cut(variable, "=")
		ts.Setenv(name, value)
	}
	ts.Setenv("BIRTHMARK_MODULE", store.Module)
	ts.Setenv("BIRTHMARK_PIN_FILE", filepath.Join(work, "pin"))
}

// store remote|tpm LABEL... makes tokens behind p11-kit or in a TPM, with the PIN of the others. $REMOTE or $TPM is their module.
func makeStore(ts *testscript.TestScript, neg bool, args []string) {
	kinds := map[string]func(folder, pin string, labels ...string) (*hsmtest.Store, error){"remote": hsmtest.RemoteSoftHSM, "tpm": hsmtest.TPM}
	if neg || len(args) < 2 || kinds[args[0]] == nil {
		ts.Fatalf("usage: store remote|tpm LABEL...")
	}
	folder := filepath.Join(ts.Getenv("WORK"), "."+args[0])
	ts.Check(os.Mkdir(folder, 0o700))
	store, err := kinds[args[0]](folder, pin, args[1:]...)
	ts.Check(err)
	ts.Defer(func() { ts.Check(store.Pull()) })
	for _, variable := range store.Env {
		name, value, _ := strings.Cut(variable, "=")
		ts.Setenv(name, value)
	}
	ts.Setenv(strings.ToUpper(args[0]), store.Module)
}

// factory COUNT does what journey.txtar tells step by step: an authority, a station and an order of COUNT units.
func makeFactory(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: factory COUNT")
	}
	makeTokens(ts, false, []string{"officer", "vault", "station"})
	for _, line := range []string{
		"ca init --name ACME --prefix 02-1A-2B --root pkcs11:token=officer;object=root-1 --next pkcs11:token=vault;object=root-2",
		"ca bundle --out bundle.cbor",
		"station init --name line-1 --dir station --bundle bundle.cbor --key pkcs11:token=station;object=order-1",
		"ca order --request station/request.pem --profile demo-sensor --out station/current.order --count " + args[0],
	} {
		ts.Check(ts.Exec("birthmark", strings.Fields(line)...))
	}
	ts.Setenv("BIRTHMARK_CONFIG", filepath.Join(ts.Getenv("WORK"), "station", "birthmark.yaml"))
}

// exits CODE PROGRAM ARGUMENT... runs a program that must end with exactly this exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGUMENT...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// exited CODE COMMAND... says that the newest run of a birthmark command, which may have been in the background, ended with
// this exit code.
func exited(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exited CODE COMMAND...")
	}
	if text := lastRecord(ts, strings.Join(args[1:], " ")); !strings.HasSuffix(text, "\n"+exitLine+args[0]+"\n") {
		ts.Fatalf("want exit code %s of\n%s", args[0], text)
	}
}

// hears COMMAND... PATTERN waits until the newest run of a birthmark command has printed what the pattern matches.
func hears(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: hears COMMAND... PATTERN")
	}
	command, pattern := strings.Join(args[:len(args)-1], " "), regexp.MustCompile(args[len(args)-1])
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if pattern.MatchString(lastRecord(ts, command)) {
			return
		}
	}
	ts.Fatalf("birthmark %s has not said %q:\n%s", command, pattern, lastRecord(ts, command))
}

// control SOCKET LINE PATTERN says a line at a control socket, and wants an answer that the pattern matches.
func control(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: control SOCKET LINE PATTERN")
	}
	socket, err := net.Dial("unix", ts.MkAbs(args[0]))
	ts.Check(err)
	defer socket.Close()
	_, err = fmt.Fprintln(socket, args[1])
	ts.Check(err)
	answer, err := bufio.NewReader(socket).ReadString('\n')
	ts.Check(err)
	if !regexp.MustCompile(args[2]).MatchString(answer) {
		ts.Fatalf("%s: got %swant %s", args[1], answer, args[2])
	}
}

// occupy PORT opens a port as another program would, until the story ends.
func occupy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: occupy PORT")
	}
	port, err := link.Open(ts.MkAbs(args[0]), 115200)
	ts.Check(err)
	ts.Defer(func() { port.Close() })
}

// unit silent|noisy PORT makes a port behind which something hears and does not answer, or answers nonsense.
func wrongUnit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: unit silent|noisy PORT")
	}
	unit, line, err := pty.Open()
	ts.Check(err)
	ts.Check(os.Symlink(line.Name(), ts.MkAbs(args[1])))
	ts.Defer(func() { line.Close(); unit.Close() })
	noise := rand.NewChaCha8([32]byte{})
	go func() {
		heard, said := make([]byte, 512), make([]byte, 64)
		for {
			if _, err := unit.Read(heard); err != nil {
				return
			}
			if args[0] == "noisy" {
				noise.Read(said)
				said[len(said)-1] = 0 // a frame ends
				unit.Write(said)
			}
		}
	}()
}

// vector NAME c509|der FILE writes one certificate of the test vectors (testdata/c509/c509.json, which names its source).
func vector(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: vector NAME c509|der FILE")
	}
	text, err := os.ReadFile(filepath.Join(ts.Getenv("ROOT"), "testdata", "c509", "c509.json"))
	ts.Check(err)
	var file struct {
		Vectors []struct {
			Name string
			C509 string `json:"c509_hex"`
			DER  string `json:"der_hex"`
		}
	}
	ts.Check(json.Unmarshal(text, &file))
	for _, v := range file.Vectors {
		if v.Name == args[0] {
			data, err := hex.DecodeString(map[string]string{"c509": v.C509, "der": v.DER}[args[1]])
			ts.Check(err)
			ts.Check(os.WriteFile(ts.MkAbs(args[2]), data, 0o644))
			return
		}
	}
	ts.Fatalf("no vector %q", args[0])
}

// judged FILE runs cert verify on each kind of a spoiled fleet, whose manifest the file is, in its folder: it must exit as the manifest says,
// and what is good be good for the unit's own code.
func judged(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: judged FILE")
	}
	var manifest spoil.Fleet
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &manifest))
	for _, k := range manifest.Kinds {
		if k.Verify == nil {
			continue
		}
		exits(ts, false, append([]string{strconv.Itoa(k.Verify.Exit), "birthmark", "cert", "verify", k.File}, k.Verify.Arguments...))
		if text := lastRecord(ts, "cert verify "+k.File); (k.Check == "") != strings.HasSuffix(text, "; the unit's own code agrees\n"+exitLine+"0\n") {
			ts.Fatalf("%s: %s", k.Kind, text)
		}
	}
}

// killed DIR PATTERN begins, or goes on with, the run of a ceremony in which everybody says Yes, and kills it with SIGKILL as soon as what it
// adds to the transcript matches the pattern. SoftHSM2 loses a token when it dies while it notes a login, and a run may be faster than
// the kill: all is put back then as it was and tried again. A run that always ends by itself has ended.
func killed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: killed DIR PATTERN")
	}
	work := ts.MkAbs(".")
	kept, err := os.MkdirTemp("", "killed-")
	ts.Check(err)
	defer os.RemoveAll(kept)
	ts.Check(ts.Exec("cp", "-a", work+"/.", kept))
	tokens := tokenCount(ts)
	for try := range 6 {
		ended := kill(ts, args[0], args[1])
		if tokenCount(ts) == tokens && (!ended || try == 5) {
			return
		}
		ts.Check(ts.Exec("find", work, "-mindepth", "1", "-delete"))
		ts.Check(ts.Exec("cp", "-a", kept+"/.", work))
	}
	ts.Fatalf("SoftHSM2 loses a token each time")
}

func tokenCount(ts *testscript.TestScript) int {
	if ts.Getenv("SOFTHSM2_CONF") == "" {
		return 0 // keys are in files
	}
	ts.Check(ts.Exec("birthmark", "hsm", "list"))
	return strings.Count(ts.ReadFile("stdout"), "flags      initialized")
}

// kill says whether the run ended by itself.
func kill(ts *testscript.TestScript, folder, pattern string) (byItself bool) {
	records := ts.MkAbs(".killed") // of runs that do not end by themselves
	ts.Check(os.MkdirAll(records, 0o755))
	path := ts.Getenv("PATH")
	program := ""
	for _, folder := range filepath.SplitList(path) {
		if _, err := os.Stat(filepath.Join(folder, "birthmark")); err == nil {
			program = filepath.Join(folder, "birthmark")
			break
		}
	}
	transcript := filepath.Join(ts.MkAbs(folder), "run", "transcript.jsonl")
	before, _ := os.ReadFile(transcript)
	c := exec.Command(program, "ceremony", "run", "--dir", folder)
	c.Dir = ts.MkAbs(".")
	c.Stdin = strings.NewReader(strings.Repeat("Yes\n", 9))
	c.Env = append(os.Environ(), "PATH="+path, "RECORDS="+records)
	for _, name := range []string{"SOFTHSM2_CONF", "BIRTHMARK_MODULE", "BIRTHMARK_PIN_FILE", "XDG_CONFIG_HOME"} {
		c.Env = append(c.Env, name+"="+ts.Getenv(name))
	}
	ts.Check(c.Start())
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	aim := regexp.MustCompile(pattern)
	for {
		select {
		case <-ended:
			return true
		case <-time.After(200 * time.Microsecond):
		}
		if text, err := os.ReadFile(transcript); err == nil && len(text) > len(before) && aim.Match(text[len(before):]) {
			ts.Check(c.Process.Kill())
			<-ended
			return false
		}
	}
}
