package phantom

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	sk "github.com/suyashkumar/dicom"
	"github.com/suyashkumar/dicom/pkg/tag"
	"pgregory.net/rapid"

	"github.com/radstream/radstream/schemas/fault"
)

var update = flag.Bool("update", false, "rewrite testdata/golden.json")

// small is a quick configuration.
func small(studies int) Config {
	c := Defaults()
	c.Studies, c.Side = studies, 160
	return c
}

func TestValidate(t *testing.T) {
	if err := Defaults().Validate(); err != nil {
		t.Fatalf("the defaults are refused: %v", err)
	}
	bad := Config{Studies: 0, Side: 5, LateralShare: 2, NormalShare: -1, PriorShare: math.NaN(), Broken: -1, Kinds: []Kind{"gout", Edema, Edema}}
	err := bad.Validate()
	if fault.KindOf(err) != fault.Usage {
		t.Fatalf("kind %v, want usage", fault.KindOf(err))
	}
	for _, want := range []string{"studies", "side", "lateral share", "normal share", "prior share", "broken", "finding 1", "finding 3"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %q: %v", want, err)
		}
	}
	if _, err := Generate(small(3), 3); fault.KindOf(err) != fault.Usage {
		t.Errorf("study 3 of 3: %v, want a usage fault", err)
	}
}

// TestVariantsDifferInTheirFindings holds the variants of a patient to what they are for: the
// same body on the same day, each kind once, and films that are equal outside the findings.
func TestVariantsDifferInTheirFindings(t *testing.T) {
	c := small(2 * len(Ranges()))
	c.SingleFinding, c.PriorShare, c.LateralShare, c.Variants = true, 0, 1, len(Ranges())
	var first Study
	kinds := map[Kind]bool{}
	for i := range c.Studies {
		s, err := Generate(c, i)
		if err != nil {
			t.Fatal(err)
		}
		if i%c.Variants == 0 {
			first, kinds = s, map[Kind]bool{}
		}
		if s.PatientID != first.PatientID || !s.Time.Equal(first.Time) || s.UID == first.UID != (i%c.Variants == 0) {
			t.Errorf("variant %d is of patient %s at %v, the first of %s at %v", i, s.PatientID, s.Time, first.PatientID, first.Time)
		}
		kind := s.Truth.Findings[0].Kind
		if kinds[kind] {
			t.Errorf("variant %d repeats %s", i, kind)
		}
		kinds[kind] = true
		if a, b := first.Views[0], s.Views[0]; a.Rows != b.Rows || a.Columns != b.Columns || a.Pixels[0] != b.Pixels[0] {
			t.Errorf("variant %d has another film", i)
		}
	}
	c.PriorShare = 0.5
	if err := c.Validate(); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "variants") {
		t.Errorf("variants with priors: %v", err)
	}
}

// tree returns the sha256 of each file under dir.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		sum := sha256.Sum256(data)
		sums[filepath.ToSlash(name)] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

func TestWriteIsTheSameWithAnyNumberOfWorkers(t *testing.T) {
	c := small(16)
	c.Broken = 7
	var trees []map[string]string
	for _, workers := range []int{1, 5} {
		old := runtime.GOMAXPROCS(workers)
		dir := t.TempDir()
		calls := 0
		sum, err := Write(context.Background(), dir, c, func(done, total int) {
			if calls++; done != calls || total != 16 {
				t.Errorf("progress said %d of %d at call %d", done, total, calls)
			}
		})
		runtime.GOMAXPROCS(old)
		if err != nil {
			t.Fatal(err)
		}
		if sum.Studies != 16 || sum.Broken != 7 || sum.Reports != 9 || calls != 16 {
			t.Errorf("summary %+v after %d calls", sum, calls)
		}
		trees = append(trees, tree(t, dir))
		checkTables(t, dir, c)
	}
	if d := cmp.Diff(trees[0], trees[1]); d != "" {
		t.Errorf("1 and 5 workers differ:\n%s", d)
	}
}

