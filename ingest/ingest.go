// Package ingest turns what a hospital sends of a study into what the model is fed.
//
//	Arrival: objects (DICOM, JPEG, PNG), report
//	  -> each object: read, gate (is it a chest film?), view, quality, remove text, render   (in parallel)
//	  -> agree on study and patient -> pseudonyms -> Facts                         (package assemble)
//	  -> what cannot be taken: one Refusal each, and the rest goes on
//
// A radiograph is one frame: objects of several are refused. Colour, as secondary captures
// have it, becomes grey. Which pixel data is read at all is said by package dicom.
//
// A [Preparer] is a pure function of its configuration, the tenant's key and the arrival:
// the same input gives the same bytes. Nothing that identifies a person enters a prepared
// view or report; the identifiers in [Facts] are there to make keys and routes of.
// [Inspect] shows what all this makes of one file.
package ingest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/radstream/radstream/ingest/assemble"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/dicom/codec"
	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// Reasons for which an object or an arrival is refused, beside those of the packages that
// do the work.
const (
	ReasonNotChest                 = pixel.ReasonNotChest
	ReasonModalityLUT fault.Reason = "modality_lut"
	ReasonStudy       fault.Reason = "study_mismatch"
	ReasonPatient                  = assemble.ReasonPatient
	ReasonNoStudy     fault.Reason = "no_study_uid"
	ReasonPanic       fault.Reason = "panic"
)

// preparation numbers the way pixels and text are prepared. Raise it with any change that
// changes a prepared byte.
const preparation = 4

// Config is what can be chosen about preparation.
type Config struct {
	Policy    pixel.Policy // how grey values are made; default auto
	MaxTokens int          // of a report, [CLS] and [SEP] included, 3 to 512; default 128
	Limits    pixel.Limits // which films the quality gate refuses
	// Burned removes text from the pixels; nil, the default, leaves it there.
	Burned *deid.Burned
}

// Default returns the paper's settings, with the window policy that suits radiographs.
func Default() Config {
	return Config{Policy: pixel.Auto, MaxTokens: 128, Limits: pixel.DefaultLimits()}
}

// Validate lists every fault of c.
func (c Config) Validate() []error {
	var faults []error
	if !slices.Contains(pixel.Policies(), c.Policy) {
		faults = append(faults, fault.Errorf("ingest.Config", fault.Usage, "the window policy must be one of %v", pixel.Policies()))
	}
	if c.MaxTokens < 3 || c.MaxTokens > 512 {
		faults = append(faults, fault.Errorf("ingest.Config", fault.Usage, "the longest report must have 3 to 512 tokens"))
	}
	return faults
}

// Tokenizer turns cleaned text into tokens, [CLS] and [SEP] included, without cutting. ID
// identifies vocabulary and algorithm.
type Tokenizer = report.Tokenizer

// Facts is what an arrival says about its study; see [assemble.Facts].
type Facts = assemble.Facts

// Object is one object of an arrival.
type Object struct {
	Ref        *radstreamv1.ObjectRef
	Projection radstreamv1.Projection // what the sender says; counts when the header does not
	Data       []byte
	// Err says that the bytes could not be read for a reason that blames the input, such
	// as a wrong checksum. Data is then not looked at.
	Err error
}

// Arrival is one StudyArrived or ReportArrived with its objects read. Empty identifiers
// and a zero time are taken from the objects' headers. Identifiers count without the
// padding around them ([deid.Bare]); a time before 1895 or after 9999 counts as zero.
type Arrival struct {
	ID        event.MessageID
	StudyUID  event.StudyUID
	PatientID event.PatientID
	StudyTime time.Time
	Objects   []Object
	Report    string
	HasReport bool
	Statement Statement  // says which version of the report it is
	Accession string     // accession number; names the study for reports that do not
	People    deid.Known // names and identifiers beside these that must leave the report
	Said      time.Time  // when the sender announced it; zero when unknown
	// Same tells whether two identifiers are one patient though they differ, as after a merge;
	// nil when there are no merges.
	Same func(study event.StudyUID, a, b event.PatientID) bool
}

