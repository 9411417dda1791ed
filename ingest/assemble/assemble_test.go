package assemble_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"
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
	return &radstreamv1.PreparedView{Projection: radstreamv1.Projection(1 + o%2), Png: []byte{byte(o % 10)}, PixelsSha256: pixels[:], ObjectSha256: object[:],
		PreparationVersion: version}
}

// report is a version of a report whose text, after cleaning, is text.
func report(text string) *radstreamv1.ReportStatement {
	sum := sha256.Sum256([]byte(text))
	return &radstreamv1.ReportStatement{Status: final, ReportSha256: sum[:], Sections: []*radstreamv1.Section{{Name: "findings", Text: text}},
		PreparationVersion: version}
}

const (
	final     = radstreamv1.ReportStatus_REPORT_STATUS_FINAL
	corrected = radstreamv1.ReportStatus_REPORT_STATUS_CORRECTED
	addendum  = radstreamv1.ReportStatus_REPORT_STATUS_ADDENDUM
	retracted = radstreamv1.ReportStatus_REPORT_STATUS_RETRACTED
)

// compose joins sections as they are.
func compose(sections []*radstreamv1.Section) (*radstreamv1.PreparedReport, error) {
	var texts []string
	for _, s := range sections {
		texts = append(texts, s.Text)
	}
	return &radstreamv1.PreparedReport{Text: strings.Join(texts, " "), Sections: sections}, nil
}

// hour is a time on the day of the tests.
func hour(h int) *timestamppb.Timestamp {
	return timestamppb.New(time.Date(2020, 1, 2, h, 0, 0, 0, time.UTC))
}

func facts(id string, views ...*radstreamv1.PreparedView) assemble.Facts {
	return assemble.Facts{
		ArrivalID: event.MessageID(id), StudyUID: "1.2.3", StudyKey: "s", PatientKey: "patient", PatientKnown: true,
		Stranger: "stranger", Shift: shift, Views: views, Compose: compose, Tokenizer: "tok",
	}
}

// add fails the test on an error.
func add(t interface{ Fatal(...any) }, known *radstreamv1.StudyPrepared, f assemble.Facts) (*radstreamv1.StudyPrepared, bool) {
	next, changed, err := assemble.Next(known, f)
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

// TestOrder: any order of arrivals, with repeats, gives the same study, and adding all of
// them again adds nothing. What is drawn has images that replace others, texts that are said
// more than once at other times, corrections, addenda, retractions, merged patients.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var arrivals []assemble.Facts
		for i := range rapid.IntRange(1, 6).Draw(t, "arrivals") {
			f := facts(fmt.Sprint(i))
			f.Resolve = func(p event.PatientKey) event.PatientKey {
				if p == "was merged" {
					return "patient"
				}
				return p
			}
			switch rapid.IntRange(0, 3).Draw(t, "patient") {
			case 0:
				f.PatientKnown, f.PatientKey = false, f.Stranger
			case 1:
				f.PatientKey = "was merged"
			}
			at := func(label string) *timestamppb.Timestamp {
				h := rapid.IntRange(-1, 4).Draw(t, label)
				if h < 0 {
					return nil
				}
				return timestamppb.New(shift(f.PatientKey, hour(h).AsTime()))
			}
			for _, o := range rapid.SliceOfN(rapid.IntRange(0, 29), 0, 3).Draw(t, "objects") {
				v := view(o)
				// One instance has several objects, of other pixels and of the same.
				v.InstanceKey = []string{"", "one", "two"}[o%3]
				if v.InstanceKey != "" {
					v.ShiftedContentTime = timestamppb.New(shift(f.PatientKey, hour(o/10).AsTime()))
				}
				v.ShiftedSaidTime = at("announced")
				f.Views = append(f.Views, v)
			}
			if day := rapid.IntRange(0, 5).Draw(t, "day"); day > 0 {
				f.ShiftedTime = shift(f.PatientKey, time.Date(2020, 1, day, 0, 0, 0, 0, time.UTC))
			}
			if rapid.Bool().Draw(t, "report") {
				f.Report = report(rapid.SampledFrom([]string{"clear", "clear lungs", "nodule"}).Draw(t, "text"))
				f.Report.ReportKey = rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "number")
				f.Report.Status = radstreamv1.ReportStatus(rapid.IntRange(1, 5).Draw(t, "status"))
				f.Report.ShiftedTime, f.Report.ShiftedSaidTime = at("time"), at("said")
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
		repeats := append(slices.Clone(arrivals), rapid.SliceOfN(rapid.SampledFrom(arrivals), 0, 5).Draw(t, "repeats")...)
		order := rapid.Permutation(repeats).Draw(t, "order")
		ignore := cmp.Options{protocmp.Transform(), protocmp.IgnoreFields(&radstreamv1.StudyPrepared{}, "rev", "prep_id", "provenance")}
		if d := cmp.Diff(first, fold(nil, order), ignore); d != "" {
			t.Fatalf("another order gives another study:\n%s", d)
		}
		together, _, refused := assemble.Join(nil, order...)
		if err := errors.Join(refused...); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(first, together, ignore); d != "" || together.Rev != 1 {
			t.Fatalf("all at once give another study, revision %d:\n%s", together.Rev, d)
		}
		if again := fold(first, arrivals); again != first {
			t.Fatalf("repeats made revision %d of %d", again.Rev, first.Rev)
		}
	})
}