// checkTables holds truth.json and reports.csv against the files.
func checkTables(t *testing.T, dir string, c Config) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	var truths []Truth
	if err := json.Unmarshal(data, &truths); err != nil {
		t.Fatal(err)
	}
	table, err := os.Open(filepath.Join(dir, "reports.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	rows, err := csv.NewReader(table).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	reported := map[string]string{}
	for _, row := range rows[1:] {
		reported[row[0]] = row[3]
	}
	broken := 0
	for _, truth := range truths {
		for _, name := range truth.Objects {
			if _, err := os.Stat(filepath.Join(dir, truth.Folder, name)); err != nil {
				t.Error(err)
			}
		}
		path, has := reported[truth.StudyUID]
		if has == (truth.Broken != "") {
			t.Errorf("%s: report %v, broken %q", truth.Folder, has, truth.Broken)
		}
		if truth.Broken != "" {
			broken++
			if len(truth.Objects) != 1 || truth.BrokenObject != truth.Objects[0] {
				t.Errorf("%s: a broken study must have its broken object only: %v", truth.Folder, truth.Objects)
			}
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, path)); err != nil {
			t.Error(err)
		}
	}
	if len(truths) != c.Studies || broken != c.Broken || len(rows) != 1+c.Studies-c.Broken {
		t.Errorf("%d truths, %d broken, %d report rows", len(truths), broken, len(rows))
	}
}

func TestStudyDoesNotDependOnHowManyThereAre(t *testing.T) {
	for _, i := range []int{0, 3, 8} {
		few, err := Generate(small(9), i)
		if err != nil {
			t.Fatal(err)
		}
		many, err := Generate(small(900), i)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(few, many); d != "" {
			t.Errorf("study %d differs:\n%.500s", i, d)
		}
	}
}

func TestWriteStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Write(ctx, t.TempDir(), small(40), func(int, int) { cancel() })
	if !errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Canceled {
		t.Errorf("got %v (%v), want canceled", err, fault.KindOf(err))
	}
}

func TestSingleFindingIsBalanced(t *testing.T) {
	c := small(4 * len(Ranges()))
	c.SingleFinding, c.PriorShare = true, 0.5
	count := map[Kind]int{}
	for i := range c.Studies {
		p := c.plan(i)
		if len(p.findings) != 1 {
			t.Fatalf("study %d has %d findings", i, len(p.findings))
		}
		count[p.findings[0].Kind]++
	}
	for _, r := range Ranges() {
		if count[r.Kind] != 4 {
			t.Errorf("%d studies of %s, want 4", count[r.Kind], r.Kind)
		}
	}
}

func TestPlansKeepTheRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Defaults()
		c.Studies = 1000
		c.Seed = rapid.Uint64().Draw(t, "seed")
		c.LateralShare = rapid.Float64Range(0, 1).Draw(t, "lateral")
		c.PriorShare = rapid.Float64Range(0, 1).Draw(t, "prior")
		i := rapid.IntRange(0, 499).Draw(t, "pair") * 2
		first, second := c.plan(i), c.plan(i+1)
		for _, p := range []plan{first, second} {
			seen := map[Kind]Side{}
			for _, f := range p.findings {
				r, _ := rangeOf(f.Kind)
				if f.SizeMM < r.SizeMM[0] || f.SizeMM > r.SizeMM[1] || f.Contrast < r.Contrast[0] || f.Contrast > r.Contrast[1] {
					t.Fatalf("out of range: %+v", f)
				}
				if !slices.Contains(r.Sides, f.Side) || seen[f.Kind] != "" {
					t.Fatalf("side or repeated: %+v", f)
				}
				if f.LateralOnly && (!p.lateral || r.LateralOnly == 0) {
					t.Fatalf("lateral only without a lateral: %+v", f)
				}
				if (f.Progression != "") != p.followUp {
					t.Fatalf("progression %q, follow-up %v", f.Progression, p.followUp)
				}
				seen[f.Kind] = f.Side
			}
			if len(p.findings) > 3 {
				t.Fatalf("%d findings", len(p.findings))
			}
			if e, ok := seen[Effusion]; ok && (e == seen[Pneumothorax] || e == Bilateral && seen[Pneumothorax] != "") {
				t.Fatalf("fluid and air in one side: %v", seen)
			}
		}
		if !second.followUp {
			return
		}
		if first.patient != second.patient || !first.time.Before(second.time) || len(first.findings) != len(second.findings) {
			t.Fatalf("not a pair: %+v, %+v", first, second)
		}
		for k, now := range second.findings {
			was := first.findings[k].SizeMM
			if ok := map[Progression]bool{Improved: was > 1.2*now.SizeMM, Stable: was == now.SizeMM, Worsened: now.SizeMM > 1.2*was}[now.Progression]; !ok {
				t.Fatalf("%s: %.1f then %.1f mm", now.Progression, was, now.SizeMM)
			}
		}
	})
}