// Statement is what a sender says of a report beside its text.
type Statement struct {
	ID     string // number of the report; empty when it has none
	Status radstreamv1.ReportStatus
	Time   time.Time // when the result was said or changed; zero when the sender does not say
	Made   time.Time // when the message was made; Arrival.Said when zero
}

// Refusal is a part of an arrival that was not taken.
type Refusal struct {
	Ref *radstreamv1.ObjectRef // nil when it is the report
	Err error                  // has a kind and a reason
}

// Preparer prepares arrivals. It is safe for concurrent use.
type Preparer struct {
	config     Config
	tokenizer  Tokenizer
	codecs     codec.Set
	classifier *pixel.Classifier
}

// New returns a Preparer. Errors: Usage, the first fault of c.
func New(c Config, t Tokenizer) (*Preparer, error) {
	if faults := c.Validate(); len(faults) > 0 {
		return nil, faults[0]
	}
	classifier, err := pixel.NewClassifier()
	if err != nil {
		return nil, err
	}
	return &Preparer{config: c, tokenizer: t, codecs: codec.Standard(), classifier: classifier}, nil
}

// Version identifies the preparation: what a prepared byte depends on beside the input. What
// is done about burned-in text stands behind a plus sign; see [Rendering].
func (p *Preparer) Version() string {
	version := fmt.Sprintf("%d-%s-%d", preparation, p.config.Policy, p.config.MaxTokens)
	if burned := p.config.Burned.Version(); burned != "" {
		version += "+" + burned
	}
	return version
}

// Rendering returns the part of a version that a model depends on: how films look and reports
// read to it. Whether text was removed from a film does not change how the rest looks, so a
// model serves under every policy for it.
func Rendering(version string) string {
	rendering, _, _ := strings.Cut(version, "+")
	return rendering
}

// Prepare prepares one arrival under the key of its tenant. Every object ends as a view
// of Facts or as a Refusal, in the order of the arrival; a report that is refused is the
// last Refusal and has no Ref. Facts may hold no view and no report.
//
// Errors: Invalid no_study_uid when neither the arrival nor a header names the study
// (refusals are returned as well); Canceled or Transient when ctx ends.
func (p *Preparer) Prepare(ctx context.Context, key deid.Key, a Arrival) (Facts, []Refusal, error) {
	const op = "ingest.Prepare"
	a.StudyUID, a.PatientID = deid.Bare(a.StudyUID), deid.Bare(a.PatientID)
	if y := a.StudyTime.UTC().Year(); y < dicom.FirstYear || y > 9999 {
		a.StudyTime = time.Time{}
	}
	results := make([]result, len(a.Objects))
	// Errors of objects are results: the group only ends early with the context.
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, o := range a.Objects {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			results[i] = p.object(ctx, o)
			if view := results[i].view; view != nil {
				sum := sha256.Sum256(o.Data)
				view.ObjectSha256 = sum[:]
			}
			return ctx.Err() // an object that was broken off is not refused
		})
	}
	if err := group.Wait(); err != nil {
		return Facts{}, nil, fault.Wrap(op, err)
	}
	agree(&a, results)

	f := Facts{ArrivalID: a.ID, StudyUID: a.StudyUID, Shift: key.Shift}
	var refusals []Refusal
	f.Compose = func(s []*radstreamv1.Section) (*radstreamv1.PreparedReport, error) {
		return report.Compose(s, p.tokenizer, p.config.MaxTokens)
	}
	f.Tokenizer = p.tokenizer.ID()
	for i, r := range results {
		if r.err != nil {
			refusals = append(refusals, Refusal{a.Objects[i].Ref, r.err})
			continue
		}
		f.Views = append(f.Views, r.view)
	}
	if a.HasReport {
		var err error
		switch f.Report, err = p.statement(key, a, known(a, results)); {
		case err == nil:
		case fault.ReasonOf(err) == "": // not the report's fault
			return Facts{}, refusals, fault.Wrap(op, err)
		default:
			refusals = append(refusals, Refusal{Err: err})
		}
	}
	f.Accessions = accessions(a, results)
	if a.StudyUID == "" {
		return Facts{}, refusals, fault.Reject(op, fault.Invalid, ReasonNoStudy, "the arrival or a DICOM object must name its study (Study Instance UID)")
	}
	f.StudyKey = key.Study(a.StudyUID)
	f.Stranger = key.Patient("", a.StudyUID)
	f.PatientKey, f.PatientKnown = key.Patient(a.PatientID, a.StudyUID), a.PatientID != ""
	f.ShiftedTime = key.Shift(f.PatientKey, a.StudyTime.UTC())
	shifted := func(t time.Time) *timestamppb.Timestamp {
		if t.IsZero() {
			return nil
		}
		return timestamppb.New(key.Shift(f.PatientKey, t.UTC()))
	}
	for _, r := range results {
		if r.err == nil {
			r.view.PreparationVersion = p.Version()
			r.view.InstanceKey = key.Instance(r.header.InstanceUID)
			r.view.ShiftedContentTime, r.view.ShiftedSaidTime = shifted(r.header.ContentTime), shifted(a.Said)
		}
	}
	if f.Report != nil {
		f.Report.ShiftedTime = shifted(a.Statement.Time)
		f.Report.ShiftedSaidTime = shifted(cmp.Or(a.Statement.Made, a.Said))
	}
	return f, refusals, nil
}

