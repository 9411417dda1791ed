package app

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/dicom"
)

// largestFilm names the variable that tells TestTextMemory to prepare that file, in a process of
// its own: what other tests have taken and freed would hide what a film costs.
const largestFilm = "RADSTREAM_TEST_LARGEST_FILM"

// TestTextMemory: preparing one large film, with text and with a patch of strokes as
// large as what detection sees at once, costs at most 256 MB beside the idle process, its bytes
// included.
func TestTextMemory(t *testing.T) {
	if path := os.Getenv(largestFilm); path != "" {
		prepareLargest(t, path)
		return
	}
	f, text := unwritten(t), written(t)
	// The largest that are taken, and the largest that detection sees in large areas.
	for _, side := range []int{5792, 4096} {
		t.Run(strconv.Itoa(side), func(t *testing.T) { textMemory(t, side, f, text) })
	}
}

func textMemory(t *testing.T, side int, f, text dicom.Film) {
	large := f
	large.Rows, large.Columns, large.Pixels = side, side, make([]uint16, side*side)
	for y := range large.Rows {
		for x := range large.Columns {
			large.Pixels[y*large.Columns+x] = f.Pixels[y*f.Rows/side*f.Columns+x*f.Columns/side]
		}
	}
	for y := range f.Rows / 4 {
		copy(large.Pixels[(side-f.Rows+y)*side+side/2:], text.Pixels[y*f.Columns:][:f.Columns])
	}
	white := uint16(1)<<f.BitsStored - 1
	for y := range 450 {
		for x := range 450 {
			if y/6%3 == 0 && x/6%3 == 0 {
				large.Pixels[(200+y)*large.Columns+200+x] = white / 2
			}
		}
	}
	var b bytes.Buffer
	if err := dicom.Encode(&b, large); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "film.dcm")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestTextMemory$", "-test.v")
	cmd.Env = append(os.Environ(), largestFilm+"="+path)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !bytes.Contains(out, []byte("MB beside")) {
		t.Errorf("the process ends with %v", err)
	}
}

func prepareLargest(t *testing.T, path string) {
	c := ingest.Default()
	c.Burned = openedText(t, deid.TextRemove).Burned
	p, err := ingest.New(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // the peak is the present
		t.Fatal(err)
	}
	idle := memory(t, "VmRSS")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	v, err := p.View(t.Context(), ingest.Object{Data: data})
	cost := memory(t, "VmHWM") - idle
	if err != nil {
		t.Fatal(err)
	}
	runtime.KeepAlive(data) // as the objects of an arrival are
	t.Logf("%d pieces of text were removed; %d MB beside %d MB", len(v.Removed), cost, idle)
	if len(v.Removed) == 0 {
		t.Error("no text was removed")
	}
	if cost > 256 {
		t.Errorf("it cost %d MB", cost)
	}
}

// memory returns a figure of this process in MB.
func memory(t *testing.T, name string) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(name + `:\s*(\d+) kB`).FindStringSubmatch(string(status))
	if found == nil {
		t.Fatalf("no %s in %s", name, strings.TrimSpace(string(status)))
	}
	kib, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10 / 1_000_000
}
