package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/radstream/radstream/indexer/flat"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/auth"
	"github.com/radstream/radstream/services/command"
	"github.com/radstream/radstream/services/publish"
)

// runLine runs one command line in this process.
func runLine(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(t.Context(), command.Env{Version: "v1", Args: args, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs})
	return code, out.String(), errs.String()
}

// TestUsageAsJSON: a fault of the command line is JSON where it was asked for, also when
// the flag stands behind the fault.
func TestUsageAsJSON(t *testing.T) {
	for _, args := range [][]string{{"nosuch", "--json"}, {"up", "--nosuch", "--json"}, {"--json", "publish"}, {"labels", "--json"}} {
		code, stdout, stderr := runLine(t, "", args...)
		var v struct{ Error struct{ Kind, Detail string } }
		if err := json.Unmarshal([]byte(stderr), &v); code != 2 || stdout != "" || err != nil || v.Error.Kind != "usage" {
			t.Errorf("%v: %d, %q, %q, %v", args, code, stdout, stderr, err)
		}
	}
}

// TestHelp: every command says in its help what it does and shows examples.
func TestHelp(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Short == "" || cmd.HasSubCommands() == false && cmd.Example == "" && cmd.Name() != "version" {
			t.Errorf("%s has no description or no example", cmd.CommandPath())
		}
		if cmd.HasParent() && cmd.Args == nil {
			t.Errorf("%s takes any argument", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			if sub.Name() != "help" && sub.Name() != "completion" { // cobra's
				walk(sub)
			}
		}
	}
	c := &cli{Line: command.New(command.Env{Args: []string{"version"}, Stdout: io.Discard})}
	root := c.root()
	c.Run(t.Context(), root) // which completes the commands
	walk(root)
	for _, args := range [][]string{nil, {"--help"}, {"config"}, {"help", "up"}} {
		if code, stdout, stderr := runLine(t, "", args...); code != 0 || !strings.Contains(stdout, "Usage:") || stderr != "" {
			t.Errorf("%v: %d, %q", args, code, stderr)
		}
	}
	if _, stdout, _ := runLine(t, "", "--help"); !strings.Contains(stdout, exitCodes) {
		t.Error("the help does not list the exit codes")
	}
}