// TestReport: which text counts, whatever the order in which the versions arrive.
func TestReport(t *testing.T) {
	say := func(text, number string, status radstreamv1.ReportStatus, time, said int) *radstreamv1.ReportStatement {
		r := report(text)
		r.ReportKey, r.Status, r.ShiftedSaidTime = number, status, hour(said)
		if time >= 0 {
			r.ShiftedTime = hour(time)
		}
		if status == retracted {
			r.Sections = nil
		}
		return r
	}
	named := func(r *radstreamv1.ReportStatement, text string) *radstreamv1.ReportStatement {
		r.Sections[0].Text = text
		return r
	}
	const preliminary, none = radstreamv1.ReportStatus_REPORT_STATUS_PRELIMINARY, -1
	for _, c := range []struct {
		name string
		all  []*radstreamv1.ReportStatement
		want string
	}{
		{"the later time", []*radstreamv1.ReportStatement{say("old", "a", final, 1, 1), say("new", "a", final, 2, 2)}, "new"},
		{"then the status", []*radstreamv1.ReportStatement{say("draft", "a", preliminary, 1, 3), say("signed", "a", final, 1, 2), say("mended", "a", corrected, 1, 1)}, "mended"},
		{"then the message", []*radstreamv1.ReportStatement{say("one", "a", corrected, 1, 2), say("two", "a", corrected, 1, 3)}, "two"},
		{"a time before none", []*radstreamv1.ReportStatement{say("dated", "a", final, 1, 1), say("undated", "", final, none, 9)}, "dated"},
		{"undated, the later message", []*radstreamv1.ReportStatement{say("one", "", final, none, 1), say("two", "", final, none, 2)}, "two"},
		{"an undated correction of a dated report", []*radstreamv1.ReportStatement{say("dated", "a", final, 1, 1), say("mended", "a", corrected, none, 2)}, "mended"},
		{"a repeat brings nothing back", []*radstreamv1.ReportStatement{say("one", "a", final, 1, 1), say("two", "a", corrected, 2, 2), say("one", "a", final, 3, 3)}, "two"},
		{"retracted", []*radstreamv1.ReportStatement{say("wrong", "a", final, 1, 1), say("", "a", retracted, 2, 2)}, ""},
		{"retracted, no time", []*radstreamv1.ReportStatement{say("wrong", "a", final, 1, 1), say("", "a", retracted, none, 2)}, ""},
		{"retracted before it was said again", []*radstreamv1.ReportStatement{say("wrong", "a", final, 1, 1), say("", "a", retracted, 2, 2), say("right", "a", final, 3, 3)}, "right"},
		{"another report was retracted", []*radstreamv1.ReportStatement{say("wrong", "a", final, 2, 2), say("", "a", retracted, 3, 3), say("right", "b", final, 1, 1)}, "right"},
		{"addenda in order", []*radstreamv1.ReportStatement{say("clear", "a", final, 1, 1), say("second", "a", addendum, 3, 3), say("first", "a", addendum, 2, 2)}, "clear first second"},
		{"an addendum that repeats", []*radstreamv1.ReportStatement{say("clear", "a", final, 1, 1), say("Clear and more", "a", addendum, 2, 2)}, "Clear and more"},
		{"a correction holds the addenda before it", []*radstreamv1.ReportStatement{say("clear", "a", final, 1, 1), say("more", "a", addendum, 2, 2), say("all", "a", corrected, 3, 3)}, "all"},
		{"an addendum without a number", []*radstreamv1.ReportStatement{say("clear", "a", final, 1, 1), say("more", "", addendum, 2, 2)}, "clear more"},
		{"the addendum of another report", []*radstreamv1.ReportStatement{say("clear", "a", final, 3, 3), say("other", "b", final, 1, 1), say("more", "b", addendum, 4, 4)}, "clear"},
		{"an addendum alone", []*radstreamv1.ReportStatement{say("more", "a", addendum, 2, 2)}, "more"},
		{"all retracted", []*radstreamv1.ReportStatement{say("wrong", "a", final, 1, 1), say("", "", retracted, 2, 2), say("more", "a", addendum, 1, 1)}, ""},
		{"with and without the names of its people", []*radstreamv1.ReportStatement{say("Doe is well", "a", final, 1, 1), named(say("Doe is well", "a", final, 1, 1), "[name] is well")}, "[name] is well"},
		{"a retracted report's addendum", []*radstreamv1.ReportStatement{say("clear", "a", final, 1, 1), say("more", "a", addendum, 2, 2), say("", "a", retracted, 3, 3)}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, backwards := range []bool{false, true} {
				var s *radstreamv1.StudyPrepared
				all := slices.Clone(c.all)
				if backwards {
					slices.Reverse(all)
				}
				for i, r := range append(all, all...) {
					f := facts(fmt.Sprint(i))
					f.Report = r
					s, _ = add(t, s, f)
				}
				if s.GetReport().GetText() != c.want {
					t.Errorf("backwards %t: the report is %q, want %q", backwards, s.GetReport().GetText(), c.want)
				}
			}
		})
	}
	s, _ := add(t, nil, facts("a", view(1)))
	if s, changed := add(t, s, facts("c")); changed {
		t.Errorf("an arrival of nothing made a revision: %v", s)
	}
}

