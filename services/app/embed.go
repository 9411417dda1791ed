package app

import (
	"context"
	"strconv"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/query"
	"github.com/radstream/radstream/services/stage"
)

// prepared is a revision of a study, ready to be encoded.
type prepared struct {
	tenant event.Tenant
	study  *radstreamv1.StudyPrepared // nil: there is nothing to encode
	erased event.StudyKey             // set for a tombstone, which goes on as it is
	input  embedder.StudyInput
}

// embedHandler turns revisions of studies into vectors and label scores.
type embedHandler struct {
	encoder *embedder.Encoder
	labels  func(context.Context) (*labelSet, error) // in force
}

func (h *embedHandler) Decode(in stage.Input) (prepared, error) {
	m, err := in.Message()
	if err != nil {
		return prepared{}, err
	}
	if _, moved := m.(*radstreamv1.StudyMoved); moved {
		return prepared{}, nil // its revisions go on, on another subject
	}
	if removed, erased := m.(*radstreamv1.StudyRemoved); erased {
		t, err := in.Tenant()
		return prepared{tenant: t, erased: event.StudyKey(removed.GetStudyKey())}, err
	}
	study, ok := m.(*radstreamv1.StudyPrepared)
	if !ok {
		return prepared{}, fault.Reject("app.embed", fault.Unsupported, event.ReasonType, "the stream %s holds prepared studies only", in.Stream)
	}
	p := prepared{study: study}
	if p.tenant, err = in.Tenant(); err != nil {
		return prepared{}, err
	}
	if p.input, err = h.input(study); err != nil {
		return prepared{}, err
	}
	return p, h.encoder.Check(p.input)
}

// input reads what the encoders take out of a prepared study.
func (h *embedHandler) input(s *radstreamv1.StudyPrepared) (embedder.StudyInput, error) {
	var in embedder.StudyInput
	for _, v := range s.GetViews() {
		img, err := query.ViewImage(v)
		if err != nil {
			return in, err
		}
		in.Images = append(in.Images, img)
	}
	if r := s.GetReport(); r != nil {
		in.Tokens = r.GetTokens()
		if s.GetProvenance().GetTokenizer() != h.encoder.Tokenizer().ID() {
			// Prepared for another vocabulary: the cleaned text is there for this.
			in.Tokens, _ = h.encoder.Tokenizer().EncodeMax(r.GetText(), h.encoder.Model().Tokenizer.MaxLength)
		}
	}
	return in, nil
}

func (h *embedHandler) Handle(ctx context.Context, batch []prepared) []stage.Result {
	results := make([]stage.Result, len(batch))
	inputs := make([]embedder.StudyInput, len(batch))
	for i, p := range batch {
		inputs[i] = p.input
	}
	var vectors []embedder.StudyVectors
	labels, err := h.labels(ctx) // before the vectors: who rescores waits for batches that began with the set before
	if err == nil {
		vectors, err = h.encoder.EncodeStudies(ctx, inputs)
	} else if fault.KindOf(err) != fault.Canceled {
		err = fault.Errorf("app.embed", fault.Unavailable, "the label set cannot be read: %w", err) // no fault of a study
	}
	if k := fault.KindOf(err); err != nil && len(batch) > 1 && (k == fault.Internal || k == fault.Invalid) {
		for i := range batch { // one of them is to blame: find out which
			results[i] = h.Handle(ctx, batch[i:i+1])[0]
		}
		return results
	}
	for i, p := range batch {
		if p.erased != "" {
			results[i].Out = []stage.Output{removedOutput("embedded", p.tenant, event.EmbeddedSubject(p.tenant, h.encoder.Model().Ref.Key(), p.erased))}
			continue
		}
		if p.study == nil {
			continue
		}
		if err != nil {
			results[i].Err = err
			continue
		}
		results[i].Out, results[i].Err = h.output(p, vectors[i], labels)
	}
	return results
}

func (h *embedHandler) output(p prepared, v embedder.StudyVectors, labels *labelSet) ([]stage.Output, error) {
	ref := h.encoder.Model().Ref
	body := &radstreamv1.StudyEmbedded{
		PrepId: p.study.GetPrepId(), StudyKey: p.study.GetStudyKey(), PatientKey: p.study.GetPatientKey(), Rev: p.study.GetRev(),
		ModelRef: ref.String(), ShiftedTime: p.study.GetShiftedTime(), PreparationVersion: p.study.GetProvenance().GetPreparationVersion(),
		LabelSet: labels.number,
	}
	for _, named := range []struct {
		name   radstreamv1.VectorName
		values embedder.Vector
	}{
		{radstreamv1.VectorName_VECTOR_NAME_IMAGE, v.Image},
		{radstreamv1.VectorName_VECTOR_NAME_FRONTAL, v.Frontal},
		{radstreamv1.VectorName_VECTOR_NAME_LATERAL, v.Lateral},
		{radstreamv1.VectorName_VECTOR_NAME_TEXT, v.Text},
	} {
		if named.values != nil {
			body.Vectors = append(body.Vectors, &radstreamv1.Vector{Name: named.name, Values: named.values})
		}
	}
	if v.Image != nil { // a report alone shows nothing to score
		var err error
		if body.LabelScores, err = labelScores(v.Image, labels, h.encoder.Model().Temperature); err != nil {
			return nil, err
		}
	}
	return []stage.Output{{
		ID:      embeddedID(p.tenant, body),
		Subject: event.EmbeddedSubject(p.tenant, ref.Key(), event.StudyKey(p.study.GetStudyKey())),
		Body:    body,
		Rev:     event.Rev(p.study.GetRev()),
	}}, nil
}

// embeddedID names a study as a model embedded it and a label set scored it.
func embeddedID(t event.Tenant, s *radstreamv1.StudyEmbedded) event.MessageID {
	return event.ID(append([]string{"embedded", string(t), s.GetPrepId(), s.GetModelRef()}, scoring(s)...)...)
}

// scoring is the part of an id that tells label sets apart; models' own have none.
func scoring(s *radstreamv1.StudyEmbedded) []string {
	if s.GetLabelSet() == 0 {
		return nil
	}
	return []string{strconv.FormatUint(s.GetLabelSet(), 10)}
}