// TestTokenFile: a line goes behind one that has no end, not into its note.
func TestTokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	for i, want := range []string{"north", "south"} {
		if i == 1 { // as an editor may leave it
			text, err := os.ReadFile(file)
			if err == nil {
				err = os.WriteFile(file, bytes.TrimSpace(text), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		code, token, stderr := runLine(t, "", "token", "new", "--tenant", want, "--note", "x", "--file", file)
		if code != 0 {
			t.Fatal(stderr)
		}
		known, err := auth.OpenTokens(file, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := auth.New(known, nil).Authenticate(t.Context(), "Bearer "+strings.TrimSpace(token)); err != nil || string(c.Tenant) != want {
			t.Errorf("the token of %s: %+v, %v", want, c, err)
		}
	}
}

func TestVersion(t *testing.T) {
	if code, out, _ := runLine(t, "", "version"); code != 0 || !strings.HasPrefix(out, "radstream v1 ") {
		t.Errorf("%d, %q", code, out)
	}
	var v struct{ Version, Go, Platform string }
	if _, out, _ := runLine(t, "", "version", "--json"); json.Unmarshal([]byte(out), &v) != nil || v.Version != "v1" || v.Go == "" || v.Platform == "" {
		t.Errorf("%s", out)
	}
}

func TestReportFromStdin(t *testing.T) {
	code, out, stderr := runLine(t, "FINDINGS: No pneumothorax.", "report", "-", "--json")
	var v struct {
		Tokens []int32
		Labels []struct{ Label, Value string }
	}
	if err := json.Unmarshal([]byte(out), &v); code != 0 || err != nil || len(v.Tokens) < 4 || len(v.Labels) != 14 {
		t.Fatalf("%d, %v, %s%s", code, err, out, stderr)
	}
	for _, l := range v.Labels {
		if want := map[string]string{"Pneumothorax": "negative", "No Finding": "positive"}[l.Label]; want != "" && l.Value != want {
			t.Errorf("%s is %s, want %s", l.Label, l.Value, want)
		}
	}
	code, out, stderr = runLine(t, "MSH|^~\\&|A|B|C|D|20240101||ORU^R01|1|P|2.5\rPID|1||X1\rOBR|1||A1|CXR\rOBX|1|TX|IMP||Large left pleural effusion.\r", "report", "-")
	if code != 0 || !strings.Contains(out, "Pleural Effusion: positive") {
		t.Errorf("an HL7 message: %d, %s%s", code, out, stderr)
	}
	// Whom the message names leaves the text, as ingest takes them out; a batch may be long.
	named := "MSH|^~\\&|A|B|C|D|20240101||ORU^R01|1|P|2.5\rPID|1||X1||Brown^Zaqirra\rOBR|1||A1|CXR\rOBX|1|TX|GDT||" +
		"Zaqirra lungs are clear. Small Zaqirra effusion.\r" + strings.Repeat("NTE|1||note\r", 40_000)
	code, out, stderr = runLine(t, named, "report", "-")
	if sections, _, _ := strings.Cut(out, "-- "); code != 0 || strings.Contains(sections, "Zaqirra") || !strings.Contains(sections, "[name] lungs are clear") {
		t.Errorf("names of the message: %d, %s%s", code, out, stderr)
	}
}

// TestVariablesOfOthers: a variable that another part of radstream reads is no mistake.
func TestVariablesOfOthers(t *testing.T) {
	t.Setenv("RADSTREAM_SERVER", "127.0.0.1:1")
	t.Setenv("RADSTREAM_ONNXRUNTIME", "/somewhere")
	if code, _, stderr := runLine(t, "", "config", "validate"); code != 0 || stderr != "" {
		t.Errorf("%d, %s", code, stderr)
	}
	t.Setenv("RADSTREAM_NOSUCH", "1")
	if code, _, stderr := runLine(t, "", "config", "validate"); code != 0 || !strings.Contains(stderr, "RADSTREAM_NOSUCH") {
		t.Errorf("an unknown variable is not told: %d, %s", code, stderr)
	}
}

func TestParseLabel(t *testing.T) {
	for in, ok := range map[string]bool{
		"effusion>=0.5": true, " effusion >= 1 ": true, "effusion>=0": true, "effusion": false, "effusion>=": false,
		"effusion>=x": false, "effusion>=1.1": false, "effusion>=-0.1": false, "effusion>=NaN": false, "effusion=0.5": false,
	} {
		l, err := parseLabel(in)
		if ok != (err == nil) || ok && l.Label != "effusion" || err != nil && fault.KindOf(err) != fault.Usage {
			t.Errorf("%q: %+v, %v", in, l, err)
		}
	}
}

func TestJudge(t *testing.T) {
	problem := []publish.Problem{{Path: "x", Reason: publish.ReasonNoRow}}
	rejection := []publish.Rejection{{Reason: "blank"}}
	for _, c := range []struct {
		name   string
		s      publish.Summary
		strict bool
		reason fault.Reason
	}{
		{"all well", publish.Summary{Published: 1}, true, ""},
		{"some rejected", publish.Summary{Published: 2, Rejected: 1, Rejections: rejection}, false, ""},
		{"some rejected, strict", publish.Summary{Published: 2, Rejections: rejection}, true, "strict"},
		{"problems, strict", publish.Summary{Published: 2, Problems: problem}, true, "strict"},
		{"nothing there", publish.Summary{}, false, "nothing_found"},
		{"nothing usable", publish.Summary{Problems: problem}, false, "nothing_published"},
	} {
		err := judge(c.s, c.strict)
		if fault.ReasonOf(err) != c.reason || (err == nil) != (c.reason == "") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestHighest(t *testing.T) {
	scores := map[string]float32{"b": 0.5, "a": 0.5, "c": 0.9, "d": 0.1}
	if got := highest(scores, 3); got != "c 0.90, a 0.50, b 0.50" {
		t.Errorf("%q", got)
	}
	if got := highest(nil, 3); got != "" {
		t.Errorf("%q", got)
	}
}

// TestLostOutput: a command whose answer could not be written has failed, whatever it does with errors.
func TestLostOutput(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, line := range []string{"version", "--help", "relabel --show phantom", "config validate", "token new --tenant north"} {
		var errs bytes.Buffer
		code := Run(t.Context(), command.Env{Version: "v1", Args: strings.Fields(line), Stdin: strings.NewReader(""), Stdout: full, Stderr: &errs})
		if code != 1 || !strings.Contains(errs.String(), "no space left on device") {
			t.Errorf("%s: exit code %d, %s", line, code, errs.String())
		}
	}
}

func TestConfigJSON(t *testing.T) {
	for line, want := range map[string]string{
		"config print --changed --query-timeout 5s --json": `{"query":{"timeout":"5s"}}`,
		"config validate --json":                           `{"valid":true}`,
	} {
		if code, stdout, stderr := runLine(t, "", strings.Fields(line)...); code != 0 || stdout != want+"\n" {
			t.Errorf("%s: exit code %d, %s%s", line, code, stdout, stderr)
		}
	}
}

// TestIndexInUse: no server is asked, so that it is not exit code 4.
func TestIndexInUse(t *testing.T) {
	data := t.TempDir()
	db, err := flat.Open(filepath.Join(data, "index"), flat.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, name := range []string{"check", "repair"} {
		if code, _, stderr := runLine(t, "", "index", name, "--data", data); code != 2 || !strings.Contains(stderr, "is open in another process") {
			t.Errorf("%s: exit code %d, %s", name, code, stderr)
		}
	}
}