func TestGolden(t *testing.T) {
	c := Defaults()
	c.Studies, c.Seed, c.Side, c.Broken = 12, 7, 256, 2
	got := map[string]string{}
	for _, i := range []int{0, 1, 4, 11} {
		s, err := Generate(c, i)
		if err != nil {
			t.Fatal(err)
		}
		files, err := s.Files()
		if err != nil {
			t.Fatal(err)
		}
		truth, err := json.Marshal(s.Truth)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range append(files, File{reportName, []byte(s.Report)}, File{"truth", truth}) {
			sum := sha256.Sum256(f.Data)
			got[s.Truth.Folder+"/"+f.Name] = hex.EncodeToString(sum[:])
		}
	}
	path := filepath.Join("testdata", "golden.json")
	if *update {
		text, err := json.MarshalIndent(got, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]string
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the bytes changed; if that is meant, run with -update:\n%s", d)
	}
}

func TestFilesParse(t *testing.T) {
	c := small(24)
	c.Broken = 7
	seen := map[BrokenKind]bool{}
	for i := range c.Studies {
		s, err := Generate(c, i)
		if err != nil {
			t.Fatal(err)
		}
		files, err := s.Files()
		if err != nil {
			t.Fatal(err)
		}
		if s.Truth.Broken != "" {
			seen[s.Truth.Broken] = true
			checkBroken(t, s.Truth.Broken, files[0].Data)
			continue
		}
		for k, f := range files {
			ds, err := sk.Parse(bytes.NewReader(f.Data), int64(len(f.Data)), nil)
			if err != nil {
				t.Fatalf("%s/%s: %v", s.Truth.Folder, f.Name, err)
			}
			el, err := ds.FindElementByTag(tag.StudyInstanceUID)
			if err != nil || sk.MustGetStrings(el.Value)[0] != s.UID {
				t.Errorf("%s/%s: study UID: %v", s.Truth.Folder, f.Name, err)
			}
			if side := max(s.Views[k].Rows, s.Views[k].Columns); side > c.Side || side < c.Side*3/4 {
				t.Errorf("%s/%s: longer side %d", s.Truth.Folder, f.Name, side)
			}
		}
	}
	if len(seen) != len(brokenKinds()) {
		t.Errorf("kinds of damage seen: %v", seen)
	}
}

// checkBroken tells whether an object is damaged as its kind says.
func checkBroken(t *testing.T, kind BrokenKind, data []byte) {
	t.Helper()
	parse := func(opts ...sk.ParseOption) (ds sk.Dataset, err error) {
		defer func() {
			if r := recover(); r != nil { // the library panics on an unknown transfer syntax
				err = errors.New("panic")
			}
		}()
		return sk.Parse(bytes.NewReader(data), int64(len(data)), nil, opts...)
	}
	ds, err := parse(sk.SkipPixelData())
	text := func(tg tag.Tag) string {
		el, err := ds.FindElementByTag(tg)
		if err != nil {
			return ""
		}
		return sk.MustGetStrings(el.Value)[0]
	}
	ok := false
	switch kind {
	case BrokenEmpty:
		ok = len(data) == 0
	case BrokenText:
		ok = err != nil && len(data) > 0
	case BrokenTruncated:
		// skipping notices the missing bytes; reading them, the library ends without an error
		ok = err != nil && len(data) > 2000
	case BrokenCT:
		ok = err == nil && text(tag.Modality) == "CT" && text(tag.SOPClassUID) == "1.2.840.10008.5.1.4.1.1.2" && text(tag.MediaStorageSOPClassUID) == text(tag.SOPClassUID)
	case BrokenHuge:
		rows, e1 := ds.FindElementByTag(tag.Rows)
		cols, e2 := ds.FindElementByTag(tag.Columns)
		ok = e1 == nil && e2 == nil && sk.MustGetInts(rows.Value)[0] == 20000 && sk.MustGetInts(cols.Value)[0] == 20000
	case BrokenNoPixels:
		_, e := ds.FindElementByTag(tag.PixelData)
		ok = err == nil && errors.Is(e, sk.ErrorElementNotFound)
	case BrokenUnknownCodec:
		ok = bytes.Contains(data, []byte("2.25.99887766554433\x00")) && err != nil
	}
	if !ok {
		t.Errorf("%s: not damaged as said (parse error: %v)", kind, err)
	}
}

func BenchmarkStudy(b *testing.B) {
	c := Defaults()
	c.Studies, c.LateralShare = 1000, 1
	for i := 0; b.Loop(); i++ {
		s, err := Generate(c, i%c.Studies)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Files(); err != nil {
			b.Fatal(err)
		}
	}
}
