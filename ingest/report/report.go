// Package report turns the text of a radiology report into what the text encoder reads.
//
// A report is written for people: it repeats the request, hedges in twenty ways and
// measures in two units. Encoder and retrieval need only what was seen and concluded,
// said in one way. So the text passes through named stages, each a pure function of the
// text before it:
//
//	report as written
//	  -> sections      keep findings and impression, drop history, technique, requests
//	  -> deidentify    "discussed with Dr. Smith" -> "discussed with Dr. [name]" (package deid)
//	  -> symbols       bullets, numbering, XXXX, control characters, white space
//	  -> hedges        "may represent", "cannot exclude" -> "possible"; negation untouched
//	  -> terminology   PTX -> pneumothorax (UMLS preferred names, data/terminology.tsv)
//	  -> measurements  2cm x 3cm -> 6 cm2
//	  -> sentences     a list of sentences
//	  -> cut           as many whole sentences as fit the encoder, and their tokens
//
// The sections, de-identified and else as written, stay beside the cleaned text, and so do
// the CheXpert-14 labels of all of its sentences (package label). [Prepare] is the whole way,
// [Explain] the same with the text after every stage. The lexicons are tab-separated
// files in data/; the package reads nothing else, and equal input gives equal output.
//
// It follows Hao et al. 2025 (ClinVLA), report preprocessing, with one change: the paper
// deletes vague phrases, which turns an uncertain finding into a certain one; here each
// becomes the word "possible".
package report

