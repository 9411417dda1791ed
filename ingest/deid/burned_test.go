package deid

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/ingest/ocr"
	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
)

// sees reads the lines of whose box some pixel still has the value of ink.
type sees []ocr.Line

const ink = 255

func (s sees) ID() string { return "fake" }

func (s sees) Read(_ context.Context, src ocr.Source) ([]ocr.Line, error) {
	var left []ocr.Line
	for _, l := range s {
		var first [1]byte
		if src.Row(l.Box.Y0, l.Box.X0, first[:]); first[0] == ink {
			left = append(left, l)
		}
	}
	return left, nil
}

// inked is a film with a line of ink in each of the boxes.
func inked(lines []ocr.Line) pixel.Film {
	f := pixel.Film{Rows: 100, Columns: 200, Samples: make([]uint16, 200*100), Display: true, Slope: 1}
	for i := range f.Samples {
		f.Samples[i] = uint16(40 + i%200/2)
	}
	for _, l := range lines {
		for y := l.Box.Y0; y < l.Box.Y1; y++ {
			for x := l.Box.X0; x < l.Box.X1; x++ {
				f.Samples[y*200+x] = ink
			}
		}
	}
	return f
}

func line(x, y int, text string, confidence float64) ocr.Line {
	return ocr.Line{Box: ocr.Box{X0: x, Y0: y, X1: x + 30, Y1: y + 10}, Text: text, Confidence: confidence, Detection: 0.5}
}

func TestClean(t *testing.T) {
	known := Identifiers{Name: "DOE^JANE", PatientID: "12345"}
	lines := []ocr.Line{
		line(10, 10, "D0E^JANE", 0.9),   // the name, misread
		line(45, 10, "F", 0.9),          // beside it
		line(150, 10, "R", 0.9),         // a marker
		line(100, 40, "A", 0.9),         // one letter, alone
		line(10, 60, "kV=120", 0.8),     // technical
		line(100, 80, "PORTABLE", 0.95), // a marker
		line(160, 60, "xq", 0.2),        // not believed
	}
	found := func(l ocr.Line, kind TextKind, matches string, removed bool) BurnedText {
		return BurnedText{Box: l.Box, Kind: kind, Matches: matches, Text: l.Text, Removed: removed}
	}
	for _, c := range []struct {
		policy TextPolicy
		want   []BurnedText
		boxes  int
	}{
		{TextRemove, []BurnedText{
			found(lines[0], KindText, "patient_name", true), found(lines[1], KindText, "", true), found(lines[2], KindMarker, "", false),
			found(lines[4], KindText, "", true), found(lines[5], KindMarker, "", false),
		}, 3},
		{TextRemoveAll, []BurnedText{
			found(lines[0], KindText, "patient_name", true), found(lines[1], KindText, "", true), found(lines[2], KindMarker, "", true),
			found(lines[4], KindText, "", true), found(lines[5], KindMarker, "", true),
		}, 5},
	} {
		t.Run(string(c.policy), func(t *testing.T) {
			b, err := NewBurned(c.policy, sees(lines))
			if err != nil {
				t.Fatal(err)
			}
			film, before := inked(lines), inked(lines)
			got, err := b.Clean(t.Context(), film, pixel.Auto, known)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got.Found); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			if d := cmp.Diff([]string{"PORTABLE", "R"}, got.Markers); d != "" || len(got.Removed) != c.boxes {
				t.Errorf("markers %s, %d boxes", d, len(got.Removed))
			}
			inBoxes := func(x, y int) bool {
				for _, r := range got.Removed {
					if x >= r.X0 && x < r.X1 && y >= r.Y0 && y < r.Y1 {
						return true
					}
				}
				return false
			}
			for i, v := range got.Film.Samples {
				switch in := inBoxes(i%200, i/200); {
				case in && v == ink:
					t.Fatalf("ink is left at %d, %d", i%200, i/200)
				case !in && v != before.Samples[i]:
					t.Fatalf("the film changed at %d, %d", i%200, i/200)
				}
			}
			if v := b.Version(); v != string(c.policy)+"-fake" {
				t.Errorf("version %q", v)
			}
		})
	}
}

// TestCleanLargeBoxes: what repeats the header is removed however large its box is, as that of a name
// that runs diagonally; other boxes of more than a fifth of the film are no text.
func TestCleanLargeBoxes(t *testing.T) {
	large := func(x int, text string) ocr.Line {
		return ocr.Line{Box: ocr.Box{X0: x, Y0: 40, X1: x + 30, Y1: 70}, Text: text, Confidence: 0.9, Detection: 0.9}
	}
	lines := []ocr.Line{large(20, "DOEBLIN"), large(140, "RIBCAGE")}
	b, err := NewBurned(TextRemove, sees(lines))
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.Clean(t.Context(), inked(lines), pixel.Auto, Identifiers{Name: "DOEBLIN^JANE"})
	want := []BurnedText{{Box: lines[0].Box, Kind: KindText, Matches: "patient_name", Text: "DOEBLIN", Removed: true}}
	if d := cmp.Diff(want, got.Found); err != nil || d != "" || len(got.Removed) != 1 {
		t.Errorf("%v, %d boxes, (-want +got)\n%s", err, len(got.Removed), d)
	}
}

