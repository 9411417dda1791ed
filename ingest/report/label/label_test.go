package label

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/schemas/fault"
)

func TestSentences(t *testing.T) {
	l := newLabeller(t)
	for _, c := range []struct{ sentence, want string }{
		// plain
		{"Small left pleural effusion.", "+Pleural Effusion"},
		{"There is a right apical pneumothorax and atelectasis.", "+Atelectasis +Pneumothorax"},
		{"PICC tip in the superior vena cava.", "+Support Devices"},
		{"Air-space disease at the left base.", "+Lung Opacity"},
		{"The trachea is midline.", ""},
		{"", ""},
		// the longest mention
		{"A nodular opacity in the left apex.", "+Lung Opacity +Lung Lesion"},
		{"Calcified nodule at the right base.", ""},
		{"Small pericardial effusion.", ""},
		{"Mass effect on the trachea.", ""},
		{"Signs of congestive heart failure.", "+Edema"},
		{"Cardiac failure.", "+Edema"},
		{"No overt failure.", "-Edema"},
		{"Left hemopneumothorax.", "+Pneumothorax +Pleural Effusion"},
		{"Air space shadowing and ground-glass change.", "+Lung Opacity"},
		{"Nipple shadowing.", ""},
		{"No cavitating lesion.", "-Lung Lesion"},
		{"possible infective etiology.", "?Pneumonia"},
		{"Infective exacerbation of asthma.", ""},
		{"Right IJ line in place.", "+Support Devices"},
		{"Not without a small effusion.", "+Pleural Effusion"},
		// denied before, over lists and commas
		{"No pneumothorax.", "-Pneumothorax"},
		{"No focal consolidation, pleural effusion, or pneumothorax is seen.", "-Consolidation -Pneumothorax -Pleural Effusion"},
		{"The lungs are clear without edema or focal opacity.", "-Lung Opacity -Edema"},
		{"Negative for acute displaced rib fracture.", "-Fracture"},
		{"No displaced rib fractures.", "-Fracture"},
		{"No findings suggestive of pneumonia.", "-Pneumonia"},
		{"No opacity to suggest pneumonia.", "-Lung Opacity -Pneumonia"},
		{"Neither effusion nor pneumothorax.", "-Pneumothorax -Pleural Effusion"},
		{"Lungs are free of infiltrate.", "-Lung Opacity"},
		// denied behind
		{"Effusion is not seen.", "-Pleural Effusion"},
		{"Pneumonia is unlikely.", "-Pneumonia"},
		{"The previously seen pneumothorax has resolved.", "-Pneumothorax"},
		{"Effusion and edema are no longer present.", "-Edema -Pleural Effusion"},
		{"The endotracheal tube has been removed.", "-Support Devices"},
		{"Pneumothorax: none.", "-Pneumothorax"},
		{"Left lower lobe pneumonia?", "?Pneumonia"},
		{"?Pneumonia in the left lower lobe.", "?Pneumonia"},
		{"Pleural effusion: No.", "-Pleural Effusion"},
		{"Pneumothorax: No pneumothorax is seen.", "-Pneumothorax"},
		{"Fracture: not identified.", "-Fracture"},
		{"Effusions, nil.", "-Pleural Effusion"},
		{"Pneumothorax is negative.", "-Pneumothorax"},
		{"There isn't any pleural effusion.", "-Pleural Effusion"},
		{"There is no longer evidence of pulmonary edema.", "-Edema"},
		{"There is no longer pneumothorax.", "-Pneumothorax"},
		{"Effusion is no longer visualised.", "-Pleural Effusion"},
		{"Effusion not visualised.", "-Pleural Effusion"},
		{"Nil consolidation.", "-Consolidation"},
		{"Pneumothorax excluded.", "-Pneumothorax"},
		{"Pneumothorax has been excluded.", "-Pneumothorax"},
		{"No pneumothorax after chest tube removal.", "-Pneumothorax -Support Devices"},
		// a structure as a heading
		{"Heart size: Normal.", "-Cardiomegaly"},
		{"Heart: Mildly enlarged.", "+Cardiomegaly"},
		{"Heart size: stable.", "?Cardiomegaly"},
		{"Cardiac: No pericardial effusion, large hernia.", ""},
		{"Mediastinal contours: Widened.", "+Enlarged Cardiomediastinum"},
		{"Heart size: the heart is enlarged.", "+Cardiomegaly"},
		// a change that is denied, or not whole, leaves the finding
		{"No improvement in the right consolidation.", "+Consolidation"},
		{"No significant increase in the left effusion.", "+Pleural Effusion"},
		{"Without interval worsening of the edema.", "+Edema"},
		{"No resolution of the pneumothorax.", "+Pneumothorax"},
		{"No increased opacity.", "-Lung Opacity"},
		{"Partial resolution of the left effusion.", "+Pleural Effusion"},
		{"Near-complete clearing of the pneumonia.", "+Pneumonia"},
		{"The pneumothorax has almost completely resolved.", "+Pneumothorax"},
		{"Interval resolution of the effusion.", "-Pleural Effusion"},
		{"No more than a trace effusion.", "+Pleural Effusion"},
		{"There is no doubt a left effusion.", "+Pleural Effusion"},
		// hedged by a denial, or in other words
		{"It is not possible to exclude a small pneumothorax.", "?Pneumothorax"},
		{"This does not exclude pneumonia.", "?Pneumonia"},
		{"Pneumonia cannot be confidently excluded.", "?Pneumonia"},
		{"Pneumonia not ruled out.", "?Pneumonia"},
		{"Pneumonia should be ruled out.", "?Pneumonia"},
		{"Pneumonia was ruled out.", "-Pneumonia"},
		{"Pneumonia has not been ruled out.", "?Pneumonia"},
		{"Pneumonia has not been excluded.", "?Pneumonia"},
		{"Pneumonia should be excluded.", "?Pneumonia"},
		{"Pneumothorax indeterminate.", "?Pneumothorax"},
		{"Opacity favored to represent atelectasis.", "+Lung Opacity +Atelectasis"},
		{"R/O pneumonia.", "?Pneumonia"},
		{"Query pneumonia.", "?Pneumonia"},
		{"Atelectasis is favoured over pneumonia.", "?Pneumonia ?Atelectasis"},
		{"Differential includes pneumonia and edema.", "?Edema ?Pneumonia"},
		{"Trace, if any, effusion.", "?Pleural Effusion"},
		{"Effusion cannot be entirely ruled out.", "?Pleural Effusion"},
		{"Infection possible in the appropriate setting.", "?Pneumonia"},
		{"A small effusion possible on this view.", "?Pleural Effusion"},
		{"If symptoms of heart failure persist, echocardiography.", "?Edema"},
		{"If there is concern for pneumonia, CT.", "?Pneumonia"},
		{"If clinically indicated, CT for nodule.", "+Lung Lesion"},
		{"If possible, effusion should be drained.", "+Pleural Effusion"},
		{"Fracture: Not assessed.", "?Fracture"},
		{"Pneumothorax is difficult to assess.", "?Pneumothorax"},
		{"possible left effusion vs. pleural thickening.", "?Pleural Effusion ?Pleural Other"},
		{"Heart mildly enlarged.", "+Cardiomegaly"},
		{"Cardiothoracic ratio is increased.", "+Cardiomegaly"},
		{"Effusion isn't seen.", "-Pleural Effusion"},
		// where a denial ends
		{"Right pneumothorax: none on left.", "+Pneumothorax"},
		{"Left-sided effusion, none on the right.", "+Pleural Effusion"},
		{"Left effusion is not seen on the right.", "+Pleural Effusion"},
		{"Left lower lobe pneumonia, none on the right.", "+Pneumonia"},
		{"Right-sided lower lobe pneumonia: not seen on the left.", "+Pneumonia"},
		{"Right lower lobe pneumonia, none in the right upper lobe.", "-Pneumonia"},
		{"Left apex, effusion: none on the right.", "-Pleural Effusion"},
		{"Left pneumothorax is not seen on the right lateral decubitus view.", "-Pneumothorax"},
		{"Left effusion, not seen in the right oblique.", "-Pleural Effusion"},
		{"Right pneumothorax: none.", "-Pneumothorax"},
		{"Right pneumothorax: none on the right.", "-Pneumothorax"},
		{"Right pneumothorax: none left.", "-Pneumothorax"},
		{"Pneumothorax: none on left.", "-Pneumothorax"},
		{"Consolidation at the right base, none at the left.", "+Consolidation"},
		{"Consolidation at the right base, none at the right apex.", "-Consolidation"},
		// one side denied, the other affirmed
		{"No effusion on the right, small on the left.", "+Pleural Effusion"},
		{"No effusion on the left, but moderate on the right.", "+Pleural Effusion"},
		{"Pleural effusion: none on the right, moderate on the left.", "+Pleural Effusion"},
		{"Effusions: right none, left small.", "+Pleural Effusion"},
		{"Pneumothorax: right none, left none.", "-Pneumothorax"},
		{"No left effusion, right small.", "+Pleural Effusion"},
		{"No right pneumothorax; left moderate.", "+Pneumothorax"},
		{"No effusion or pneumothorax on the right, trace on the left.", "+Pneumothorax -Pleural Effusion"},
		{"No pneumothorax on the right, possible tiny on the left.", "?Pneumothorax"},
		{"No effusion on the right, none on the left.", "-Pleural Effusion"},
		{"No effusion on the right, small on the right.", "-Pleural Effusion"},
		{"No effusion, small on the left.", "-Pleural Effusion"},
		{"No effusion on the right, small nodule on the left.", "+Lung Lesion -Pleural Effusion"},
		{"No effusion on the right, small bowel on the left.", "-Pleural Effusion"},
		{"No effusion on the right, the left.", "-Pleural Effusion"},
		{"Pleural effusion: yes.", "+Pleural Effusion"},
		{"Pleural effusion: No significant change.", "+Pleural Effusion"},
		{"COVID negative pneumonia.", "+Pneumonia"},
		{"Edema: there is no effusion.", "+Edema -Pleural Effusion"},
		{"Stable cardiomegaly: no acute disease.", "+Cardiomegaly"},
		{"Left basal pneumonia: no effusion seen.", "+Pneumonia -Pleural Effusion"},
		{"Pleural effusion: No significant decrease.", "+Pleural Effusion"},
		{"Pneumonia, COVID negative.", "+Pneumonia"},
		{"Effusion: there is no effusion on the left.", "-Pleural Effusion"},
		{"No pneumothorax but a small effusion.", "-Pneumothorax +Pleural Effusion"},
		{"No edema; left basal atelectasis.", "-Edema +Atelectasis"},
		{"Clear lungs without edema, however there is a nodule.", "+Lung Lesion -Edema"},
		{"No effusion except for a small amount of pleural fluid at the left.", "+Pleural Effusion"},
		{"No pneumothorax and there is consolidation.", "+Consolidation -Pneumothorax"},
		{"No change in the left effusion.", "+Pleural Effusion"},
		{"Effusion is no longer large.", "+Pleural Effusion"},
		{"Opacity at the left base, not seen on prior.", "+Lung Opacity"},
		{"A nodule that is not calcified.", "+Lung Lesion"},
		{"No pneumothorax, small left pleural effusion.", "-Pneumothorax +Pleural Effusion"},
		{"No pneumothorax and mild edema.", "+Edema -Pneumothorax"},
		{"No pneumothorax, pleural effusion is unchanged.", "-Pneumothorax +Pleural Effusion"},
		{"No definite small or large effusion, edema or pneumothorax.", "-Edema -Pneumothorax -Pleural Effusion"},
		{"Pneumothorax has not resolved.", "+Pneumothorax"},
		// hedged
		{"CT to exclude malignancy.", "?Lung Lesion"},
		{"Opacity possible pneumonia.", "+Lung Opacity ?Pneumonia"},
		{"possible small effusion.", "?Pleural Effusion"},
		{"Effusion possible.", "?Pleural Effusion"},
		{"Left basal pneumonia is not excluded.", "?Pneumonia"},
		{"Pneumonia: possible.", "?Pneumonia"},
		{"Findings: possible pneumonia.", "?Pneumonia"},
		{"Pneumonia could not be ruled out.", "?Pneumonia"},
		{"No edema, possible atelectasis.", "-Edema ?Atelectasis"},
		{"Scarring or atelectasis at the left base.", "?Lung Opacity ?Atelectasis"},
		{"Atelectasis versus pneumonia.", "?Pneumonia ?Atelectasis"},
		{"No effusion or pneumothorax.", "-Pneumothorax -Pleural Effusion"},
		{"Mild pulmonary vascular congestion.", "?Edema"},
		{"No vascular congestion.", "-Edema"},
		// structures
		{"The heart is normal in size.", "-Cardiomegaly"},
		{"Heart size is within normal limits.", "-Cardiomegaly"},
		{"The heart is mildly enlarged.", "+Cardiomegaly"},
		{"Heart is not enlarged.", "-Cardiomegaly"},
		{"The heart is not normal.", "?Cardiomegaly"},
		{"The mediastinum is not widened.", "-Enlarged Cardiomediastinum"},
		{"Heart size is at the upper limits of normal.", "?Cardiomegaly"},
		{"Borderline heart size.", "?Cardiomegaly"},
		{"Borderline cardiomegaly.", "+Cardiomegaly"},
		{"No cardiomegaly.", "-Cardiomegaly"},
		{"The heart is behind the sternum.", ""},
		{"Cardiomediastinal silhouette is unremarkable.", "-Enlarged Cardiomediastinum"},
		{"Stable cardiomediastinal silhouette.", "?Enlarged Cardiomediastinum"},
		{"Stable and normal cardiomediastinal silhouette.", "-Enlarged Cardiomediastinum"},
		{"Heart size is enlarged, mediastinal contours are normal.", "-Enlarged Cardiomediastinum +Cardiomegaly"},
		{"Cardiac size, mediastinal contour, and pulmonary vascularity are within normal limits.", "-Enlarged Cardiomediastinum -Cardiomegaly"},
		{"The heart size and the lung vessels appear within normal limits.", "-Cardiomegaly"},
		{"Widened mediastinum.", "+Enlarged Cardiomediastinum"},
		// any spelling
		{"NO PLEURAL EFFUSION.", "-Pleural Effusion"},
		{"Lungs: clear of air\u2013space disease", "-Lung Opacity"},
		{"Épanchement, no effusion", "-Pleural Effusion"},
	} {
		if got := short(l.Label([]string{c.sentence})); got != c.want {
			t.Errorf("%q\n got %s\nwant %s", c.sentence, got, c.want)
		}
	}
}