import (
	"crypto/sha256"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/report/label"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// MaxBytes bounds the text of one report.
const MaxBytes = 256 << 10

// Reasons for which a report is refused.
const (
	ReasonMalformed fault.Reason = "malformed_report" // not UTF-8, or longer than MaxBytes
	ReasonEmpty     fault.Reason = "empty_report"     // nothing is left after cleaning
)

// Tokenizer turns text into ids of the encoder's vocabulary. Encode puts [CLS] first and
// [SEP] last and never cuts; ID names tokenizer and vocabulary.
type Tokenizer interface {
	Encode(text string) []int32
	ID() string
}

// Section is one part of a report that is kept, as written save for placeholders.
type Section struct {
	Name string `json:"name"` // findings or impression
	Text string `json:"text"`
}

// Stage is the text after one named stage.
type Stage struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Steps is what every stage made of a report. Stages are in the order of the package
// documentation; the text of the stages sentences and cut has one sentence a line.
type Steps struct {
	Sections  []Section      `json:"sections"`
	Removed   []deid.Removal `json:"removed"` // from the text of the stage sections; never to be logged
	Stages    []Stage        `json:"stages"`
	Sentences []string       `json:"sentences"` // after the cut
	Tokens    []int32        `json:"tokens"`    // [CLS] ... [SEP]
	Labels    label.Result   `json:"labels"`    // of all sentences, those that were cut off as well
}

// Prepare cleans text and cuts it to at most maxTokens tokens, [CLS] and [SEP] included.
// Text of the result is the sentences that were kept, joined by one space. known is what
// the message or header says about the people of the study; what text says about them in
// sections that are dropped counts too.
//
// Errors: Invalid with [ReasonMalformed] or [ReasonEmpty]; Internal when maxTokens is
// below 3, which leaves no room for a word.
func Prepare(text string, known deid.Known, tok Tokenizer, maxTokens int) (*radstreamv1.PreparedReport, error) {
	steps, err := Explain(text, known, tok, maxTokens)
	if err != nil {
		return nil, fault.Wrap("report.Prepare", err)
	}
	p := steps.prepared()
	sum := sha256.Sum256([]byte(text))
	p.ReportSha256 = sum[:]
	return p, nil
}

// Compose does with sections what [Prepare] does with those that it finds: alone, they give
// the same report again; behind those of an earlier report, the sections of an addendum give
// the report with its addendum. ReportSha256 is left to the caller. Errors: those of Prepare.
func Compose(sections []*radstreamv1.Section, tok Tokenizer, maxTokens int) (*radstreamv1.PreparedReport, error) {
	const op = "report.Compose"
	if maxTokens < 3 {
		return nil, fault.Errorf(op, fault.Internal, "the number of tokens is at least 3, not %d", maxTokens)
	}
	lex, err := loadLexicon()
	if err != nil {
		return nil, fault.E(op, fault.Internal, err)
	}
	var s Steps
	for _, section := range sections {
		s.Sections = append(s.Sections, Section{section.GetName(), section.GetText()})
	}
	if s, err = s.clean(lex, tok, maxTokens); err != nil {
		return nil, fault.Wrap(op, err)
	}
	return s.prepared(), nil
}

// prepared is the result of all steps as events have it.
func (s Steps) prepared() *radstreamv1.PreparedReport {
	p := &radstreamv1.PreparedReport{Text: strings.Join(s.Sentences, " "), Tokens: s.Tokens}
	for _, section := range s.Sections {
		p.Sections = append(p.Sections, &radstreamv1.Section{Name: section.Name, Text: section.Text})
	}
	for _, f := range s.Labels {
		if f.Value != label.Absent {
			p.Labels = append(p.Labels, &radstreamv1.ReportLabel{Label: string(f.Label), Mention: f.Value.String()})
		}
	}
	return p
}

// Explain does what [Prepare] does and keeps the text after every stage. When it fails,
// the steps up to the failure are returned beside the error.
func Explain(text string, known deid.Known, tok Tokenizer, maxTokens int) (Steps, error) {
	const op = "report.Explain"
	var s Steps
	if maxTokens < 3 {
		return s, fault.Errorf(op, fault.Internal, "the number of tokens is at least 3, not %d", maxTokens)
	}
	if len(text) > MaxBytes {
		return s, fault.Reject(op, fault.Invalid, ReasonMalformed, "a report has at most %d bytes, this one %d", MaxBytes, len(text))
	}
	if !utf8.ValidString(text) {
		return s, fault.Reject(op, fault.Invalid, ReasonMalformed, "a report is UTF-8 text")
	}
	lex, err := loadLexicon()
	if err != nil {
		return s, fault.E(op, fault.Internal, err)
	}

	s.Sections = lex.sections(text)
	s.Stages = append(s.Stages, Stage{"sections", s.kept()})
	if known, err = deid.Learn(text, known); err != nil {
		return s, fault.E(op, fault.Internal, err)
	}
	s.Removed = []deid.Removal{} // JSON shows that nothing was removed
	at := 0                      // of the section in the text of the stage
	for i := range s.Sections {
		section := &s.Sections[i]
		clean, removed, err := deid.Text(section.Text, known)
		if err != nil {
			return s, fault.E(op, fault.Internal, err)
		}
		for _, r := range removed {
			r.Start += at
			s.Removed = append(s.Removed, r)
		}
		at += len(section.Text) + len(paragraph)
		section.Text = clean
	}
	s.Stages = append(s.Stages, Stage{"deidentify", s.kept()})
	return s.clean(lex, tok, maxTokens)
}

// paragraph stands between two sections: a blank line ends a sentence.
const paragraph = "\n\n"

// kept is the text of all sections.
func (s Steps) kept() string {
	var b strings.Builder
	for i, section := range s.Sections {
		if i > 0 {
			b.WriteString(paragraph)
		}
		b.WriteString(section.Text)
	}
	return b.String()
}

// clean takes the stages behind deidentify.
func (s Steps) clean(lex *lexicon, tok Tokenizer, maxTokens int) (Steps, error) {
	const op = "report.clean"
	now := s.kept()
	step := func(name, text string) {
		now = text
		s.Stages = append(s.Stages, Stage{name, text})
	}
	step("symbols", cleanSymbols(now))
	step("hedges", lex.normaliseHedges(now))
	step("terminology", lex.expandTerms(now))
	step("measurements", standardiseMeasurements(now))
	all := Sentences(now)
	step("sentences", strings.Join(all, "\n"))
	if len(all) == 0 {
		return s, fault.Reject(op, fault.Invalid, ReasonEmpty, "a report says something under findings or impression, or has no headings")
	}
	labeller, err := loadLabeller()
	if err != nil {
		return s, fault.Wrap(op, err)
	}
	s.Labels = labeller.Label(all)
	s.Sentences, s.Tokens = cutToFit(all, tok, maxTokens)
	step("cut", strings.Join(s.Sentences, "\n"))
	return s, nil
}

// loadLabeller parses the rules once; the result is read-only.
var loadLabeller = sync.OnceValues(label.New)

// cutToFit keeps the leading whole sentences whose tokens fit. When the first alone does
// not, its tokens are cut behind the maxTokens-1st and closed with its last, [SEP]; the
// text then ends with the last word that fits whole.
func cutToFit(sentences []string, tok Tokenizer, maxTokens int) ([]string, []int32) {
	if all := tok.Encode(strings.Join(sentences, " ")); len(all) <= maxTokens {
		return sentences, all
	}
	first := tok.Encode(sentences[0])
	if len(first) > maxTokens {
		words := strings.Fields(sentences[0])
		n, _ := longestPrefix(words, tok, maxTokens)
		cut := append(append([]int32(nil), first[:maxTokens-1]...), first[len(first)-1])
		return []string{strings.Join(words[:n], " ")}, cut
	}
	n, tokens := longestPrefix(sentences, tok, maxTokens)
	return sentences[:n], tokens
}

// longestPrefix searches by halving for the most leading parts whose tokens fit, and
// returns their number and tokens. The first part is always kept.
func longestPrefix(parts []string, tok Tokenizer, maxTokens int) (int, []int32) {
	fits, tokens := 1, tok.Encode(parts[0])
	for tooMany := min(len(parts), maxTokens) + 1; fits+1 < tooMany; { // a part has a token at least
		mid := (fits + tooMany) / 2
		if ids := tok.Encode(strings.Join(parts[:mid], " ")); len(ids) <= maxTokens {
			fits, tokens = mid, ids
		} else {
			tooMany = mid
		}
	}
	return fits, tokens
}