// still reads one text whatever was done about it.
type still struct{}

func (still) ID() string { return "" }

func (still) Read(context.Context, ocr.Source) ([]ocr.Line, error) {
	return []ocr.Line{line(10, 10, "DOE JANE", 0.9)}, nil
}

func TestCleanRefuses(t *testing.T) {
	b, err := NewBurned(TextRemove, still{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.Clean(t.Context(), inked(nil), pixel.Auto, Identifiers{})
	if fault.ReasonOf(err) != ReasonBurnedIn || fault.KindOf(err) != fault.Invalid || len(got.Found) != passes {
		t.Errorf("%+v, %v", got.Found, err)
	}
	if _, err := b.Clean(t.Context(), pixel.Film{Rows: 100, Columns: 100, Samples: make([]uint16, 100*100)}, pixel.Auto, Identifiers{}); fault.ReasonOf(err) != pixel.ReasonBlank {
		t.Errorf("a blank film: %v", err)
	}
}

func TestNewBurned(t *testing.T) {
	off, err := NewBurned(TextOff, nil)
	if err != nil || off != nil || off.Version() != "" {
		t.Errorf("off: %v, %v", off, err)
	}
	if c, err := off.Clean(t.Context(), inked(nil), pixel.Auto, Identifiers{}); err != nil || c.Found != nil || len(c.Film.Samples) == 0 {
		t.Errorf("off changes the film: %v", err)
	}
	for _, p := range []TextPolicy{"", "keep", TextRemove} {
		if b, err := NewBurned(p, nil); fault.KindOf(err) != fault.Usage {
			t.Errorf("%q: %v, %v", p, b, err)
		}
	}
}

func TestIsMarker(t *testing.T) {
	for text, want := range map[string]bool{
		"R": true, "L": true, "AP": true, "PORTABLE": true, "AP SUPINE": true, "semi-erect": true, "P0RTABLE": true, "PORTAB1E": true,
		"UPRIGNT": true, "PA/LAT": true, "SUP1NE": true, "RLATDECUB": true, "APPORTABLE": true, "RTPA": true, "A-P": true,
		"SEMI-ERECI": true, "SEMI ERECI": true, "SEMI UPRIGH": true, "SEMIERET": true, "PORTABL": true, "AP SEMI-ERECT": true,
		"ERECI": false, "SEMI NOBILE": false, "RPA": false, "BRIGHT": false,
		"J PORTABLE": false, "UPRIGHT J": false, "SITTIG": false, "PORTALE": false, "SIT TING": false, "SEM1-ERECT": true,
		"": false, "-": false, "WRIGHT": false, "NOBILE": false, "R JM": false, "AP 1961": false, "LEE": false, "RIGHTLY": false, "A": false, "PAPA": false, "PORTER": false, "APPLE": false,
	} {
		if got := isMarker(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestMatch(t *testing.T) {
	known := Identifiers{Name: "O'Brien^Mary Jane", PatientID: "MRN-00712", Accession: "AC5591", BirthDate: "19610402",
		StudyTime: time.Date(2020, 11, 9, 8, 0, 0, 0, time.UTC)}
	for text, want := range map[string]string{
		"OBRIEN": "patient_name", "BRIEN, M": "patient_name", "8RIEN": "patient_name", "mary": "patient_name", "JANE D": "patient_name",
		"ID: MRN00712": "patient_id", "MRN 0O7I2": "patient_id", "MRN00713": "patient_id", "MRN00993": "",
		"ACC5591": "accession_number", "AC5591": "accession_number",
		"1961-04-02": "patient_birth_date", "02.04.1961": "patient_birth_date", "04/02/1961": "patient_birth_date", "2 Apr 1961": "patient_birth_date",
		"09-NOV-2020 08:12": "study_date", "1962-04-02": "", "PORTABLE": "", "": "",
	} {
		if got := known.match(text); got != want {
			t.Errorf("%q matches %q, want %q", text, got, want)
		}
	}
	if got := (Identifiers{}).match("DOE"); got != "" {
		t.Errorf("nothing is known, and DOE matches %q", got)
	}
}

func TestIsText(t *testing.T) {
	for _, c := range []struct {
		line ocr.Line
		want bool
	}{
		{ocr.Line{Text: "DOE", Confidence: 0.7}, true},
		{ocr.Line{Text: "DOE", Confidence: 0.6}, false},
		{ocr.Line{Text: "OP", Confidence: 0.9}, true},
		{ocr.Line{Text: "11", Confidence: 0.7}, false},
		{ocr.Line{Text: "A", Confidence: 1}, false},
		{ocr.Line{Text: "--", Confidence: 1}, false},
		{ocr.Line{Text: "JOHNSON", Confidence: 0.4, Detection: 0.8}, true},
		{ocr.Line{Text: "JOHNSON", Confidence: 0.4, Detection: 0.8, Faint: true}, false},
		{ocr.Line{Text: "JOHNSON", Confidence: 0.8, Faint: true}, true},
	} {
		if got := isText(c.line); got != c.want {
			t.Errorf("%+v: %v", c.line, got)
		}
	}
}
