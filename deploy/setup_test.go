// Package deploy_test checks the setup script: what it says of a missing tool, what it fetches,
// and that a second run does nothing.
package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// checkout copies what setup.sh needs into a folder of its own and returns the script.
func checkout(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "deploy")
	for _, name := range []string{"setup.sh", "requirements/onnxruntime.txt", "requirements/ocr.txt", "requirements/libtorch.txt"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "setup.sh")
}

// path returns a PATH with what setup.sh needs, save the missing programs, and with fake
// programs by name and shell script.
func path(t *testing.T, fake map[string]string, without ...string) string {
	t.Helper()
	dir := t.TempDir()
	missing := map[string]bool{}
	for _, w := range without {
		missing[w] = true
	}
	for _, name := range []string{"bash", "dirname", "uname", "mkdir", "mktemp", "rm", "mv", "grep", "tail", "go", "gcc", "make", "python3"} {
		script, ok := fake[name]
		if missing[name] {
			continue
		}
		if ok {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		found, err := exec.LookPath(name)
		if name == "python3" {
			found, err = python(t), nil
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(found, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// python returns the interpreter itself: what the PATH holds may be a script around it.
func python(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func TestSetupSaysWhatIsMissing(t *testing.T) {
	for name, c := range map[string]struct {
		without  string
		fake     map[string]string
		platform string
		args     []string
		want     string
	}{
		"no Python":             {without: "python3", want: "python3 is missing: install it (Debian: apt-get install python3)"},
		"no pip":                {fake: map[string]string{"python3": "exit 1"}, want: "python3-pip"},
		"no compiler":           {without: "gcc", want: "build-essential"},
		"no make":               {without: "make", want: "make is missing"},
		"no Go":                 {without: "go", want: "golang"},
		"old Go":                {fake: map[string]string{"go": "echo go1.25.3"}, want: "Go 1.26 or later is needed, this is go1.25.3"},
		"macOS":                 {platform: "Darwin arm64", want: "macOS is not tested yet"},
		"arm64":                 {platform: "Linux aarch64", want: "arm64 is not tested yet"},
		"another":               {args: []string{"libfoo"}, want: "no library is called libfoo"},
		"failing pip":           {fake: map[string]string{"python3": `[ "$3" = --version ] || { echo "ERROR: no route" >&2; exit 1; }`}, want: "pip could not download onnxruntime (is PyPI reachable?): ERROR: no route"},
		"no compiler, libtorch": {without: "gcc", args: []string{"libtorch"}, want: "build-essential"},
		"another archive":       {fake: map[string]string{"python3": `[ "$1" != - ]`}, want: "does not hold the expected files"},
	} {
		t.Run(name, func(t *testing.T) {
			script := checkout(t)
			cmd := exec.Command("bash", append([]string{script}, c.args...)...)
			cmd.Env = append(os.Environ(), "PATH="+path(t, c.fake, c.without), "RADSTREAM_SETUP_PLATFORM="+c.platform, "CC=")
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.want) {
				t.Errorf("%v, %q, want %q", err, out, c.want)
			}
			var complaints int
			for line := range strings.Lines(string(out)) {
				if !strings.HasPrefix(line, "setup: fetching") {
					complaints++
				}
			}
			if complaints != 1 {
				t.Errorf("%d lines of complaint: %q", complaints, out)
			}
			left, err := filepath.Glob(filepath.Join(filepath.Dir(script), "..", ".deps", "[^.]*"))
			if err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// TestSetupTwice lets a fake pip leave a wheel that the real Python unpacks.
func TestSetupTwice(t *testing.T) {
	script := checkout(t)
	// Arguments of `pip download ... --dest DIR` end with DIR.
	fake := `case "$3" in
--version) exit 0 ;;
download) for last; do :; done; mkdir -p "$last"; exec "` + python(t) + `" -c '
import sys, zipfile
z = zipfile.ZipFile(sys.argv[1] + "/x.whl", "w")
for n in ("onnxruntime/capi/libonnxruntime.so.1.31.1", "onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt", "onnxruntime/other.py",
          "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx", "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
          "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx", "rapidocr_onnxruntime-1.4.4.dist-info/METADATA"):
    z.writestr(n, n)
' "$last" ;;
esac
exec "` + python(t) + `" "$@"`
	run := func(env ...string) string {
		cmd := exec.Command("bash", script)
		cmd.Env = append(append(os.Environ(), "CC="), env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if out := run("PATH=" + path(t, map[string]string{"python3": fake})); !strings.Contains(out, "is ready") {
		t.Errorf("the first run says %q", out)
	}
	for name, want := range map[string]string{
		"onnxruntime": "LICENSE ThirdPartyNotices.txt lib/libonnxruntime.so.1.31.1 stamp",
		"ocr":         "METADATA ch_PP-OCRv4_det_infer.onnx ch_PP-OCRv4_rec_infer.onnx stamp",
	} {
		deps := filepath.Join(filepath.Dir(script), "..", ".deps", name)
		var files []string
		err := filepath.WalkDir(deps, func(p string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				p, err = filepath.Rel(deps, p)
				files = append(files, p)
			}
			return err
		})
		if got := strings.Join(files, " "); err != nil || got != want {
			t.Errorf("%s: unpacked %q, %v, want %q", name, got, err, want)
		}
	}
	// The second run needs neither Python nor Go.
	if out := run("PATH=" + path(t, nil, "python3", "go", "gcc", "make")); out != "" {
		t.Errorf("the second run says %q", out)
	}
}

// TestSetupUnpacksFolders lets a fake pip leave wheels like those of libtorch.
func TestSetupUnpacksFolders(t *testing.T) {
	script := checkout(t)
	fake := `case "$3" in
--version) exit 0 ;;
download) for last; do :; done; mkdir -p "$last"; exec "` + python(t) + `" -c '
import sys, zipfile
z = zipfile.ZipFile(sys.argv[1] + "/torch.whl", "w")
for n in ("torch/lib/libtorch_cpu.so", "torch/lib/libtorch_cuda.so", "torch/lib/libc10.so", "torch/lib/libgomp.so.1", "torch/include/a.h",
          "torch/include/ATen/b.h", "torch-2.11.0.dist-info/licenses/LICENSE", "torch-2.11.0.dist-info/licenses/NOTICE"):
    z.writestr(n, n)
z = zipfile.ZipFile(sys.argv[1] + "/nvidia.whl", "w")
for n in ("nvidia/cu13/lib/libcudart.so.13", "nvidia/cu13/lib/libcupti.so.13"):
    z.writestr(n, n)
' "$last" ;;
esac
exec "` + python(t) + `" "$@"`
	cmd := exec.Command("bash", script, "libtorch")
	cmd.Env = append(os.Environ(), "CC=", "PATH="+path(t, map[string]string{"python3": fake}))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	deps := filepath.Join(filepath.Dir(script), "..", ".deps", "libtorch")
	for name, want := range map[string]string{
		"include/ATen/b.h":       "torch/include/ATen/b.h",
		"include/a.h":            "torch/include/a.h",
		"lib/libcupti.so.13":     "nvidia/cu13/lib/libcupti.so.13",
		"lib/libgomp.so.1":       "torch/lib/libgomp.so.1",
		"stubs/libtorch.so":      "/* empty on purpose */\n",
		"stubs/libnvToolsExt.so": "/* empty on purpose */\n",
	} {
		if got, err := os.ReadFile(filepath.Join(deps, name)); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v, want %q", name, got, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(deps, "lib/libtorch_cuda.so")); !os.IsNotExist(err) {
		t.Errorf("the CUDA part was unpacked: %v", err)
	}
}
