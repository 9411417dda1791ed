package config_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/config"
)

var update = flag.Bool("update", false, "rewrite testdata/reference.yml")

// Every busted file starts with "# want: " lines: the faults that it must give, no more.
func TestBusted(t *testing.T) {
	files, err := filepath.Glob("testdata/busted_*.yml")
	if err != nil || len(files) < 10 {
		t.Fatal("busted files are missing", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, line := range strings.Split(string(text), "\n") {
				if w, ok := strings.CutPrefix(line, "# want: "); ok {
					want = append(want, w)
				}
			}
			_, _, err = config.Load(config.Sources{File: file})
			if fault.KindOf(err) != fault.Usage {
				t.Fatalf("want a usage fault, got %v", err)
			}
			var got []string
			for _, line := range strings.Split(fault.Detail(err), "\n") {
				line = strings.TrimPrefix(line, file+": ")
				got = append(got, strings.TrimSuffix(line, " ("+file+")"))
			}
			if d := cmp.Diff(want, got, cmpopts.SortSlices(func(a, b string) bool { return a < b })); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

func TestDefaultIsValid(t *testing.T) {
	if err := config.Default().Validate(); err != nil {
		t.Error(err)
	}
	c, warnings, err := config.Load(config.Sources{})
	if err != nil || len(warnings) != 0 {
		t.Error(warnings, err)
	}
	if d := cmp.Diff(config.Default(), c); d != "" {
		t.Error(d)
	}
}

func TestPrecedence(t *testing.T) {
	file := write(t, "data_dir: file\nlog: {level: warn}\nembed: {batch_size: 8, batch_deadline: 1s}\nquery:\n  listen: 127.0.0.1:1\nmodel:\n")
	fs := pflag.NewFlagSet("up", pflag.ContinueOnError)
	if err := config.AddFlags(fs); err != nil {
		t.Fatal(err)
	}
	fs.Bool("json", false, "a flag of the command's own")
	if err := fs.Parse([]string{"--data", "flag", "--target=ingest,embed", "--target", "query", "--query-listen", "off", "--insecure", "--json"}); err != nil {
		t.Fatal(err)
	}
	c, warnings, err := config.Load(config.Sources{File: file, Flags: fs, Environ: []string{
		"PATH=/bin", "RADSTREAM_DATA=/tests", "RADSTREAM_DATA_DIR=env", "RADSTREAM_EMBED_BATCH_SIZE=5", "RADSTREAM_QDRANT_TLS=true",
		"RADSTREAM_INGEST_ALLOWED_ROOTS=/a, /b", "RADSTREAM_PORT=tcp://10.0.0.1", "RADSTREAM_NATS_TOKEN=a=b",
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.DataDir = "flag"
	want.Target = []string{"ingest", "embed", "query"}
	want.Insecure = true
	want.Log.Level = "warn"
	want.Embed.BatchSize, want.Embed.BatchDeadline = 5, time.Second
	want.Query.Listen = "off"
	want.Qdrant.TLS = true
	want.Ingest.AllowedRoots = []string{"/a", "/b"}
	want.NATS.Token = "a=b"
	if d := cmp.Diff(want, c); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"RADSTREAM_PORT: no such variable; it is ignored"}, warnings); d != "" {
		t.Error(d)
	}
}

func TestFaultsNameTheirSource(t *testing.T) {
	fs := pflag.NewFlagSet("up", pflag.ContinueOnError)
	if err := config.AddFlags(fs, "embed.batch_size"); err != nil {
		t.Fatal(err)
	}
	if err := fs.Parse([]string{"--embed-batch-size", "many"}); err != nil {
		t.Fatal(err)
	}
	_, _, err := config.Load(config.Sources{Flags: fs, Environ: []string{"RADSTREAM_INSECURE=si"}})
	want := "insecure: wants true or false (environment)\nembed.batch_size: wants a whole number (command line)"
	if fault.Detail(err) != want {
		t.Errorf("got  %v\nwant %v", err, want)
	}
	if err := config.AddFlags(fs, "embed.size"); err == nil {
		t.Error("a flag for a key that is not there")
	}
	if _, _, err := config.Load(config.Sources{File: "testdata/none.yml"}); fault.KindOf(err) != fault.Usage {
		t.Error("a file that is not there:", err)
	}
	if _, _, err := config.Load(config.Sources{File: write(t, "# settings\n---\nlog:\n  level: info\n--- # more\nnosuch: 1\n")}); !strings.Contains(fault.Detail(err), "more than one YAML document") {
		t.Error("two documents:", err)
	}
	if _, _, err := config.Load(config.Sources{File: write(t, "# settings\n---\nlog:\n  level: info\n")}); err != nil {
		t.Error("one document with its mark:", err)
	}
	if _, _, err := config.Load(config.Sources{File: write(t, strings.Repeat("#", 1<<20+1))}); fault.KindOf(err) != fault.Usage {
		t.Error("a file that is too large:", err)
	}
}

func TestPrintRoundTrip(t *testing.T) {
	c := config.Default()
	c.DataDir = "a \"quoted\" : # folder\n\x01é"
	c.Insecure = true
	c.NATS.Listen, c.NATS.URL = "off", "nats://a:1,nats://b:2"
	c.Query.Listen, c.Query.Tokens = "0.0.0.0:0", "tokens"
	c.Ingest.AllowedRoots = []string{"/a, b", "/c"}
	c.Embed.BatchDeadline = 90 * time.Second / 4
	for _, onlyChanged := range []bool{false, true} {
		got, _, err := config.Load(config.Sources{File: write(t, printed(t, c, onlyChanged))})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c, got); d != "" {
			t.Errorf("only changed %v: %s", onlyChanged, d)
		}
	}
}

func TestPrintMasksAndDiffers(t *testing.T) {
	c := config.Default()
	if got := printed(t, c, true); got != "# all defaults\n" {
		t.Errorf("%q", got)
	}
	c.NATS.Token, c.Qdrant.APIKey, c.Qdrant.TLS = "hidden-1", "hidden-2", true
	want := "nats:\n  token: \"********\"\nqdrant:\n  api_key: \"********\"\n  tls: true\n"
	if got := printed(t, c, true); got != want {
		t.Errorf("got\n%s", got)
	}
	c.Query.Timeout = time.Minute
	values, err := json.Marshal(config.Values(c, true))
	if want := `{"nats":{"token":"********"},"qdrant":{"api_key":"********","tls":true},"query":{"timeout":"1m0s"}}`; err != nil || string(values) != want {
		t.Errorf("got %s, %v", values, err)
	}
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{printed(t, c, false), string(asJSON), fmt.Sprintf("%v %+v %#v %s", c, c, c, c.NATS)} {
		if strings.Contains(text, "hidden") {
			t.Errorf("a secret is printed: %s", text)
		}
	}
	if string(c.NATS.Token) != "hidden-1" {
		t.Error("the secret itself is masked")
	}
}

func TestReference(t *testing.T) {
	const golden = "testdata/reference.yml"
	got := config.Reference()
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("run with -update if the change is meant:\n%s", d)
	}
	c, _, err := config.Load(config.Sources{File: golden})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(config.Default(), c, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("the reference changes something: %s", d)
	}
}

func TestListen(t *testing.T) {
	for l, loopback := range map[config.Listen]bool{
		"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true,
		":1": false, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "localhost.example.org:1": false, "off": false, "": false,
	} {
		if l.Loopback() != loopback || l.Off() != (l == "off") {
			t.Errorf("%q: loopback %v, off %v", l, l.Loopback(), l.Off())
		}
	}
	c := config.Default()
	if c.KeyDir() != "data/keys" {
		t.Error(c.KeyDir())
	}
	c.Tenants.KeysDir = "/k"
	if c.KeyDir() != "/k" {
		t.Error(c.KeyDir())
	}
}

func FuzzLoad(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.yml")
	for _, file := range files {
		if b, err := os.ReadFile(file); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, _, err := config.Load(config.Sources{File: write(t, string(text))})
		if err == nil && c.Validate() != nil {
			t.Error("loaded, and yet invalid")
		}
	})
}

func printed(t *testing.T, c config.Config, onlyChanged bool) string {
	t.Helper()
	var b strings.Builder
	if err := config.Print(&b, c, onlyChanged); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "radstream.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
