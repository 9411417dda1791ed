// Package label says which of the fourteen CheXpert observations a report affirms,
// denies, leaves open or does not mention, and which words made it say so.
//
// Labels train the classifier head, filter a search and judge an index, so a report that
// says "no pneumothorax" must not count as one that has it. The idea is that of NegBio
// (Peng et al. 2018) and the CheXpert labeller (Irvin et al. 2019): find mentions of an
// observation, decide for each whether it is denied or hedged, and combine them. Those
// two work on a dependency parse. Here the reach of a denial is counted in words and
// ended by words, as in NegEx (Chapman et al. 2001): that needs no parser, and every
// decision can be shown. The rules were written for this package; no file of theirs is
// used. Which words speak of which label follows their labeller as its output shows;
// where it misreads a plain sentence [New] does not follow it, and [NewCheXpert] does.
//
//	sentences of package report
//	  -> tokens       words in small letters and punctuation marks
//	  -> mentions     data/mentions.tsv: the longest phrase of each label at a place
//	  -> cues         data/cues.tsv, data/scopes.tsv: denials, hedges, states, scope ends
//	  -> values       each mention takes the value of the cue that reaches it
//	  -> one a label  positive over uncertain over negative
//
// A mention is a finding ("effusion": there, unless a cue says otherwise) or a structure
// ("heart size": silent, unless a cue says "normal" or "enlarged").
//
// [Labeller.Label] expects cleaned sentences. Cleaning writes every hedge as "possible"
// and one name for each concept, so the rules stay few. Equal input gives equal output.
package label

import "fmt"

// Label names an observation as the CheXpert data set does.
type Label string

// The observations.
const (
	EnlargedCardiomediastinum Label = "Enlarged Cardiomediastinum"
	Cardiomegaly              Label = "Cardiomegaly"
	LungOpacity               Label = "Lung Opacity"
	LungLesion                Label = "Lung Lesion"
	Edema                     Label = "Edema"
	Consolidation             Label = "Consolidation"
	Pneumonia                 Label = "Pneumonia"
	Atelectasis               Label = "Atelectasis"
	Pneumothorax              Label = "Pneumothorax"
	PleuralEffusion           Label = "Pleural Effusion"
	PleuralOther              Label = "Pleural Other"
	Fracture                  Label = "Fracture"
	SupportDevices            Label = "Support Devices"
	// NoFinding is positive when no other observation but support devices is positive or
	// uncertain and no other disease is affirmed; it is never negative.
	NoFinding Label = "No Finding"

	// otherFinding stands for diseases outside the fourteen (emphysema, scoliosis): it
	// appears in no result and only rules out NoFinding.
	otherFinding Label = "Other Finding"
)

// Labels lists the fourteen observations in the order of every [Result].
func Labels() []Label {
	return []Label{
		EnlargedCardiomediastinum, Cardiomegaly, LungOpacity, LungLesion, Edema,
		Consolidation, Pneumonia, Atelectasis, Pneumothorax, PleuralEffusion, PleuralOther,
		Fracture, SupportDevices, NoFinding,
	}
}

// Value is what a report says of an observation.
type Value int8

// The values. The zero value is Absent; a larger one outweighs a smaller one when several
// sentences speak of the same observation.
const (
	Absent    Value = 0 // not mentioned
	Negative  Value = 1 // denied
	Uncertain Value = 2 // possible
	Positive  Value = 3 // affirmed
)

// String returns the word for v.
func (v Value) String() string {
	switch v {
	case Absent:
		return "absent"
	case Negative:
		return "negative"
	case Uncertain:
		return "uncertain"
	case Positive:
		return "positive"
	}
	return fmt.Sprintf("value(%d)", int8(v))
}

// MarshalText writes the word for v.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Evidence is one mention of an observation.
type Evidence struct {
	Sentence int    `json:"sentence"` // index into the sentences given
	Value    Value  `json:"value"`    // what this mention alone says; never Absent
	Mention  string `json:"mention"`  // as written
	Cue      string `json:"cue"`      // as written; empty where nothing denies or hedges
}

// Finding is the verdict on one observation.
type Finding struct {
	Label    Label      `json:"label"`
	Value    Value      `json:"value"`
	Evidence []Evidence `json:"evidence"` // in reading order; none for Absent and NoFinding
}

// Result has one [Finding] a label, in the order of [Labels].
type Result []Finding

// Labeller labels reports. It is read-only and safe for concurrent use.
type Labeller struct {
	rules *rules
}

// New returns the labeller for every use but one: it says what the report says. An error
// is a defect of the rule files that are built in, of kind Internal.
func New() (*Labeller, error) {
	return load("")
}

// NewCheXpert returns a labeller that also repeats what the CheXpert labeller is known to
// misread (data/chexpert.tsv): to it "No displaced rib fractures." affirms a fracture. It
// is for comparison with data labelled by that program, and must not label studies that
// somebody searches or learns from.
func NewCheXpert() (*Labeller, error) {
	return load(chexpertFile)
}

func load(misreadings string) (*Labeller, error) {
	r, err := parseRules(misreadings, mentionsFile, cuesFile, scopesFile)
	if err != nil {
		return nil, err
	}
	return &Labeller{r}, nil
}

// Label reads the sentences of one report. Negation and hedges do not cross sentences.
func (l *Labeller) Label(sentences []string) Result {
	found := map[Label]Finding{}
	for i, s := range sentences {
		l.rules.read(s, func(label Label, e Evidence) {
			e.Sentence = i
			f := found[label]
			f.Value = max(f.Value, e.Value)
			f.Evidence = append(f.Evidence, e)
			found[label] = f
		})
	}
	healthy := found[otherFinding].Value != Positive
	var r Result
	for _, label := range Labels() {
		f := found[label]
		f.Label = label
		if label == NoFinding && healthy {
			f.Value = Positive
		}
		if f.Value >= Uncertain && label != SupportDevices {
			healthy = false
		}
		r = append(r, f)
	}
	return r
}
