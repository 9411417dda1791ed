package trainer

import (
	"context"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/assemble"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// PreparePhantom takes a phantom study the way of every study: DICOM bytes and report through
// ingest into the first revision of a prepared study, as PREPARED would hold it. A phantom
// that ingest does not take whole is an Internal fault.
func PreparePhantom(ctx context.Context, p *ingest.Preparer, key deid.Key, s phantom.Study) (*radstreamv1.StudyPrepared, error) {
	const op = "trainer.PreparePhantom"
	files, err := s.Files()
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	a := ingest.Arrival{
		ID: event.ID("phantom", s.UID), StudyUID: event.StudyUID(s.UID), PatientID: event.PatientID(s.PatientID),
		StudyTime: s.Time, Report: s.Report, HasReport: s.Report != "",
	}
	for _, f := range files {
		a.Objects = append(a.Objects, ingest.Object{Ref: &radstreamv1.ObjectRef{Uri: "file:" + f.Name}, Data: f.Data})
	}
	facts, refused, err := p.Prepare(ctx, key, a)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	if len(refused) > 0 {
		return nil, fault.Errorf(op, fault.Internal, "ingest refused a part of a phantom: %w", refused[0].Err)
	}
	prepared, _, err := assemble.Next(nil, facts)
	return prepared, fault.Wrap(op, err)
}

// PhantomLabels names what a phantom shows, in the words of embedder/zeroshot, which are those
// of the phantoms; a normal one is no_finding.
func PhantomLabels(t phantom.Truth) []string {
	if len(t.Findings) == 0 {
		return []string{NoFinding}
	}
	var out []string
	for _, f := range t.Findings {
		out = append(out, string(f.Kind))
	}
	return out
}

// NoFinding is the label of a normal study.
const NoFinding = "no_finding"
