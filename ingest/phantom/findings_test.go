package phantom

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// withAndWithout makes a study of one finding twice, the second time healthy.
func withAndWithout(t *testing.T, c Config, p plan) (ill, well Study) {
	t.Helper()
	ill, well = c.study(p, p.findings), c.study(p, nil)
	if len(ill.Views) != len(well.Views) {
		t.Fatal("different views")
	}
	return ill, well
}

// eachFinding calls f with plans of one finding each, six of every kind.
func eachFinding(f func(c Config, p plan)) {
	c := small(6 * len(Ranges()))
	c.Side, c.SingleFinding, c.LateralShare, c.PriorShare = 288, true, 1, 0
	for i := range c.Studies {
		f(c, c.plan(i))
	}
}

func TestFindingsChangeTheirBoxOnly(t *testing.T) {
	eachFinding(func(c Config, p plan) {
		ill, well := withAndWithout(t, c, p)
		f := ill.Truth.Findings[0]
		for k, box := range []*Box{f.Frontal, f.Lateral} {
			if box == nil {
				if k == 1 || !f.LateralOnly {
					t.Errorf("study %d: %+v has no box in view %d", p.index, f, k)
				}
				continue
			}
			v := ill.Views[k]
			if box[0] < 0 || box[1] < 0 || box[2] > v.Columns || box[3] > v.Rows || box[0] >= box[2] || box[1] >= box[3] {
				t.Errorf("study %d: box %v outside %d x %d", p.index, *box, v.Columns, v.Rows)
			}
			var inside, outside float64
			for i := range v.Pixels {
				d := math.Abs(float64(v.Pixels[i]) - float64(well.Views[k].Pixels[i]))
				x, y := i%v.Columns, i/v.Columns
				if x >= box[0] && x < box[2] && y >= box[1] && y < box[3] {
					inside += d
				} else {
					outside += d
				}
			}
			if inside == 0 || outside > 0.2*(inside+outside) {
				t.Errorf("study %d view %d: %+v changes %.0f inside %v and %.0f outside", p.index, k, f, inside, *box, outside)
			}
		}
	})
}

func TestLateralOnlyHidesInTheFrontalNoise(t *testing.T) {
	seen := map[Kind]int{}
	for seed := range uint64(12) {
		c := small(2 * len(Ranges()))
		c.Seed, c.SingleFinding, c.LateralShare, c.PriorShare = seed, true, 1, 0
		for i := range c.Studies {
			p := c.plan(i)
			f := p.findings[0]
			if !f.LateralOnly {
				continue
			}
			seen[f.Kind]++
			d := drawDetector(generator(c.Seed, streamStudy, uint64(i)))
			b := drawBuild(generator(c.Seed, streamPatient, uint64(i)))
			a := newAnatomy(b, generator(c.Seed, streamPatient, 1))
			l := newLesion(f, a, generator(c.Seed, streamShape, 1))
			r := generator(c.Seed, streamFilm, uint64(i))
			e := expose(newView(false, c.Side, b, r), a, []lesion{l}, r)
			var signal, noise float64
			for k, x := range e.changes[0] {
				if x != 0 {
					q := float64(e.plane[k])
					signal += float64(x) * float64(x)
					noise += math.Pow(d.noise*(0.55+0.16*q*q), 2)
				}
			}
			if signal > noise {
				t.Errorf("seed %d study %d: %+v changes the frontal view by %.2f of its noise", seed, i, f, math.Sqrt(signal/noise))
			}
			side := newView(true, c.Side, b, r)
			if e := expose(side, a, []lesion{l}, r); side.box(e.changes[0], 0.05) == nil {
				t.Errorf("seed %d study %d: %+v is not in the lateral view", seed, i, f)
			}
		}
	}
	for _, r := range Ranges() {
		if r.LateralOnly > 0 && seen[r.Kind] == 0 {
			t.Errorf("no lateral-only %s was seen", r.Kind)
		}
	}
}

// terms holds words of which every description of a finding has at least one.
func terms(k Kind) []string {
	return map[Kind][]string{
		Effusion: {"effusion", "costophrenic"}, Pneumothorax: {"pneumothorax", "ptx"},
		Cardiomegaly:  {"cardiomegaly", "cardiac silhouette", "cardiac enlargement", "heart is normal", "cardiomediastinal contours are within"},
		Consolidation: {"consolidation", "airspace opacity", "pneumonia", "are clear"}, Atelectasis: {"atelectasis", "are clear"},
		Edema: {"edema", "vasculature is normal", "are clear"}, Nodule: {"nodule", "mass", "are clear"},
		Fracture: {"fracture", "osseous", "bony"}, HiatalHernia: {"hiatal hernia", "hiatus hernia"},
	}[k]
}

func names(sentence string, k Kind) bool {
	for _, term := range terms(k) {
		if strings.Contains(strings.ToLower(sentence), term) {
			return true
		}
	}
	return false
}

func TestReportsSayWhatIsThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Defaults()
		c.Studies = 1000
		c.Seed = rapid.Uint64().Draw(t, "seed")
		i := rapid.IntRange(0, 999).Draw(t, "study")
		p := c.plan(i)
		report := writeReport(p, drawBuild(generator(1, streamPatient, 1)), p.findings, generator(c.Seed, streamReport, uint64(i)))
		_, body, ok := strings.Cut(report, "FINDINGS: ")
		for _, section := range []string{"INDICATION: ", "TECHNIQUE: ", "COMPARISON: ", "IMPRESSION: "} {
			ok = ok && strings.Contains(report, section)
		}
		found, impression, ok2 := strings.Cut(body, "IMPRESSION: ")
		if !ok || !ok2 {
			t.Fatalf("sections are missing:\n%s", report)
		}
		var denied, stated []string
		for sentence := range strings.SplitSeq(strings.TrimSpace(found), ". ") {
			low := strings.ToLower(sentence)
			negative := strings.HasPrefix(low, "no ") || strings.HasPrefix(low, "there is no ") || strings.HasPrefix(low, "without") ||
				strings.HasPrefix(low, "negative") || strings.Contains(low, "are clear") || strings.Contains(low, "normal") ||
				strings.Contains(low, "intact") || strings.Contains(low, "unremarkable")
			if negative {
				denied = append(denied, sentence)
			} else {
				stated = append(stated, sentence)
			}
		}
		for _, f := range p.findings {
			if !names(strings.Join(stated, ". "), f.Kind) || !names(impression, f.Kind) {
				t.Fatalf("%s is not stated in both sections:\n%s", f.Kind, report)
			}
			if s := strings.Join(denied, ". "); names(s, f.Kind) {
				t.Fatalf("%s is denied (%s):\n%s", f.Kind, s, report)
			}
			if f.LateralOnly && !strings.Contains(found, "lateral") {
				t.Fatalf("the report does not say where it is seen:\n%s", report)
			}
		}
		if len(p.findings) == 0 && len(stated) > 0 {
			t.Fatalf("a healthy patient has %q:\n%s", stated, report)
		}
	})
}
