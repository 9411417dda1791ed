package assemble_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/radstream/radstream/ingest/assemble"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

const version = "1"

// shift moves every patient by another number of days.
func shift(p event.PatientKey, t time.Time) time.Time { return t.AddDate(0, 0, -len(p)) }

// view is a view of object o. Objects 10 apart have the same pixels.
func view(o int) *radstreamv1.PreparedView {
	pixels := sha256.Sum256([]byte{byte(o % 10)})
	object := sha256.Sum256([]byte{byte(o), 1})
	return &radstreamv1.PreparedView{Projection: radstreamv1.Projection(1 + o%2), PixelsSha256: pixels[:], ObjectSha256: object[:]}
}

func report(text string) *radstreamv1.PreparedReport {
	sum := sha256.Sum256([]byte(text))
	return &radstreamv1.PreparedReport{Text: text, ReportSha256: sum[:]}
}

func facts(id string, views ...*radstreamv1.PreparedView) assemble.Facts {
	return assemble.Facts{
		ArrivalID: event.MessageID(id), StudyUID: "1.2.3", StudyKey: "s", PatientKey: "patient", PatientKnown: true,
		Stranger: "stranger", Shift: shift, Views: views, Tokenizer: "tok",
	}
}

// add fails the test on an error.
func add(t interface{ Fatal(...any) }, known *radstreamv1.StudyPrepared, f assemble.Facts) (*radstreamv1.StudyPrepared, bool) {
	next, changed, err := assemble.Next(known, f, version)
	if err != nil {
		t.Fatal(err)
	}
	return next, changed
}

func TestFirstRevision(t *testing.T) {
	f := facts("a", view(2), view(1))
	f.ShiftedTime, f.Report = time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC), report("clear")
	got, changed := add(t, nil, f)
	if !changed || got.Rev != 1 || got.StudyKey != "s" || got.PatientKey != "patient" || got.Report.Text != "clear" || len(got.PrepId) != 64 {
		t.Errorf("got %v, changed %t", got, changed)
	}
	want := &radstreamv1.Provenance{PreparationVersion: version, Tokenizer: "tok", ArrivalIds: []string{"a"}}
	if d := cmp.Diff(want, got.Provenance, protocmp.Transform()); d != "" {
		t.Errorf("provenance (-want +got):\n%s", d)
	}
	if got.Views[0].Projection != radstreamv1.Projection_PROJECTION_FRONTAL || !got.ShiftedTime.AsTime().Equal(f.ShiftedTime) {
		t.Errorf("got %v", got)
	}
	if strings.Contains(got.String(), "1.2.3") {
		t.Errorf("the revision holds the StudyUID: %v", got)
	}
}

// TestOrder: any order of arrivals, with repeats, gives the same views, report and time,
// and adding all of them again adds nothing.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var arrivals []assemble.Facts
		for i := range rapid.IntRange(1, 5).Draw(t, "arrivals") {
			f := facts(fmt.Sprint(i))
			for _, o := range rapid.SliceOfN(rapid.IntRange(0, 29), 0, 3).Draw(t, "objects") {
				f.Views = append(f.Views, view(o))
			}
			if rapid.Bool().Draw(t, "stranger") {
				f.PatientKnown, f.PatientKey = false, f.Stranger
			}
			if day := rapid.IntRange(0, 5).Draw(t, "day"); day > 0 {
				f.ShiftedTime = shift(f.PatientKey, time.Date(2020, 1, day, 0, 0, 0, 0, time.UTC))
			}
			if rapid.Bool().Draw(t, "report") {
				f.Report = report("the report")
			}
			arrivals = append(arrivals, f)
		}
		fold := func(known *radstreamv1.StudyPrepared, order []assemble.Facts) *radstreamv1.StudyPrepared {
			for _, f := range order {
				before := proto.CloneOf(known)
				next, changed := add(t, known, f)
				if d := cmp.Diff(before, known, protocmp.Transform()); d != "" {
					t.Fatalf("what was known was modified:\n%s", d)
				}
				if changed && next.Rev != before.GetRev()+1 || !changed && next != known {
					t.Fatalf("changed %t from revision %d to %d", changed, before.GetRev(), next.Rev)
				}
				known = next
			}
			return known
		}
		first := fold(nil, arrivals)
		repeats := append(arrivals, rapid.SliceOfN(rapid.SampledFrom(arrivals), 0, 5).Draw(t, "repeats")...)
		second := fold(nil, rapid.Permutation(repeats).Draw(t, "order"))
		// Which of two objects with equal pixels a view names, and what the revisions are
		// called, may differ.
		ignore := cmp.Options{
			protocmp.Transform(), protocmp.IgnoreFields(&radstreamv1.StudyPrepared{}, "rev", "prep_id", "provenance"),
			protocmp.IgnoreFields(&radstreamv1.PreparedView{}, "object_sha256"),
		}
		if d := cmp.Diff(first, second, ignore); d != "" {
			t.Fatalf("another order gives another study:\n%s", d)
		}
		if again := fold(first, arrivals); again != first {
			t.Fatalf("repeats made revision %d of %d", again.Rev, first.Rev)
		}
	})
}