// statement prepares the version of the report that a brings, without its times.
func (p *Preparer) statement(key deid.Key, a Arrival, people deid.Known) (*radstreamv1.ReportStatement, error) {
	sum := sha256.Sum256([]byte(a.Report))
	s := &radstreamv1.ReportStatement{
		ReportKey: key.Report(a.Statement.ID), Status: a.Statement.Status, ReportSha256: sum[:], PreparationVersion: p.Version(),
	}
	switch s.Status {
	case radstreamv1.ReportStatus_REPORT_STATUS_UNSPECIFIED:
		s.Status = radstreamv1.ReportStatus_REPORT_STATUS_FINAL
	case radstreamv1.ReportStatus_REPORT_STATUS_RETRACTED:
		return s, nil // what it takes back is not looked at
	}
	cleaned, err := report.Prepare(a.Report, people, p.tokenizer, p.config.MaxTokens)
	if err != nil {
		return nil, err
	}
	s.Sections = cleaned.GetSections()
	return s, nil
}

// accessions returns the accession numbers that an arrival and its objects name, each once.
// Objects that were refused for naming another study or patient do not count.
func accessions(a Arrival, results []result) []string {
	all := []string{strings.TrimSpace(a.Accession)}
	for _, r := range results {
		if reason := fault.ReasonOf(r.err); reason != ReasonStudy && reason != ReasonPatient {
			all = append(all, strings.TrimSpace(r.header.Accession))
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if all[0] == "" {
		all = all[1:]
	}
	return all
}

// result is what became of one object.
type result struct {
	header dicom.Header // zero for plain films and what could not be read
	view   *radstreamv1.PreparedView
	err    error
}

// object prepares one object on its own.
func (p *Preparer) object(ctx context.Context, o Object) (r result) {
	// A decoder that panics on one object must not take the others, or the process, along.
	defer func() {
		if v := recover(); v != nil {
			r = result{err: fault.Reject("ingest.object", fault.Internal, ReasonPanic, "reading the object panicked with a %T: a defect of the program, please report it", v)}
		}
	}()
	if o.Err != nil {
		return result{err: o.Err}
	}
	film, tags, err := pixel.Film{}, pixel.Tags{}, error(nil)
	if pixel.Sniff(o.Data) != "" {
		var plain pixel.Plain
		plain, err = pixel.DecodePlain(o.Data)
		film = plain.Film
	} else {
		film, r.header, err = p.radiograph(o.Data)
		tags = tagsOf(r.header)
	}
	if err == nil {
		r.view, err = p.view(ctx, film, tags, o, identifiers(r.header))
	}
	r.err = err
	return r
}

// radiograph reads a DICOM object that passes the gate.
func (p *Preparer) radiograph(data []byte) (pixel.Film, dicom.Header, error) {
	file, err := dicom.Parse(data)
	if err != nil {
		return pixel.Film{}, dicom.Header{}, err
	}
	if err := cmp.Or(gate(file.Header), single(file.Header)); err != nil {
		return pixel.Film{}, file.Header, err
	}
	pixels, err := file.Pixels(p.codecs)
	if err != nil {
		return pixel.Film{}, file.Header, err
	}
	film, err := filmOf(file.Header, pixels)
	return film, file.Header, err
}

// view shows a film. The quality gate comes before text is looked for, which costs far more.
func (p *Preparer) view(ctx context.Context, film pixel.Film, tags pixel.Tags, o Object, known deid.Identifiers) (*radstreamv1.PreparedView, error) {
	stated, err := pixel.Stated(tags, o.Projection)
	if err != nil {
		return nil, err
	}
	rendered, err := pixel.Render(film, p.config.Policy)
	if err != nil {
		return nil, err
	}
	look := p.classifier.Look(rendered)
	if err := p.config.Limits.Check(pixel.Measure(rendered), look); err != nil {
		return nil, err
	}
	cleaned, err := p.config.Burned.Clean(ctx, film, p.config.Policy, known)
	if err != nil {
		return nil, err
	}
	if len(cleaned.Removed) > 0 {
		if rendered, err = pixel.Render(cleaned.Film, p.config.Policy); err != nil {
			return nil, err
		}
	}
	stated = stated.Weigh(look[pixel.Lateral])
	png, err := pixel.EncodePNG(rendered.Pixels)
	if err != nil {
		return nil, err
	}
	pixels := sha256.Sum256(rendered.Pixels)
	view := &radstreamv1.PreparedView{
		Projection: stated.Projection, ProjectionSource: stated.Source, ProjectionConfidence: float32(stated.Confidence), Png: png, Exposed: rendered.Exposed,
		PixelsSha256: pixels[:], WindowPolicy: string(rendered.Policy),
		SourceRows: uint32(film.Rows), SourceColumns: uint32(film.Columns), Markers: cleaned.Markers,
	}
	for _, b := range cleaned.Removed {
		view.Removed = append(view.Removed, &radstreamv1.Box{X0: uint32(b.X0), Y0: uint32(b.Y0), X1: uint32(b.X1), Y1: uint32(b.Y1)})
	}
	return view, nil
}

// View prepares one object by itself, as Prepare does: for queries, which have no study. It
// leaves out ObjectSha256.
func (p *Preparer) View(ctx context.Context, o Object) (*radstreamv1.PreparedView, error) {
	r := p.object(ctx, o)
	return r.view, fault.Wrap("ingest.View", r.err)
}

// agree fills what the arrival does not say from the headers, the first that says it
// first, and refuses the objects of another study or patient. Headers of objects that are
// refused for other reasons count too: they name the study as truly.
func agree(a *Arrival, results []result) {
	const op = "ingest.Prepare"
	dated := !a.StudyTime.IsZero()
	for i := range results {
		r := &results[i]
		h := r.header
		if a.StudyUID == "" {
			a.StudyUID = h.StudyUID
		}
		if h.StudyUID != "" && h.StudyUID != a.StudyUID {
			r.err = fault.Reject(op, fault.Invalid, ReasonStudy, "all objects of an arrival must have its Study Instance UID (0020,000D)")
			continue
		}
		if a.PatientID == "" {
			a.PatientID = h.PatientID
		}
		if h.PatientID != "" && h.PatientID != a.PatientID && (a.Same == nil || !a.Same(a.StudyUID, h.PatientID, a.PatientID)) {
			r.err = fault.Reject(op, fault.Invalid, ReasonPatient, "all objects of an arrival must have its Patient ID (0010,0020)")
			continue
		}
		if !dated && !h.StudyTime.IsZero() && (a.StudyTime.IsZero() || h.StudyTime.Before(a.StudyTime)) {
			a.StudyTime = h.StudyTime
		}
	}
}
