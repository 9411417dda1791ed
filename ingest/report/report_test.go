package report

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/realdata"
	"github.com/radstream/radstream/schemas/fault"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// wordTokenizer gives every word and every point a token of its own; ids are lengths.
type wordTokenizer struct{}

var wordPieces = regexp.MustCompile(`[\pL\pN]+|[^\pL\pN\s]`)

func (wordTokenizer) Encode(text string) []int32 {
	ids := []int32{101}
	for _, w := range wordPieces.FindAllString(text, -1) {
		ids = append(ids, int32(1000+len(w)))
	}
	return append(ids, 102)
}

func (wordTokenizer) ID() string { return "words" }

func TestTranscripts(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*.in")
	if err != nil || len(inputs) == 0 {
		t.Fatal("no transcripts in testdata", err)
	}
	for _, in := range inputs {
		t.Run(filepath.Base(in), func(t *testing.T) {
			text, err := os.ReadFile(in)
			if err != nil {
				t.Fatal(err)
			}
			got := transcript(string(text))
			golden := strings.TrimSuffix(in, ".in") + ".golden"
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
				t.Errorf("run with -update if the change is meant (-want +got):\n%s", d)
			}
		})
	}
}

func transcript(text string) string {
	var b strings.Builder
	steps, err := Explain(text, deid.Known{}, wordTokenizer{}, 64)
	for _, s := range steps.Sections {
		fmt.Fprintf(&b, "section %s\n%s\n\n", s.Name, s.Text)
	}
	for _, s := range steps.Stages[min(1, len(steps.Stages)):] {
		fmt.Fprintf(&b, "stage %s\n%s\n\n", s.Name, s.Text)
	}
	fmt.Fprintf(&b, "tokens %d\n", len(steps.Tokens))
	if err != nil {
		fmt.Fprintf(&b, "error %v %v\n", fault.KindOf(err), fault.ReasonOf(err))
	}
	return b.String()
}

