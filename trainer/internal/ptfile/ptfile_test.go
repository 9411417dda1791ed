package ptfile_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/trainer/internal/ptfile"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// stored are the tensors in a file as PyTorch reads them: testdata/make.py.
type stored map[string]struct {
	Shape []int    `json:"shape"`
	Bits  []uint32 `json:"bits"` // of a float32
}

// exact returns bits, which tell zeros apart.
func exact(tensors map[string]onnxexport.Tensor) stored {
	out := stored{}
	for name, t := range tensors {
		s := out[name]
		s.Shape, s.Bits = t.Shape, make([]uint32, len(t.Data))
		for i, v := range t.Data {
			if s.Bits[i] = math.Float32bits(v); math.IsNaN(float64(v)) {
				s.Bits[i] = 0x7fc00000 // as make.py: what is no number has many forms
			}
		}
		out[name] = s
	}
	return out
}

// TestRead reads what torch.save wrote, bit for bit as torch.load does.
func TestRead(t *testing.T) {
	text, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden map[string]stored
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden) < 10 {
		t.Errorf("only %d files", len(golden))
	}
	for name, want := range golden {
		t.Run(name, func(t *testing.T) {
			got, err := ptfile.Read(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, exact(got)); d != "" {
				t.Errorf("(-torch +here)\n%s", d)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	folder := t.TempDir()
	for name, c := range map[string]struct {
		kind fault.Kind
		says string
	}{
		"testdata/evil.pt":        {fault.Unsupported, `wants to run "posix.system": save the weights alone, in Python: torch.save(model.state_dict(), `},
		"testdata/module.pt":      {fault.Unsupported, `wants to run "torch.nn.modules.linear.Linear"`},
		"testdata/legacy.pt":      {fault.Unsupported, "before PyTorch 1.6: with a newer one save"},
		"testdata/torchscript.pt": {fault.Unsupported, `torch.save(torch.jit.load("model.pt").state_dict()`},
		"testdata/big_endian.pt":  {fault.Unsupported, "big-endian"},
		"testdata/bzip2.pt":       {fault.Unsupported, "compressed in another way"},
		"testdata/tensor.pt":      {fault.Unsupported, "holds no dict"},
		"testdata/golden.json":    {fault.Corrupt, "no file of torch.save"},
		"testdata/nowhere.pt":     {fault.NotFound, "nowhere.pt"},
		folder:                    {fault.Usage, "is a folder"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ptfile.Read(name)
			if fault.KindOf(err) != c.kind || !strings.Contains(fault.Detail(err), c.says) || !strings.Contains(fault.Detail(err), name) {
				t.Errorf("%v (%v), want %v with %q", err, fault.KindOf(err), c.kind, c.says)
			}
		})
	}
}

// TestDamage: a file that is cut anywhere is refused, and one with a changed byte gives the same
// numbers, if the byte was none of importance, or an error.
func TestDamage(t *testing.T) {
	for _, name := range []string{"plain.pt", "deflated.pt"} {
		whole, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := decode(whole)
		if err != nil {
			t.Fatal(err)
		}
		for n := range whole {
			if _, err := decode(whole[:n]); fault.KindOf(err) != fault.Corrupt {
				t.Fatalf("%s cut to %d bytes: %v", name, n, err)
			}
			changed := slices.Clone(whole)
			changed[n] ^= 0x21
			got, err := decode(changed)
			if err == nil && !cmp.Equal(want, got) {
				t.Fatalf("%s with byte %d changed gives other numbers", name, n)
			}
			if k := fault.KindOf(err); err != nil && k != fault.Corrupt && k != fault.Unsupported {
				t.Fatalf("%s with byte %d changed: %v", name, n, err)
			}
		}
	}
}

func decode(file []byte) (map[string]onnxexport.Tensor, error) {
	return ptfile.Decode(bytes.NewReader(file), int64(len(file)))
}

// archive puts a pickle and four numbers into a file as torch.save does.
func archive(t testing.TB, pickle string) []byte {
	return pack(t, part{"x/data.pkl", pickle, zip.Store, 0}, part{"x/data/0", strings.Repeat("\x00\x00\x80?", 4), zip.Store, 0})
}

type part struct {
	name, data string
	method     uint16
	claim      uint64 // bytes it says to have, unless 0
}

func pack(t testing.TB, parts ...part) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, p := range parts {
		raw := []byte(p.data)
		if p.method == zip.Deflate {
			var b bytes.Buffer
			w, err := flate.NewWriter(&b, flate.BestCompression)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(raw); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			raw = b.Bytes()
		}
		h := &zip.FileHeader{Name: p.name, Method: p.method, UncompressedSize64: uint64(len(p.data)), CompressedSize64: uint64(len(raw)), CRC32: crc32.ChecksumIEEE([]byte(p.data))}
		if p.claim > 0 {
			h.UncompressedSize64, h.CRC32 = p.claim, crc32.ChecksumIEEE([]byte(p.data[:min(len(p.data), int(p.claim))]))
			if p.method == zip.Store {
				h.CompressedSize64 = p.claim
			}
		}
		w, err := z.CreateRaw(h)
		if err == nil {
			_, err = w.Write(raw)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Pieces of pickles.

func integer(n int64) string {
	return "\x8a\x08" + string(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

func text(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

func sizes(n ...int64) string {
	s := "("
	for _, v := range n {
		s += integer(v)
	}
	return s + "t"
}

func at(key, class string, count int64) string {
	return "(" + text("storage") + "ctorch\n" + class + "\n" + text(key) + text("cpu") + integer(count) + "tQ"
}

// four is where archive puts four float32.
func four() string { return at("0", "FloatStorage", 4) }

func view(storage string, offset int64, shape, stride string) string {
	return "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + integer(offset) + shape + stride + "\x89}tR"
}

// state is a state dict of tensors a, b and so on.
func state(tensors ...string) string {
	s := "\x80\x02}"
	for i, t := range tensors {
		s += text(string(rune('a'+i))) + t + "s"
	}
	return s + "."
}

// hostile are pickles that no torch.save wrote.
func hostile() map[string]struct {
	pickle string
	kind   fault.Kind
	says   string
} {
	type row = struct {
		pickle string
		kind   fault.Kind
		says   string
	}
	const most = math.MaxInt64
	list := map[string]row{
		"2^60 numbers":               {state(view(four(), 0, sizes(1<<60), sizes(1))), fault.Corrupt, "reaches beyond"},
		"2^60 times one number":      {state(view(four(), 0, sizes(1<<60), sizes(0))), fault.Unsupported, "repeats"},
		"a product that overflows":   {state(view(four(), 0, sizes(1<<32, 1<<32), sizes(0, 0))), fault.Unsupported, "repeats"},
		"a reach that overflows":     {state(view(four(), 0, sizes(1<<32+1), sizes(1<<32))), fault.Corrupt, "reaches beyond"},
		"many views":                 {state(slices.Repeat([]string{view(four(), 0, sizes(1000), sizes(0))}, 6)...), fault.Unsupported, "repeats"},
		"one number too far":         {state(view(four(), 1, sizes(2, 2), sizes(2, 1))), fault.Corrupt, "reaches beyond"},
		"an offset at the end":       {state(view(four(), 4, sizes(1), sizes(1))), fault.Corrupt, "reaches beyond"},
		"the largest offset":         {state(view(four(), most, sizes(2), sizes(most))), fault.Corrupt, "reaches beyond"},
		"a negative offset":          {state(view(four(), -1, sizes(1), sizes(1))), fault.Corrupt, "impossible shape"},
		"a negative size":            {state(view(four(), 0, sizes(-1), sizes(1))), fault.Corrupt, "impossible shape"},
		"a short negative size":      {state(view(four(), 0, "\x8a\x01\xff\x85", sizes(1))), fault.Corrupt, "impossible shape"},
		"a negative stride":          {state(view(four(), 3, sizes(4), sizes(-1))), fault.Corrupt, "impossible shape"},
		"more sizes than strides":    {state(view(four(), 0, sizes(2, 2), sizes(1))), fault.Corrupt, "impossible shape"},
		"17 dimensions":              {state(view(four(), 0, sizes(make([]int64, 17)...), sizes(make([]int64, 17)...))), fault.Corrupt, "impossible shape"},
		"a storage of 2^60":          {state(view(at("0", "FloatStorage", 1<<60), 0, sizes(1), sizes(1))), fault.Corrupt, "are 16 bytes"},
		"a storage of 2^62 of 4":     {state(view(at("0", "FloatStorage", 1<<62+4), 0, sizes(1), sizes(1))), fault.Corrupt, "are 16 bytes"},
		"a storage of another width": {state(view(at("0", "HalfStorage", 4), 0, sizes(4), sizes(1))), fault.Corrupt, "are 16 bytes"},
		"integers of another width":  {state(view(at("0", "LongStorage", 4), 0, sizes(4), sizes(1))), fault.Corrupt, "are 16 bytes"},
		"a storage less than 0":      {state(view(at("0", "FloatStorage", -4), 0, sizes(1), sizes(1))), fault.Corrupt, "storage of an unknown form"},
		"a storage outside":          {state(view(at("../../etc/passwd", "FloatStorage", 4), 0, sizes(1), sizes(1))), fault.Corrupt, "no part"},
		"a storage that is a name":   {state(view("ctorch\nFloatStorage\n", 0, sizes(1), sizes(1))), fault.Corrupt, "impossible shape"},
		"negated numbers":            {state("ctorch._utils\n_rebuild_tensor_v2\n(" + four() + "K\x00" + sizes(4) + sizes(1) + "\x89}" + "}" + text("neg") + "\x88stR"), fault.Unsupported, "with 7 arguments"},

		"a call of a class":       {"\x80\x02ctorch\nFloatStorage\n)R.", fault.Unsupported, "wants to run \"torch.FloatStorage\""},
		"a dict made of pairs":    {"\x80\x02ccollections\nOrderedDict\n]\x85R.", fault.Unsupported, "OrderedDict"},
		"a call of a word":        {"\x80\x02" + text("os.system") + text("true") + "\x85R.", fault.Corrupt, "call of nothing"},
		"a name of two words":     {"\x80\x04" + text("os") + text("system") + "\x93.", fault.Unsupported, `wants to run "os.system"`},
		"a name of numbers":       {"\x80\x04K\x01K\x02\x93.", fault.Corrupt, "name that is none"},
		"a name of colours":       {"\x80\x02c\x1b[31m\nx\n.", fault.Unsupported, `wants to run "\x1b[31m.x"`},
		"a new object":            {"\x80\x02ccollections\nOrderedDict\n)\x81.", fault.Unsupported, "opcode 0x81"},
		"an instance":             {"(ios\nsystem\n.", fault.Unsupported, "opcode 0x69"},
		"protocol 9":              {"\x80\x09}.", fault.Unsupported, "protocol 9"},
		"attributes of a tensor":  {state(view(four(), 0, sizes(4), sizes(1)) + "}b"), fault.Corrupt, "attributes"},
		"a parameter of a number": {state("ctorch._utils\n_rebuild_parameter\nK\x01\x88}\x87R"), fault.Corrupt, "no tensor"},
		"members of a dict":       {"\x80\x02}K\x01a.", fault.Corrupt, "no list"},
		"entries of a list":       {"\x80\x02]K\x01K\x01s.", fault.Corrupt, "no dict"},
		"half an entry":           {"\x80\x02}(K\x01u.", fault.Corrupt, "no dict"},
		"a key that is a dict":    {"\x80\x02}}}s.", fault.Internal, ""}, // which is left out
		"an unknown reference":    {"\x80\x02h\x07.", fault.Corrupt, "reference to nothing"},
		"an empty stack":          {"\x80\x02.", fault.Corrupt, "too little"},
		"nothing but a mark":      {"\x80\x02}(.", fault.Corrupt, "too little"},
		"entries under a mark":    {"\x80\x02}K\x01K\x01(s.", fault.Corrupt, "too little"},
		"no mark":                 {"\x80\x02}u.", fault.Corrupt, "too little"},
		"no end":                  {"\x80\x02}", fault.Corrupt, "end too early"},
		"no end of a name":        {"\x80\x02cos", fault.Corrupt, "end too early"},
		"a text of 2^63":          {"\x80\x04\x8d\x00\x00\x00\x00\x00\x00\x00\x80.", fault.Corrupt, "end too early"},
		"bytes of 2^60":           {"\x80\x04\x8e\x00\x00\x00\x00\x00\x00\x00\x10.", fault.Corrupt, "end too early"},
		"an integer of 2^31":      {"\x80\x02\x8b\x00\x00\x00\x80.", fault.Corrupt, "end too early"},
		"a dict in itself":        {"\x80\x02}q\x00" + text("a") + "h\x00s.", fault.Unsupported, "16 deep"},
		"a long name":             {"\x80\x02}" + text(strings.Repeat("a", 513)) + view(four(), 0, sizes(4), sizes(1)) + "s.", fault.Unsupported, "512 bytes"},
		"two of one name":         {"\x80\x02}K\x01" + view(four(), 0, sizes(4), sizes(1)) + "q\x00s" + text("1") + "h\x00s.", fault.Unsupported, `two tensors that are called "1"`},
		"a million steps":         {strings.Repeat("N", 1<<20) + ".", fault.Unsupported, "1048576 steps"},
		"a million marks":         {strings.Repeat("(", 1<<20), fault.Unsupported, "1048576 steps"},
	}
	// Ten times the same dict in each of nine dicts in dicts: a milliard to look at.
	tree := "}q\x00"
	for depth := range byte(9) {
		tree += "}"
		for i := range byte(10) {
			tree += "K" + string([]byte{i}) + "h" + string([]byte{depth}) + "s"
		}
		tree += "q" + string([]byte{depth + 1})
	}
	list["a milliard of dicts"] = row{"\x80\x02" + tree + ".", fault.Unsupported, "1048576 entries"}
	var many strings.Builder
	many.WriteString("\x80\x02" + view(four(), 0, sizes(0), sizes(1)) + "q\x00}(")
	for i := range 1<<15 + 1 {
		many.WriteString("M" + string([]byte{byte(i), byte(i >> 8)}) + "h\x00")
	}
	list["too many tensors"] = row{many.String() + "u.", fault.Unsupported, "32768 tensors"}
	return list
}

func TestHostile(t *testing.T) {
	for name, c := range hostile() {
		t.Run(name, func(t *testing.T) {
			file := archive(t, c.pickle)
			_, err := cheaply(t, file)
			if c.says == "" && err == nil {
				return
			}
			if fault.KindOf(err) != c.kind || !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("%v (%v), want %v with %q", err, fault.KindOf(err), c.kind, c.says)
			}
		})
	}
}

// cheaply decodes a file within 256 bytes of memory for each of its own.
func cheaply(t *testing.T, file []byte) (map[string]onnxexport.Tensor, error) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := decode(file)
	runtime.ReadMemStats(&after)
	if used, may := after.TotalAlloc-before.TotalAlloc, uint64(1<<20+256*len(file)); used > may {
		t.Errorf("%d bytes of memory for a file of %d", used, len(file))
	}
	return got, err
}

// TestArchives are zip files whose directory says other than what is there.
func TestArchives(t *testing.T) {
	one := func(count int64) string {
		return state(view(at("0", "FloatStorage", count), 0, sizes(count), sizes(1)))
	}
	zeros := func(n int) string { return strings.Repeat("\x00", n) }
	big := make([]byte, 16) // integers that are not read
	good := part{"x/data.pkl", one(4), zip.Deflate, 0}
	three := state(view(at("0", "FloatStorage", 2500), 0, sizes(1), sizes(1)), view(at("1", "FloatStorage", 2500), 0, sizes(1), sizes(1)), view(at("2", "FloatStorage", 2500), 0, sizes(1), sizes(1)))
	for name, c := range map[string]struct {
		parts []part
		kind  fault.Kind
		says  string
	}{
		"good":                     {[]part{good, {"x/data/0", zeros(16), zip.Deflate, 0}}, 0, ""},
		"a bomb":                   {[]part{{"x/data.pkl", one(16 << 20), zip.Store, 0}, {"x/data/0", zeros(64 << 20), zip.Deflate, 0}}, fault.Unsupported, "8 times its size"},
		"three small bombs":        {[]part{{"x/data.pkl", three, zip.Store, 0}, {"x/data/0", zeros(10000), zip.Deflate, 0}, {"x/data/1", zeros(10000), zip.Deflate, 0}, {"x/data/2", zeros(10000), zip.Deflate, 0}}, fault.Unsupported, "8 times its size"},
		"a bomb of a pickle":       {[]part{{"x/data.pkl", strings.Repeat("N", 1<<20) + ".", zip.Deflate, 0}}, fault.Unsupported, "8 times its size"},
		"a pickle of 2^60":         {[]part{{"x/data.pkl", one(4), zip.Deflate, 1 << 60}}, fault.Unsupported, "data.pkl of more than"},
		"a storage of 2^60":        {[]part{{"x/data.pkl", one(1 << 58), zip.Store, 0}, {"x/data/0", zeros(16), zip.Deflate, 1 << 60}}, fault.Unsupported, "8 times its size"},
		"a plain storage of 2^60":  {[]part{{"x/data.pkl", one(1 << 58), zip.Store, 0}, {"x/data/0", zeros(16), zip.Store, 1 << 60}}, fault.Corrupt, "larger than the file"},
		"more than it says":        {[]part{good, {"x/data/0", zeros(17), zip.Deflate, 16}}, fault.Corrupt, "longer than it should be"},
		"less than it says":        {[]part{good, {"x/data/0", zeros(15), zip.Deflate, 16}}, fault.Corrupt, "cut or changed"},
		"less, and no compression": {[]part{{"x/data.pkl", one(25), zip.Store, 0}, {"x/data/0", zeros(16), zip.Store, 100}}, fault.Corrupt, "another checksum"},
		"twice":                    {[]part{good, {"x/data/0", string(big), zip.Store, 0}, {"x/data/0", zeros(16), zip.Store, 0}}, fault.Corrupt, "a part twice"},
		"no numbers":               {[]part{good}, fault.Corrupt, `no part "data/0"`},
		"no pickle":                {[]part{{"x/data/0", zeros(16), zip.Store, 0}}, fault.Unsupported, "did not write"},
		"another program's":        {[]part{{"document.xml", "<x/>", zip.Store, 0}}, fault.Unsupported, "did not write"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := cheaply(t, pack(t, c.parts...))
			if c.says == "" {
				if err != nil || len(got) != 1 {
					t.Errorf("%v, %v", got, err)
				}
				return
			}
			if fault.KindOf(err) != c.kind || !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("%v (%v), want %v with %q", err, fault.KindOf(err), c.kind, c.says)
			}
		})
	}
	tar := make([]byte, 1024)
	copy(tar[257:], "ustar")
	if _, err := decode(tar); fault.KindOf(err) != fault.Unsupported || !strings.Contains(err.Error(), "before PyTorch 1.6") {
		t.Errorf("the oldest format: %v", err)
	}
}

// check says what must hold of whatever a file gives.
func check(t *testing.T, file []byte, got map[string]onnxexport.Tensor, err error) {
	if k := fault.KindOf(err); err != nil && k != fault.Corrupt && k != fault.Unsupported {
		t.Fatalf("not classified: %v", err)
	}
	total := 0
	for name, tensor := range got {
		n := 1
		for _, d := range tensor.Shape {
			n *= d
		}
		if n != len(tensor.Data) {
			t.Fatalf("%q has shape %v and %d numbers", name, tensor.Shape, len(tensor.Data))
		}
		total += n
	}
	if most := 4 * (1024 + 8*(len(file)+1024)); total > most {
		t.Fatalf("%d numbers of a file of %d bytes", total, len(file))
	}
}

// seeds are the files of testdata.
func seeds(f *testing.F) (files [][]byte) {
	names, err := filepath.Glob("testdata/*.*")
	if err != nil || len(names) < 15 {
		f.Fatal(names, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		files = append(files, b)
	}
	return files
}

func FuzzRead(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := decode(file)
		check(t, file, got, err)
	})
}

// FuzzPickle changes what checksums keep from FuzzRead.
func FuzzPickle(f *testing.F) {
	for _, b := range seeds(f) {
		z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			continue
		}
		for _, p := range z.File {
			if !strings.HasSuffix(p.Name, "/data.pkl") || p.Method > zip.Deflate {
				continue
			}
			r, err := p.Open()
			if err != nil {
				f.Fatal(err)
			}
			if pickle, err := io.ReadAll(r); err == nil {
				f.Add(string(pickle))
			}
		}
	}
	pickles := hostile()
	for _, name := range slices.Sorted(maps.Keys(pickles)) {
		if p := pickles[name].pickle; len(p) < 10000 {
			f.Add(p)
		}
	}
	f.Add(state(view(four(), 1, sizes(1, 3), sizes(0, 1)), view(four(), 0, sizes(2, 2), sizes(1, 2))))
	f.Fuzz(func(t *testing.T, pickle string) {
		file := archive(t, pickle)
		got, err := decode(file)
		check(t, file, got, err)
	})
}
