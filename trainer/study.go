package trainer

import (
	"bytes"
	"crypto/sha256"
	"image"
	"image/png"
	"slices"
	"time"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// Study is a prepared study as training and evaluation see it.
type Study struct {
	Key, Patient string
	Time         time.Time        // shifted; zero when unknown
	Images       []embedder.Image // its own views, decoded
	Report       Report
	Split        Split
	Labelled     bool // Labels are all findings that are present
	Labels       []string

	// prior is the newest older study of the patient in the same data, or nil.
	prior *Study
}

// Report is the text of a study.
type Report struct {
	Tokens []int32 // [CLS] ... [SEP]; nil without a report
	// Sentences are the tokens of each sentence, without [CLS] and [SEP]; joined they are
	// Tokens. Those from Impression on sum the study up; there may be none.
	Sentences  [][]int32
	Impression int

	// meanings are what each sentence says; see meaning.
	meanings []string
}

// said is what the whole report says, for comparison.
func (r Report) said() string { return saidBy(r.meanings) }

const viewSide = 224 // pixels a side of a prepared view: the promise of ingest

// Reader is how a model reads reports.
type Reader struct {
	report.Tokenizer
	MaxTokens int   // of a text, [CLS] and [SEP] included
	Mask      int32 // stands for a hidden word in training; 0 where nothing is hidden
}

// NewStudy decodes a prepared study. Where its tokens are of another tokenizer than t's, or more
// than t takes, its cleaned text is tokenised again. Errors: Corrupt for views that are no 224 x 224
// grey PNG or not the pixels of their hash, and for a report that is none.
func NewStudy(s *radstreamv1.StudyPrepared, t Reader) (*Study, error) {
	out := &Study{Key: s.StudyKey, Patient: s.PatientKey}
	if s.ShiftedTime != nil {
		out.Time = s.ShiftedTime.AsTime()
	}
	for _, v := range s.Views {
		i, err := decodeView(v)
		if err != nil {
			return nil, err
		}
		out.Images = append(out.Images, i)
	}
	r := s.Report
	if r != nil && (s.GetProvenance().GetTokenizer() != t.ID() || len(r.Tokens) > t.MaxTokens) {
		var err error
		if r, err = report.Compose(r.Sections, t, t.MaxTokens); err != nil {
			return nil, fault.E("trainer.NewStudy", fault.Corrupt, err)
		}
	}
	if r != nil {
		out.Report = sentences(r, t)
	}
	return out, nil
}

func decodeView(v *radstreamv1.PreparedView) (embedder.Image, error) {
	const op = "trainer.decodeView"
	config, err := png.DecodeConfig(bytes.NewReader(v.Png))
	if err != nil || config.Width != viewSide || config.Height != viewSide {
		return embedder.Image{}, fault.Reject(op, fault.Corrupt, ReasonData, "a prepared view is a PNG of %d x %d pixels", viewSide, viewSide)
	}
	decoded, err := png.Decode(bytes.NewReader(v.Png))
	grey, ok := decoded.(*image.Gray)
	if err != nil || !ok {
		return embedder.Image{}, fault.Reject(op, fault.Corrupt, ReasonData, "a prepared view is a grey PNG")
	}
	if sum := sha256.Sum256(grey.Pix); !bytes.Equal(sum[:], v.PixelsSha256) {
		return embedder.Image{}, fault.Reject(op, fault.Corrupt, ReasonData, "a prepared view does not have the pixels of its hash")
	}
	b := v.GetExposed()
	out := embedder.Image{Pixels: grey.Pix, Exposed: image.Rect(int(b.GetX0()), int(b.GetY0()), int(b.GetX1()), int(b.GetY1()))}
	if out.Exposed.Empty() || !out.Exposed.In(image.Rect(0, 0, viewSide, viewSide)) {
		return embedder.Image{}, fault.Reject(op, fault.Corrupt, ReasonData, "a prepared view has an exposed box inside its pixels")
	}
	if v.Projection == radstreamv1.Projection_PROJECTION_LATERAL {
		out.View = embedder.Lateral
	}
	return out, nil
}

// sentences finds the sentences of a prepared report again. Cleaned text is cleaned once more
// to the same sentences; where that ever fails, the whole text counts as one.
func sentences(r *radstreamv1.PreparedReport, t Reader) Report {
	out := Report{Tokens: r.Tokens}
	if len(r.Tokens) < 3 {
		return Report{}
	}
	body := r.Tokens[1 : len(r.Tokens)-1]
	whole := Report{Tokens: r.Tokens, Sentences: [][]int32{body}, Impression: 1, meanings: []string{meaning(r.Text)}}
	split := func(text string) (parts [][]int32, meanings []string) {
		steps, err := report.Explain(text, deid.Known{}, t, maxReportTokens)
		if err != nil {
			return nil, nil
		}
		for _, s := range steps.Sentences {
			if ids := t.Encode(s); len(ids) > 2 {
				parts, meanings = append(parts, ids[1:len(ids)-1]), append(meanings, meaning(s))
			}
		}
		return parts, meanings
	}
	out.Sentences, out.meanings = split(r.Text)
	if !slices.Equal(slices.Concat(out.Sentences...), body) {
		return whole
	}
	out.Impression = len(out.Sentences)
	for _, s := range r.Sections {
		if s.Name != "impression" {
			continue
		}
		// The impression comes last, unless it was cut off.
		parts, _ := split(s.Text)
		if n := len(out.Sentences) - len(parts); n >= 0 && slices.EqualFunc(out.Sentences[n:], parts, slices.Equal) {
			out.Impression = n
		}
	}
	return out
}

// maxReportTokens is enough for the sections of any prepared report.
const maxReportTokens = 4096