func TestReport(t *testing.T) {
	f1, f2 := facts("a"), facts("b")
	f1.Report, f2.Report = report("preliminary"), report("final")
	s, _ := add(t, nil, f1)
	s, changed := add(t, s, f2)
	if !changed || s.Report.Text != "final" || s.Rev != 2 {
		t.Fatalf("the later report does not count: %v", s)
	}
	if s, changed = add(t, s, f1); changed {
		t.Errorf("a repeat brought the older report back: %v", s)
	}
	if s, changed = add(t, s, facts("c")); changed {
		t.Errorf("an arrival of nothing made a revision: %v", s)
	}
}

func TestVersion(t *testing.T) {
	f := facts("a", view(1))
	f.Report = report("text")
	old, _ := add(t, nil, f)
	if _, changed, err := assemble.Next(old, f, "2"); changed || err != nil {
		t.Errorf("equal results of a new version made a revision, %v", err)
	}
	other := view(1)
	other.PixelsSha256 = []byte("other")
	f.Views = []*radstreamv1.PreparedView{other}
	if _, changed := add(t, old, f); changed {
		t.Errorf("the same version replaced a view")
	}
	next, changed, err := assemble.Next(old, f, "2")
	if err != nil || !changed || len(next.Views) != 1 || string(next.Views[0].PixelsSha256) != "other" || next.Provenance.PreparationVersion != "2" {
		t.Errorf("the new version did not replace the view: %v, %v", next, err)
	}
}

func TestPatient(t *testing.T) {
	day := time.Date(2020, 1, 20, 0, 0, 0, 0, time.UTC)
	stranger := facts("a", view(1))
	stranger.PatientKnown, stranger.PatientKey, stranger.ShiftedTime = false, "stranger", shift("stranger", day)
	s, _ := add(t, nil, stranger)
	if s.PatientKey != "stranger" {
		t.Fatalf("patient %s", s.PatientKey)
	}
	s, changed := add(t, s, facts("b"))
	if !changed || s.PatientKey != "patient" || !s.ShiftedTime.AsTime().Equal(shift("patient", day)) {
		t.Errorf("the patient became known, the study did not move: %v", s)
	}
	if s, changed = add(t, s, stranger); changed || s.PatientKey != "patient" {
		t.Errorf("the study went back to a stranger: %v", s)
	}
	other := facts("c", view(2))
	other.PatientKey = "somebody else"
	if _, _, err := assemble.Next(s, other, version); fault.ReasonOf(err) != assemble.ReasonPatient || fault.KindOf(err) != fault.Invalid {
		t.Errorf("another patient: %v", err)
	}
}

// TestEarliest: of two times of a study the earlier counts.
func TestEarliest(t *testing.T) {
	early, late := facts("a"), facts("b")
	early.ShiftedTime = time.Date(2020, 1, 2, 0, 0, 0, 0, time.UTC)
	late.ShiftedTime = early.ShiftedTime.Add(time.Hour)
	s, _ := add(t, nil, late)
	if s, changed := add(t, s, early); !changed || !s.ShiftedTime.AsTime().Equal(early.ShiftedTime) {
		t.Errorf("time %v, changed %t", s.ShiftedTime.AsTime(), changed)
	}
}

func TestTooManyViews(t *testing.T) {
	f := facts("a")
	for o := range assemble.MaxViews + 1 {
		v := view(o)
		v.PixelsSha256 = v.ObjectSha256
		f.Views = append(f.Views, v)
	}
	if _, _, err := assemble.Next(nil, f, version); fault.ReasonOf(err) != assemble.ReasonTooManyViews || fault.KindOf(err) != fault.Unsupported {
		t.Errorf("got %v", err)
	}
	f.Views = f.Views[1:]
	if s, _ := add(t, nil, f); len(s.Views) != assemble.MaxViews {
		t.Errorf("%d views", len(s.Views))
	}
}

// TestPrepID: what makes a revision another one makes another id, and nothing else does.
func TestPrepID(t *testing.T) {
	base := func() assemble.Facts {
		f := facts("a", view(1), view(2))
		f.ShiftedTime, f.Report = time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC), report("clear")
		return f
	}
	ids := map[string]string{}
	for name, change := range map[string]func(*assemble.Facts){
		"base":    func(*assemble.Facts) {},
		"study":   func(f *assemble.Facts) { f.StudyKey = "t" },
		"patient": func(f *assemble.Facts) { f.PatientKey = "q" },
		"time":    func(f *assemble.Facts) { f.ShiftedTime = f.ShiftedTime.Add(time.Second) },
		"report":  func(f *assemble.Facts) { f.Report = report("not clear") },
		"no text": func(f *assemble.Facts) { f.Report = nil },
		"view":    func(f *assemble.Facts) { f.Views[0] = view(3) },
		"kind":    func(f *assemble.Facts) { f.Views[0].Projection = 3 - f.Views[0].Projection },
		"fewer":   func(f *assemble.Facts) { f.Views = f.Views[:1] },
	} {
		f := base()
		change(&f)
		s, _ := add(t, nil, f)
		if other, taken := ids[s.PrepId]; taken {
			t.Errorf("%s and %s have the same id", name, other)
		}
		ids[s.PrepId] = name
	}
	f := base()
	f.Views[0], f.Views[1] = f.Views[1], f.Views[0]
	if s, _ := add(t, nil, f); ids[s.PrepId] != "base" {
		t.Errorf("the order of views changes the id")
	}
	other, _, err := assemble.Next(nil, base(), "2")
	if err != nil || ids[other.PrepId] != "" {
		t.Errorf("the version does not change the id, %v", err)
	}
}