// TestOldRevision: a revision of before there were statements keeps its report, takes a later
// one, and a repeat of its own makes no revision.
func TestOldRevision(t *testing.T) {
	old, _ := compose(report("old").Sections)
	old.ReportSha256 = report("old").ReportSha256
	known := &radstreamv1.StudyPrepared{StudyKey: "s", PatientKey: "patient", Rev: 3, Report: old, Provenance: &radstreamv1.Provenance{PreparationVersion: version, Tokenizer: "tok"}}
	f := facts("a")
	f.Report = report("old")
	if s, changed := add(t, known, f); changed {
		t.Errorf("a repeat made %v", s)
	}
	f.Report = report("new")
	f.Report.ShiftedTime = hour(1)
	if s, _ := add(t, known, f); s.GetReport().GetText() != "new" || len(s.ReportStatements) != 2 || s.Rev != 4 {
		t.Errorf("got %v", s)
	}
}

// TestInstance: of two images of one instance the newer counts, in both orders; the other is
// kept aside and comes back when it turns out to be newer.
func TestInstance(t *testing.T) {
	image := func(o, content, said int) *radstreamv1.PreparedView {
		v := view(o)
		v.InstanceKey, v.ShiftedContentTime, v.ShiftedSaidTime = "i", hour(content), hour(said)
		return v
	}
	for _, c := range []struct {
		name string
		a, b *radstreamv1.PreparedView // b counts
	}{
		{"later content", image(1, 1, 5), image(3, 2, 1)},
		{"announced later", image(3, 1, 1), image(1, 1, 5)},
	} {
		for _, order := range [][]*radstreamv1.PreparedView{{c.a, c.b}, {c.b, c.a}, {c.a, c.b, c.a}} {
			var s *radstreamv1.StudyPrepared
			for i, v := range order {
				s, _ = add(t, s, facts(fmt.Sprint(i), v))
			}
			if len(s.Views) != 1 || !bytes.Equal(s.Views[0].ObjectSha256, c.b.ObjectSha256) || len(s.SupersededViews) != 1 || s.Rev != 2 {
				t.Errorf("%s: got %v", c.name, s)
			}
		}
	}
	s, _ := add(t, nil, facts("a", image(1, 1, 1)))
	if s, changed := add(t, s, facts("b", image(11, 1, 2))); changed {
		t.Errorf("the same pixels in another file made %v", s)
	}
}

// TestPrior: the newest earlier study is the prior.
func TestPrior(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2020, 1, n, 12, 0, 0, 0, time.UTC) }
	f := facts("a", view(1))
	f.ShiftedTime = day(20)
	s, _ := add(t, nil, f)
	relatives := []assemble.Relative{{StudyKey: "s", ShiftedTime: day(20)}, {StudyKey: "undated"}, {StudyKey: "later", ShiftedTime: day(21)}, {StudyKey: "same time", ShiftedTime: day(20)}}
	if _, changed := assemble.WithPrior(s, relatives, 2); changed {
		t.Error("a study without an earlier one got a prior")
	}
	relatives = append(relatives, assemble.Relative{StudyKey: "old", ShiftedTime: day(1)}, assemble.Relative{StudyKey: "newer", ShiftedTime: day(18).Add(-time.Hour)}, assemble.Relative{StudyKey: "twin", ShiftedTime: day(18).Add(-time.Hour)})
	next, changed := assemble.WithPrior(s, relatives, 2)
	if !changed || next.Prior.GetStudyKey() != "twin" || next.Prior.GetDays() != 2 || next.Rev != 2 || next.PrepId == s.PrepId || s.Prior != nil {
		t.Errorf("got %v", next)
	}
	if again, changed := assemble.WithPrior(next, relatives, 3); changed {
		t.Errorf("the same prior made %v", again)
	}
	if gone, changed := assemble.WithPrior(next, nil, 3); !changed || gone.Prior != nil {
		t.Errorf("a prior that is gone stays: %v", gone)
	}
	f = facts("b", view(2))
	if kept, _ := add(t, next, f); kept.Prior.GetStudyKey() != "twin" {
		t.Errorf("an arrival lost the prior: %v", kept)
	}
}