func TestReports(t *testing.T) {
	l := newLabeller(t)
	for _, c := range []struct {
		name      string
		sentences []string
		want      string
		healthy   bool
	}{
		{"nothing said", nil, "", true},
		{"normal", []string{"The heart is normal.", "Lungs are clear."}, "-Cardiomegaly", true},
		{"affirmed outweighs denied", []string{"No effusion.", "Small left effusion."}, "+Pleural Effusion", false},
		{"affirmed outweighs hedged", []string{"Left pneumonia.", "possible pneumonia."}, "+Pneumonia", false},
		{"hedged outweighs denied", []string{"possible pneumonia.", "No pneumonia."}, "?Pneumonia", false},
		{"devices are no disease", []string{"Pacemaker at the left."}, "+Support Devices", true},
		{"a disease outside the fourteen", []string{"Large hiatal hernia."}, "", false},
		{"its denial", []string{"No hernia."}, "", true},
	} {
		r := l.Label(c.sentences)
		if got, last := short(r), r[len(r)-1]; got != c.want || last.Label != NoFinding || (last.Value == Positive) != c.healthy {
			t.Errorf("%s: %q, %v", c.name, got, last)
		}
	}
}

func TestEvidence(t *testing.T) {
	r := newLabeller(t).Label([]string{"Lungs clear.", "No Large Effusion.", "Effusion, cannot be excluded."})
	if len(r) != 14 || r[0].Label != EnlargedCardiomediastinum || r[13].Label != NoFinding {
		t.Fatalf("the result does not follow Labels: %v", r)
	}
	for _, f := range r {
		if f.Label != PleuralEffusion {
			continue
		}
		want := []Evidence{{1, Negative, "Effusion", "No"}, {2, Uncertain, "Effusion", "cannot be excluded"}}
		if d := cmp.Diff(want, f.Evidence); d != "" {
			t.Error(d)
		}
	}
	if got := fmt.Sprint(Absent, Negative, Uncertain, Positive, Value(9)); got != "absent negative uncertain positive value(9)" {
		t.Error(got)
	}
}