func TestSections(t *testing.T) {
	f := func(text string) Section { return Section{findings, text} }
	i := func(text string) Section { return Section{impression, text} }
	for _, c := range []struct {
		name, text string
		want       []Section
	}{
		{"none", "The lungs are clear.", []Section{f("The lungs are clear.")}},
		{"colons", "HISTORY: cough\nFINDINGS: Clear.\nIMPRESSION: Normal.", []Section{f("Clear."), i("Normal.")}},
		{"any case", "History: cough\nfindings: Clear.\nOpinion: Normal.", []Section{f("Clear."), i("Normal.")}},
		{"on a line", "Indication\nCough.\nFindings\nClear.\nConclusion\nNormal.", []Section{f("Clear."), i("Normal.")}},
		{"inline", "Indication: Cough. Findings: Clear. Diagnosis: Normal.", []Section{f("Clear."), i("Normal.")}},
		{"no colon", "TECHNIQUE Two views.\nFINDINGS The heart is normal.\nIMPRESSION No disease.", []Section{f("The heart is normal."), i("No disease.")}},
		{"all capitals", "INDICATION: COUGH. FINDINGS: CLEAR. IMPRESSION: NORMAL.", []Section{f("CLEAR."), i("NORMAL.")}},
		{"capitals are no heading", "FINDINGS ARE NORMAL.\nIMPRESSION IS GOOD.", []Section{f("FINDINGS ARE NORMAL.\nIMPRESSION IS GOOD.")}},
		{"bold", "**Findings:** Clear.\n\n## Impression\nNormal.", []Section{f("Clear."), i("Normal.")}},
		{"CRLF", "HISTORY: x\r\nFINDINGS:\r\nClear.\r\n", []Section{f("Clear.")}},
		{"letterhead", "CITY HOSPITAL\nFINDINGS: Clear.", []Section{f("Clear.")}},
		{"before an impression", "The lungs are clear.\nIMPRESSION: Normal.", []Section{f("The lungs are clear."), i("Normal.")}},
		{"paragraph without a heading", "INDICATION: Cough.\n\nCOMPARISON: None.\n\nThe lungs are clear.\n\nIMPRESSION: Normal.", []Section{f("The lungs are clear."), i("Normal.")}},
		{"second paragraph of a history", "HISTORY: Cough.\n\nMore history.\n\nFINDINGS: Clear.", []Section{f("Clear.")}},
		{"body parts", "History: cough\nLungs: Clear.\nHeart: Normal.", []Section{f("Lungs: Clear.\nHeart: Normal.")}},
		{"word in a sentence", "The findings: as before. In my opinion normal. comparison is made.", []Section{f("The findings: as before. In my opinion normal. comparison is made.")}},
		{"sign-off", "The lungs are clear.\nELECTRONICALLY SIGNED BY: J. Smith\n\nEB1151\n\nPage 2", []Section{f("The lungs are clear.")}},
		{"letterhead without findings", "PATIENT NAME:\nSMITH\n\nDOCTOR:\nGraber\n\nTYPE OF PROCEDURE:\nCHEST\n\nClear.\n\nIMPRESSION/ASSESSMENT:\n1. Clear.", []Section{f("Clear."), i("1. Clear.")}},
		{"only dropped", "HISTORY: cough\nTECHNIQUE: PA\nCOMPARISON: none", nil},
		{"empty findings", "FINDINGS:\nIMPRESSION: Normal.", []Section{i("Normal.")}},
		{"title with a colon", "CHEST, 2 VIEWS: No effusion.\nIMPRESSION: Normal.", []Section{f("CHEST, 2 VIEWS: No effusion."), i("Normal.")}},
		{"heading of a title", "FINDINGS: Clear.\nVIEWS: PA.\nEXAM: CXR", []Section{f("Clear.")}},
		{"title of a body part", "CHEST: PA\nHISTORY: Cough.\n\nNo effusion.\nIMPRESSION: Normal.", []Section{f("CHEST: PA"), f("No effusion."), i("Normal.")}},
		{"dashes", "HISTORY - Cough\nFINDINGS \u2013 Clear.\nIMPRESSION -- Normal.", []Section{f("Clear."), i("Normal.")}},
		{"body parts with dashes", "HISTORY: Cough.\nLUNGS - clear, no effusion.\n- HEART \u2013 NORMAL.", []Section{f("LUNGS - clear, no effusion.\n- HEART \u2013 NORMAL.")}},
		{"body parts with dashes in a history", "HISTORY: COUGH\nLUNGS - RLL CANCER\nCOMPARISON: NONE\nHEART - CABG 2010\nFINDINGS: CLEAR.\nIMPRESSION: NORMAL.", []Section{f("CLEAR."), i("NORMAL.")}},
		{"body parts with dashes behind findings", "FINDINGS: Portable.\nCOMPARISON: None.\nLUNGS - clear.\nIMPRESSION: Normal.", []Section{f("Portable."), f("LUNGS - clear."), i("Normal.")}},
		{"body parts with dashes under an empty heading", "FINDINGS:\nCOMPARISON: None.\nLUNGS - clear.\nIMPRESSION: Normal.", []Section{f("LUNGS - clear."), i("Normal.")}},
		{"body part with a dash in findings", "FINDINGS: Clear.\nHEART - normal.", []Section{f("Clear.\nHEART - normal.")}},
		{"body parts with dashes that are no headings", "HISTORY: Cough.\nLung - cancer. HEART - bypass.\nLUNG-transplant.\nHEART\nFINDINGS: Clear.", []Section{f("Clear.")}},
		{"body part with a dash that names the study", "TECHNIQUE: Erect.\nCHEST - 2 VIEWS\nFINDINGS: Clear.", []Section{f("Clear.")}},
		{"words with a dash", "FINDINGS-based reading.\nImpression - normal.", []Section{f("FINDINGS-based reading.\nImpression - normal.")}},
		{"dashes behind sentences", "HISTORY - Cough. LUNGS - clear. IMPRESSION - Normal.", []Section{f("LUNGS - clear."), i("Normal.")}},
		{"body part with a dash behind a history", "HISTORY: status post CABG. LUNGS - clear", []Section{f("LUNGS - clear")}},
		{"body part with a dash behind a history before findings", "HISTORY: Cough. LUNGS - CANCER.\nFINDINGS: Clear.", []Section{f("Clear.")}},
		{"words with a dash behind a sentence", "No edema. STATUS-post CABG. PRIOR- none. Impression - normal.", []Section{f("No edema. STATUS-post CABG. PRIOR- none. Impression - normal.")}},
		{"short headings of a history", "HX: Cough.\n\nClear.\n\nAdvice: CT.", []Section{f("Clear.")}},
		{"heading that nobody knows", "AP CHEST 1 VIEW:\nHISTORY: Cough.\n\nClear.", []Section{f("Clear.")}},
		{"hard space", "HISTORY\u00a0: Cough.\nFINDINGS:\u00a0Clear.", []Section{f("Clear.")}},
		{"numbered addenda", "ADDENDUM (1): Nodule.\nADDENDUM #2 3/4/2020 10:30 AM by Dr. Smith: Scar.\nADDENDUM 3\nRib.\nFINDINGS: Clear.",
			[]Section{i("Nodule."), i("Scar."), i("Rib."), f("Clear.")}},
		{"addendum by a heading", "ADDENDUM 1 by RESIDENT: Nodule.\nADDENDUM #2 by Dr. REPORT: Scar.\nFINDINGS: Clear.",
			[]Section{i("Nodule."), i("Scar."), f("Clear.")}},
		{"addenda in other forms", "*** ADDENDUM 1 ***\nNodule.\n=== ADDENDUM ===\nScar.\nAddendum begins: Rib.\nADDENDUM 2 - 3/4/2020 10:30 AM - Dr. Smith:\nPacer.\n" +
			"Addendum Dictated By: J Smith\nDrain.\nADDENDUM (Dr. Smith): Clip.\nADDENDUM created by Dr. Smith at 10:30:\nWire.\nFINDINGS: Clear.",
			[]Section{i("Nodule."), i("Scar."), i("Rib."), i("Pacer."), i("Drain."), i("Clip."), i("Wire."), f("Clear.")}},
		{"an addendum's number", "ADDENDUM No. 2: Nodule.\nADDENDUM NO. 3\nScar.\nFINDINGS: Clear.", []Section{i("Nodule."), i("Scar."), f("Clear.")}},
		{"an addendum of a sentence", "ADDENDUM Dr. Smith was told of a mass: he agrees.\nFINDINGS: Clear.", []Section{i("Dr. Smith was told of a mass: he agrees."), f("Clear.")}},
		{"a number behind a colon", "FINDINGS: Cobb angle: 12. COMPARISON: None.", []Section{f("Cobb angle: 12.")}},
		{"headings with dashes", "- FINDINGS: Clear.\n- COMPARISON: None.\n- IMPRESSION: Normal.", []Section{f("Clear."), i("Normal.")}},
		{"qualified headings", "HISTORY (per ward): Cough.\nFINDINGS (PA and lateral): Clear.\nIMPRESSION (final): Normal (see above): stable.", []Section{f("Clear."), i("Normal (see above): stable.")}},
		{"dropped headings in a list", "IMPRESSION:\n1. Nodule.\n2. Recommendation: CT in 6 weeks.\n3. No effusion.\nCOMPARISON: None.",
			[]Section{i("1. Nodule."), i("3. No effusion.")}},
		{"dropped headings in a list on a line", "IMPRESSION: 1. Nodule. 2. Recommend: CT. 3. Effusion. 4. Plan: CT. 5. Scar.",
			[]Section{i("1. Nodule."), i("3. Effusion."), i("5. Scar.")}},
		{"dropped headings in a list of bullets", "FINDINGS:\n- Nodule.\n- Comparison: None.\n- Effusion.", []Section{f("- Nodule."), f("- Effusion.")}},
		{"a number before a dropped heading", "FINDINGS: Fracture of rib 6. COMPARISON: None. 7. Old.", []Section{f("Fracture of rib 6.")}},
		{"numbered headings", "1. HISTORY: Cough.\n2. FINDINGS: Clear.\n3. COMPARISON: None.\n4. IMPRESSION: Normal.", []Section{f("Clear."), i("Normal.")}},
		{"addendum without a colon", "FINDINGS: Clear.\nADDENDUM 1 There is a nodule.", []Section{f("Clear.\nADDENDUM 1 There is a nodule.")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, lexiconOf(t).sections(c.text)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestStages(t *testing.T) {
	lex := lexiconOf(t)
	stages := map[string]func(string) string{
		"symbols": cleanSymbols, "hedges": lex.normaliseHedges, "terminology": lex.expandTerms,
		"measurements": standardiseMeasurements,
		"sentences":    func(s string) string { return strings.Join(Sentences(s), "|") },
	}
	for _, c := range []struct{ stage, in, want string }{
		{"symbols", "1. Clear.\n2. Normal heart", "Clear. Normal heart"},
		{"symbols", "1. No edema 2. Fracture of rib 5. The heart", "No edema. Fracture of rib 5. The heart"},
		{"symbols", "- Clear\n• Normal", "Clear. Normal"},
		{"symbols", "hard\nwrapped  line", "hard wrapped line"},
		{"symbols", "Lungs: clear\nHeart: normal", "Lungs: clear. Heart: normal"},
		{"symbols", "Consolidation? No. Edema? none", "Consolidation: No. Edema: none"},
		{"symbols", "Edema? Not seen. Effusion? Small on the left. Scar? Yes, old", "Edema: Not seen. Effusion: Small on the left. Scar: Yes, old"},
		{"symbols", "[x] Edema\n[ ] Effusion\n- [X] Scar, old\n☐ Mass\n☑ Rib\nClear", "Edema. Scar, old. Rib. Clear"},
		{"symbols", "Edema: [ ] yes [x] no\nScar: ( ) Present (x) Absent\nMass: [ ] yes [ ] no", "Edema: no. Scar: Absent."},
		{"symbols", "Edema [x]\nEffusion [ ]\nScar: yes [ ] no [x]\n[x] No mass [x] Cyst", "Edema. Scar: no. No mass. Cyst."},
		{"symbols", "A nodule of [ ] cm. Lungs: [Clear]", "A nodule of cm. Lungs: [Clear]"},
		{"symbols", "[ ] cm nodule\nClear. Tip seen [ ]\nTip at [ ]\nA nodule in the right lung of [ ]", "cm nodule. Clear. Tip seen Tip at A nodule in the right lung of"},
		{"symbols", "There is   no\nedema", "There is no edema"},
		{"symbols", "| No evidence of |\n| edema. |", "No evidence of edema."},
		{"symbols", "Edema      No\nScar\tyes\nMass      at the base", "Edema: No. Scar: yes. Mass at the base"},
		{"symbols", "| Finding | Now |\n|---|---|\n| Edema | none |\n| Scar: | left | old |", "Finding: Now. Edema: none. Scar: left, old."},
		{"symbols", "(-) effusion, (-) edema. Mass (-)", "no effusion, no edema. Mass: negative"},
		{"symbols", "Pneumonia? No focal consolidation.", "Pneumonia? No focal consolidation."},
		{"symbols", "-No edema\n-Clear\n2.No mass", "No edema. Clear. No mass"},
		{"symbols", "Dr. XXXX XXXX was told. Drs. XXXX and XXXX", "was told. and"},
		{"symbols", "Normal chest x-XXXX. There are no XXXX of fluid, XXXX.", "Normal chest. There are no of fluid."},
		{"symbols", "non-XXXX mass, without-XXXX, XXXX-negative", "non mass, without, negative"},
		{"symbols", "a\x00b\u200b\u00a0c \u2013 d **e**", "ab c - d e"},
		{"symbols", "No evidence of:\n- effusion.\n- edema\n  at the base\nThe heart is large", "No evidence of effusion, edema at the base. The heart is large"},
		{"symbols", "There is no:\n1. Edema\n2. Mass\n\nScar", "There is no Edema, Mass. Scar"},
		{"symbols", "Negative for\n\n• edema;\n• mass\n\nScar", "Negative for edema, mass. Scar"},
		{"symbols", "No:\n\n- edema\n\n- mass\n\nscar", "No edema, mass. scar"},
		{"symbols", "- Edema: No\n- Mass - no\n- Scar: Yes", "Edema: No. Mass - no. Scar: Yes"},
		{"symbols", "Pleura: No:\n- edema\n- mass", "Pleura: No edema, mass"},
		{"symbols", "Edema? No\nScar? Yes", "Edema: No. Scar: Yes"},
		{"symbols", "Edema: (-)\nMass: (-) Scar: (+)", "Edema: negative. Mass: (-) Scar: (+)"},
		{"symbols", "No evidence of\nedema\n- Scar", "No evidence of edema. Scar"},
		{"symbols", "No: edema. Rib No: 5", "No edema. Rib No: 5"},
		{"symbols", "① No edema\n② Scar\n➢ Mass\n\uf0b7 Rib\n#4 Cyst\na) Air\n(ii) Line", "No edema. Scar. Mass. Rib. Cyst. Air. Line"},
		{"symbols", "========\nClear\n--------\nNormal", "Clear. Normal"},
		{"symbols", "No edema\nPneumonia at the base of\nThe lung seen in\nJune", "No edema. Pneumonia at the base of The lung seen in June"},
		{"symbols", "No edema, seen by\nSmith.\nScar in the\nupper lobe", "No edema, seen by Smith. Scar in the upper lobe"},
		{"symbols", "A hard wrapped line of\nDrs. Smith and Jones ends\nWhere Smith is long", "A hard wrapped line of Drs. Smith and Jones ends Where Smith is long"},
		{"symbols", "5 \u2212 7 mm", "5 - 7 mm"},
		{"symbols", "T1. 2.5 cm (XXXX)", "T1. 2.5 cm"},

		{"hedges", "This may represent pneumonia.", "This possible pneumonia."},
		{"hedges", "Cannot exclude effusion", "possible effusion"},
		{"hedges", "Effusion cannot be completely excluded.", "Effusion possible."},
		{"hedges", "Effusion can't be excluded.", "Effusion possible."},
		{"hedges", "could possibly represent", "possible"},
		{"hedges", "possibly most likely scar", "possible scar"},
		{"hedges", "No findings suggestive of pneumonia.", "No findings suggestive of pneumonia."},
		{"hedges", "No edema, likely scar.", "No edema, possible scar."},
		{"hedges", "No edema but may represent scar.", "No edema but possible scar."},
		{"hedges", "Unlikely edema. Edema is not excluded.", "Unlikely edema. Edema is not excluded."},
		{"hedges", "CT may be helpful.", "CT may be helpful."},
		{"hedges", "less likely infection", "less likely infection"},
		{"hedges", "Clear in May 2010", "Clear in May 2010"},

		{"terminology", "No PTX.", "No pneumothorax."},
		{"terminology", "PTX. ptx", "pneumothorax. pneumothorax"},
		{"terminology", "ILD-like, childhood", "interstitial lung disease-like, childhood"},
		{"terminology", "SOB but he did sob", "dyspnea but he did sob"},
		{"terminology", "tb or TB", "tb or tuberculosis"},
		{"terminology", "known DISH and COPD", "known diffuse idiopathic skeletal hyperostosis and chronic obstructive pulmonary disease"},
		{"terminology", "PETRI DISH AND COPD", "PETRI DISH AND chronic obstructive pulmonary disease"},
		{"terminology", "Sm b/l eff, no eff/ptx, pericardial eff", "Sm bilateral pleural effusion, no pleural effusion/pneumothorax, pericardial effusion"},
		{"terminology", "mild pulmonary oedema", "mild pulmonary edema"},
		{"terminology", "s/p CABG w/o CHF, w/effusion", "status post coronary artery bypass graft without congestive heart failure, with effusion"},
		{"terminology", "PE on the PA view", "PE on the PA view"},

		{"measurements", "2cm x 3cm", "6 cm2"},
		{"measurements", "a 2.2 x 1.6 cm mass.", "a 3.52 cm2 mass."},
		{"measurements", "20 mm by 3 cm", "6 cm2"},
		{"measurements", "2 x 3 x 4 cm", "24 cm3"},
		{"measurements", "10x20x30mm", "6 cm3"},
		{"measurements", "an 8mm nodule, 5 millimeters", "an 0.8 cm nodule, 0.5 cm"},
		{"measurements", "1.50 cm", "1.5 cm"},
		{"measurements", "a 5-mm nodule, 2.3 x 1.5 cm, 15 mm x 2 cm, 2 to 3-mm", "a 0.5 cm nodule, 3.45 cm2, 3 cm2, 2 to 3-mm"},
		{"measurements", "3-5 mm, 4 or 5 mm", "3-5 mm, 4 or 5 mm"},
		{"measurements", "4.3 x 2.8 in the left", "4.3 x 2.8 in the left"},
		{"measurements", "1 x 2 x 3 x 4 cm", "1 x 2 x 3 x 4 cm"},
		{"measurements", "6 cm2, 5 mmHg, 12/5 mm, T5 mm", "6 cm2, 5 mmHg, 12/5 mm, T5 mm"},
		{"measurements", "1234.5 mm", "123 cm"},
		{"measurements", "0 mm", "0 mm"},

		{"sentences", "Seen by Dr. Smith. Clear.", "Seen by Dr. Smith.|Clear."},
		{"sentences", "A 1.5 cm nodule. Clear", "A 1.5 cm nodule.|Clear."},
		{"sentences", "Opacity, e.g. scar. Clear.", "Opacity, e.g. scar.|Clear."},
		{"sentences", "Left apex.There is fluid.", "Left apex.|There is fluid."},
		{"sentences", "Normal? Yes! possible scar.", "Normal?|Yes!|possible scar."},
		{"sentences", "Scar vs. mass at No. 5 rib.", "Scar vs. mass at No. 5 rib."},
		{"sentences", "(Clear.) Normal. . .", "(Clear.)|Normal."},
		{"sentences", "Vitamin D. Normal. J. Smith.", "Vitamin D.|Normal.|J. Smith."},
		{"sentences", "Read by T. Smith, M.D. and J. Doe. Clear.", "Read by T. Smith, M.D. and J. Doe.|Clear."},
		{"sentences", "Called at 3 p.m. by Dr. [name]. Clear.", "Called at 3 p.m. by Dr. [name].|Clear."},
	} {
		if got := stages[c.stage](c.in); got != c.want {
			t.Errorf("%s(%q)\n got %q\nwant %q", c.stage, c.in, got, c.want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		name, text string
		max        int
		want       string
		tokens     int
	}{
		{"all fits", "One two. Three four.", 8, "One two. Three four.", 8},
		{"last sentence does not", "One two. Three four.", 7, "One two.", 5},
		{"first sentence does not", "One two three four five.", 5, "One two three", 5},
		{"one word", "One two.", 3, "One", 3},
	} {
		p, err := Prepare(c.text, deid.Known{}, wordTokenizer{}, c.max)
		if err != nil {
			t.Fatal(c.name, err)
		}
		if p.Text != c.want || len(p.Tokens) != c.tokens || p.Tokens[c.tokens-1] != 102 {
			t.Errorf("%s: %q with tokens %v", c.name, p.Text, p.Tokens)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name, text string
		max        int
		kind       fault.Kind
		reason     fault.Reason
	}{
		{"empty", "", 128, fault.Invalid, ReasonEmpty},
		{"blank", " \n\t", 128, fault.Invalid, ReasonEmpty},
		{"only dropped", "HISTORY: cough", 128, fault.Invalid, ReasonEmpty},
		{"only masks", "FINDINGS: XXXX.", 128, fault.Invalid, ReasonEmpty},
		{"not UTF-8", "clear \xff", 128, fault.Invalid, ReasonMalformed},
		{"too long", strings.Repeat("a", MaxBytes+1), 128, fault.Invalid, ReasonMalformed},
		{"no room", "clear", 2, fault.Internal, ""},
	} {
		_, err := Prepare(c.text, deid.Known{}, wordTokenizer{}, c.max)
		if err == nil || fault.KindOf(err) != c.kind || fault.ReasonOf(err) != c.reason {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := Prepare(strings.Repeat("a", MaxBytes), deid.Known{}, wordTokenizer{}, 128); err != nil {
		t.Error("a report of the largest size:", err)
	}
}

// TestLongPatterns holds that no repetition takes more than linear time: a quadratic stage
// would run for minutes. The tokenizer of the test takes most of the time.
func TestLongPatterns(t *testing.T) {
	for _, pattern := range []string{"a.", "no likely ", "1. A ", "FINDINGS\tA\n", "HISTORY:\n\nb\n", "2 x 3 cm ", "Dr. ", "XXXX-", ".) ", "A. ", "w/", "possible ", "\u00e9", "[ ] a ", "| a ", "a   "} {
		text := strings.Repeat(pattern, MaxBytes/4/len(pattern))
		if _, err := Prepare(text, deid.Known{}, wordTokenizer{}, 128); err != nil && fault.ReasonOf(err) != ReasonEmpty {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}

func TestLexicon(t *testing.T) {
	lex := lexiconOf(t)
	terms, forms := 0, map[string]bool{}
	for _, list := range lex.terms {
		for _, e := range list {
			terms++
			if forms[strings.ToLower(e.phrase)] {
				t.Errorf("%q stands there twice", e.phrase)
			}
			forms[strings.ToLower(e.phrase)] = true
			// An expansion says what the form says, and nothing is expanded in it.
			if before, after := len(findCues(e.phrase)), len(findCues(e.name)); before != after {
				t.Errorf("%q has %d words of negation, %q %d", e.phrase, before, e.name, after)
			}
			for _, around := range []string{"%s", "No %s.", "old %s, and", "%s in the lung"} {
				once := lex.expandTerms(fmt.Sprintf(around, e.phrase))
				if twice := lex.expandTerms(once); twice != once {
					t.Errorf("%q becomes %q, and that %q", e.phrase, once, twice)
				}
			}
			if once := lex.expandTerms(e.name); once != e.name {
				t.Errorf("the name %q becomes %q", e.name, once)
			}
		}
	}
	if terms < 300 {
		t.Errorf("%d terms", terms)
	}
	for _, ambiguous := range []string{"PE", "PA", "AP", "MS", "RA", "MI", "AF", "CF", "PCP", "ASD", "CAD", "CVA"} {
		if got := lex.expandTerms("x " + ambiguous); got != "x "+ambiguous {
			t.Errorf("%s is ambiguous and became %q", ambiguous, got)
		}
	}
	for name, files := range map[string][3]string{
		"cue in a hedge": {"findings\tfindings", "not certain\tpossible", "TB\texact\ttuberculosis\tC0041296"},
		"action":         {"findings\tsomewhere", "", ""},
		"twice":          {"findings\tfindings\nfindings\tdrop", "", ""},
		"cui":            {"", "", "TB\texact\ttuberculosis\t41296"},
		"no cui":         {"", "", "TB\texact\ttuberculosis\t"},
		"columns":        {"", "", "TB\texact\ttuberculosis"},
	} {
		if _, err := parseLexicon(files[0], files[1], files[2]); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestNegationSurvives(t *testing.T) {
	words := []string{"no", "not", "without", "negative for", "may represent", "cannot exclude", "likely", "suggestive of",
		"PTX", "effusion", "and", "but", ".", ",", "2 x 3 cm", "XXXX", "1.", "\n", "Denies", "absent", "x-XXXX"}
	rapid.Check(t, func(t *rapid.T) {
		text := "Clear " + strings.Join(rapid.SliceOfN(rapid.SampledFrom(words), 1, 40).Draw(t, "words"), " ")
		steps, err := Explain(text, deid.Known{}, wordTokenizer{}, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if before, after := len(findCues(text)), len(findCues(strings.Join(steps.Sentences, " "))); before != after {
			t.Fatalf("%d negations became %d in %q", before, after, steps.Sentences)
		}
	})
}

// TestIndiana holds, on all reports of the data folder, that none that says something
// empties and that no stage changes a negation; the digest guards every cleaned byte.
func TestIndiana(t *testing.T) {
	rows := realdata.Table(t, "indiana/openi_reports.csv")
	if rows == nil {
		return
	}
	digest := sha256.New()
	var before, after, keptBytes, whole, n int
	var shorter float64 // sum of shares, as the paper's mean over reports
	for _, r := range rows {
		text := ""
		for _, name := range []string{"indication", "comparison", "findings", "impression"} {
			if r[name] != "" {
				text += strings.ToUpper(name) + ": " + r[name] + "\n"
			}
		}
		steps, err := Explain(text, deid.Known{}, wordTokenizer{}, 1<<20)
		if err != nil {
			if r["findings"] != "" || r["impression"] != "" || fault.ReasonOf(err) != ReasonEmpty {
				t.Errorf("study %s: %v", r["uid"], err)
			}
			continue
		}
		kept := r["findings"] + "\n\n" + r["impression"]
		cues := len(findCues(kept))
		for _, s := range steps.Stages {
			if now := len(findCues(s.Text)); now != cues {
				t.Errorf("study %s: %d negations became %d in stage %s", r["uid"], cues, now, s.Name)
				break
			}
		}
		clean := strings.Join(steps.Sentences, " ")
		if strings.Contains(clean, "XXX") {
			t.Errorf("study %s: a mask stays in %q", r["uid"], clean)
		}
		fmt.Fprintf(digest, "%s %s\n", r["uid"], clean)
		n++
		before += len(text)
		keptBytes += len(kept)
		after += len(clean)
		shorter += 1 - float64(len(clean))/float64(len(text))
		if len(wordTokenizer{}.Encode(clean)) <= 128 {
			whole++
		}
	}
	if n < 3000 {
		t.Fatalf("only %d reports", n)
	}
	t.Logf("%d of %d reports kept; a report is %.1f %% shorter on average (the paper: 40 %%), all text %.1f %%, of which the sections make %.1f; %.1f %% have at most 128 words and marks",
		n, len(rows), 100*shorter/float64(n), 100*(1-float64(after)/float64(before)), 100*(1-float64(keptBytes)/float64(before)), 100*float64(whole)/float64(n))
	golden := "testdata/indiana.sha256"
	got := hex.EncodeToString(digest.Sum(nil)) + "\n"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || string(want) != got {
		t.Errorf("the cleaned reports have digest %s, not %s (%v): run with -update if the change is meant", got, want, err)
	}
}

func TestClinicalNotes(t *testing.T) {
	for _, r := range realdata.Table(t, "covidcxr/studies.csv") {
		_, err := Prepare(r["clinical_notes"], deid.Known{}, wordTokenizer{}, 128)
		if empty := strings.TrimSpace(r["clinical_notes"]) == ""; (err != nil) != empty {
			t.Errorf("study %s: empty %v, error %v", r["study_id"], empty, err)
		}
	}
}

func FuzzPrepare(f *testing.F) {
	inputs, _ := filepath.Glob("testdata/*.in")
	for _, in := range inputs {
		if b, err := os.ReadFile(in); err == nil {
			f.Add(string(b), 64)
		}
	}
	f.Add("1. 2 x 3 x 4 cm no\u00a0XXXX-XXXX FINDINGS:", 3)
	f.Add("w/İK cannot exclude", 8)
	f.Fuzz(func(t *testing.T, text string, maxTokens int) {
		p, err := Prepare(text, deid.Known{}, wordTokenizer{}, maxTokens)
		if err != nil {
			return
		}
		if len(p.Tokens) > maxTokens || p.Text == "" || !utf8.ValidString(p.Text) || strings.ContainsAny(p.Text, "\n\r\x00") {
			t.Errorf("%d tokens of %d, text %q", len(p.Tokens), maxTokens, p.Text)
		}
	})
}

func BenchmarkPrepare(b *testing.B) {
	text, err := os.ReadFile("testdata/mimic_like.in")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Prepare(string(text), deid.Known{}, wordTokenizer{}, 128); err != nil {
			b.Fatal(err)
		}
	}
}

func lexiconOf(t *testing.T) *lexicon {
	t.Helper()
	lex, err := loadLexicon()
	if err != nil {
		t.Fatal(err)
	}
	return lex
}