// TestMove: a merged patient's study moves with all its times.
func TestMove(t *testing.T) {
	f := facts("a", view(1))
	f.ShiftedTime, f.Report = hour(1).AsTime(), report("clear")
	f.Report.ShiftedTime = hour(2)
	s, _ := add(t, nil, f)
	moved, changed := assemble.Move(s, "p", shift)
	days := 24 * time.Hour * time.Duration(len("patient")-len("p"))
	if !changed || moved.PatientKey != "p" || moved.Rev != 2 || moved.Provenance.MovedFrom != "patient" ||
		!moved.ShiftedTime.AsTime().Equal(hour(1).AsTime().Add(days)) || !moved.ReportStatements[0].ShiftedTime.AsTime().Equal(hour(2).AsTime().Add(days)) {
		t.Errorf("got %v", moved)
	}
	if _, changed := assemble.Move(moved, "p", shift); changed {
		t.Error("it moved to where it is")
	}
	f.Resolve = func(event.PatientKey) event.PatientKey { return "p" }
	if again, changed := add(t, moved, f); changed {
		t.Errorf("a repeat under the old patient made %v", again)
	}
	if joined, _ := add(t, s, f); joined.PatientKey != "p" || joined.Provenance.MovedFrom != "patient" {
		t.Errorf("an arrival after the merge left the study where it was: %v", joined)
	}
}

// TestVersion: what a new version of the preparation makes of an arrival takes the place of what
// the old one made of it, arrival by arrival, and the study says which versions it holds.
func TestVersion(t *testing.T) {
	arrivals := func(version string) []assemble.Facts {
		var all []assemble.Facts
		for o := range 3 {
			f := facts(fmt.Sprint("arrival ", o), view(o))
			f.Views[0].InstanceKey = []string{"one", "two", "one"}[o] // the third takes the place of the first
			f.Views[0].ShiftedContentTime = hour(o)
			f.Views[0].PreparationVersion = version
			f.Views[0].PixelsSha256 = append([]byte(version), f.Views[0].PixelsSha256[1:]...)
			all = append(all, f)
		}
		all[1].Report = report("Doe is well")
		all[1].Report.Sections[0].Text, all[1].Report.PreparationVersion = "well in version "+version, version
		return all
	}
	var s *radstreamv1.StudyPrepared
	for _, f := range arrivals("1") {
		s, _ = add(t, s, f)
	}
	if s.Rev != 3 || len(s.Views) != 2 || len(s.SupersededViews) != 1 || s.Provenance.PreparationVersion != "1" {
		t.Fatalf("got %v", s)
	}
	legacy := proto.CloneOf(s) // of before each part had a version
	for _, v := range slices.Concat(legacy.Views, legacy.SupersededViews) {
		v.PreparationVersion = ""
	}
	legacy.ReportStatements[0].PreparationVersion = ""
	for name, s := range map[string]*radstreamv1.StudyPrepared{"": s, "legacy: ": legacy} {
		if again, changed := add(t, s, arrivals("1")[0]); changed {
			t.Errorf("%sthe same version made %v", name, again)
		}
		for i, f := range arrivals("2") {
			var changed bool
			if s, changed = add(t, s, f); !changed || s.Provenance.PreparationVersion != []string{"1 2", "1 2", "2"}[i] {
				t.Errorf("%sarrival %d: changed %t, version %q", name, i, changed, s.Provenance.PreparationVersion)
			}
		}
		if len(s.Views) != 2 || len(s.SupersededViews) != 1 || s.Report.Text != "well in version 2" {
			t.Errorf("%sgot %v", name, s)
		}
		for _, v := range slices.Concat(s.Views, s.SupersededViews) {
			if v.PixelsSha256[0] != '2' {
				t.Errorf("%sa view of version 1 is still there", name)
			}
		}
		if again, changed := add(t, s, arrivals("2")[1]); changed {
			t.Errorf("%sthe new version once more made %v", name, again)
		}
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
	if _, _, err := assemble.Next(s, other); fault.ReasonOf(err) != assemble.ReasonPatient || fault.KindOf(err) != fault.Invalid {
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
	if _, _, err := assemble.Next(nil, f); fault.ReasonOf(err) != assemble.ReasonTooManyViews || fault.KindOf(err) != fault.Unsupported {
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
		"version": func(f *assemble.Facts) { f.Views[0].PreparationVersion = "2" },
		"another": func(f *assemble.Facts) { f.Report.PreparationVersion = "2" },
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
}