func TestCheXpertMisreads(t *testing.T) {
	l, err := NewCheXpert()
	if err != nil {
		t.Fatal(err)
	}
	for sentence, want := range map[string]string{
		"No displaced rib fractures.":          "+Fracture",
		"Negative for displaced rib fracture.": "-Fracture",
		"Endplate changes.":                    "+Support Devices",
	} {
		if got := short(l.Label([]string{sentence})); got != want {
			t.Errorf("%q: %s", sentence, got)
		}
	}
}

func TestRules(t *testing.T) {
	const mention, cue, scope = "edema\tEdema\tfinding", "no\tnegative\tbefore\tfinding\t5\tany", "but\tend"
	if _, err := parseRules("", mention, cue, scope); err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string][3]string{
		"label":          {"edema\tDropsy\tfinding", cue, scope},
		"kind":           {"edema\tEdema\tthing", cue, scope},
		"misread":        {"edema\tEdema\tmisread", cue, scope},
		"empty phrase":   {"\tEdema\tfinding", cue, scope},
		"only marks":     {"*\tEdema\tfinding", cue, scope},
		"capital":        {"Edema\tEdema\tfinding", cue, scope},
		"hyphen":         {"x-ray\tEdema\tfinding", cue, scope},
		"twice":          {mention + "\n" + mention, cue, scope},
		"columns":        {"edema\tEdema", cue, scope},
		"meaning":        {mention, "no\tdenial\tbefore\tfinding\t5\tany", scope},
		"side":           {mention, "no\tnegative\tleft\tfinding\t5\tany", scope},
		"of":             {mention, "no\tnegative\tbefore\thint\t5\tany", scope},
		"reach":          {mention, "no\tnegative\tbefore\tfinding\t41\tany", scope},
		"reach no digit": {mention, "no\tnegative\tbefore\tfinding\tfar\tany", scope},
		"cue label":      {mention, "no\tnegative\tbefore\tfinding\t5\tDropsy", scope},
		"effect":         {mention, cue, "but\tstop"},
		"later row":      {"# head\n" + mention + "\n\n" + mention, cue, scope},
	} {
		if _, err := parseRules("", files[0], files[1], files[2]); err == nil || fault.KindOf(err) != fault.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLongSentences holds that time grows with the text only: a quadratic engine would run
// for minutes.
func TestLongSentences(t *testing.T) {
	l := newLabeller(t)
	for _, pattern := range []string{"no ", "effusion ", "possible effusion, ", "heart size ", "no change ", "or ", "a.", "'"} {
		l.Label([]string{strings.Repeat(pattern, 256<<10/len(pattern))})
	}
}

func FuzzLabel(f *testing.F) {
	f.Add("No effusion but possible pneumonia; heart size normal.", "Tube.")
	f.Add("1.5 cm nodule (left)", "e\u0301 \xff no")
	labeller, err := New()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		r := labeller.Label([]string{a, b})
		if d := cmp.Diff(r, labeller.Label([]string{a, b})); d != "" {
			t.Fatal("two runs differ:", d)
		}
		if len(r) != len(Labels()) {
			t.Fatalf("%d labels", len(r))
		}
		sick := false
		for _, got := range r {
			top := Absent
			for _, e := range got.Evidence {
				s := []string{a, b}[e.Sentence]
				if e.Mention == "" || !strings.Contains(s, e.Mention) || !strings.Contains(s, e.Cue) || e.Value == Absent {
					t.Fatalf("%+v is no evidence from %q", e, s)
				}
				top = max(top, e.Value)
			}
			switch {
			case got.Label == NoFinding:
				if got.Value == Positive && sick || got.Value != Positive && got.Value != Absent {
					t.Fatalf("no finding is %v", got.Value)
				}
			case got.Value != top:
				t.Fatalf("%s is %v with the evidence %v", got.Label, got.Value, got.Evidence)
			default:
				sick = sick || got.Value >= Uncertain && got.Label != SupportDevices
			}
		}
	})
}

func BenchmarkLabel(b *testing.B) {
	l, err := New()
	if err != nil {
		b.Fatal(err)
	}
	report := []string{
		"The heart is mildly enlarged, mediastinal contours are stable.",
		"There is a small left pleural effusion with adjacent atelectasis possible pneumonia.",
		"No focal consolidation, pneumothorax, or edema.", "Left pacemaker is unchanged.",
		"Degenerative changes of the thoracic spine.",
	}
	for b.Loop() {
		l.Label(report)
	}
}

func newLabeller(t *testing.T) *Labeller {
	t.Helper()
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// short writes what is mentioned, in the order of Labels: + affirmed, ? open, - denied.
func short(r Result) string {
	var out []string
	for _, f := range r {
		if i := slices.Index([]Value{Negative, Uncertain, Positive}, f.Value); i >= 0 && f.Label != NoFinding {
			out = append(out, "-?+"[i:i+1]+string(f.Label))
		}
	}
	return strings.Join(out, " ")
}
