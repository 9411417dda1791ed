package app

import (
	"math"
	"slices"
	"testing"

	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/query"
)

// TestExplain: what is explained is the similarity that a search shows, by every view of the study
// and by the sentence that says it.
func TestExplain(t *testing.T) {
	c := phantom.Defaults()
	c.Studies, c.Side, c.LateralShare = 1, 128, 1
	p, err := phantom.Generate(c, 0)
	if err != nil {
		t.Fatal(err)
	}
	files, err := p.Files()
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, t.TempDir(), t.Output())
	a := &radstreamv1.StudyArrived{StudyUid: p.UID, PatientId: p.PatientID,
		Report: &radstreamv1.Report{Text: "FINDINGS: Large left pleural effusion. The heart is of normal size."}}
	for _, f := range files[:2] {
		a.Objects = append(a.Objects, s.object(t, f.Data, radstreamv1.Projection_PROJECTION_UNSPECIFIED))
	}
	s.send(t, "one", a)
	s.expect(t, "one", event.StudyIndexed, 1)
	const text = "pleural effusion on the left"
	found, err := s.client.Search(t.Context(), query.Request{Tenant: tenant, Text: text})
	if err != nil || len(found.Hits) != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	x, err := s.client.Explain(t.Context(), query.ExplainRequest{Tenant: tenant, Study: event.StudyUID(p.UID), Text: text})
	if err != nil {
		t.Fatal(err)
	}
	if x.Similarity == nil || math.Abs(float64(*x.Similarity-found.Hits[0].Similarity)) > 1e-5 || x.Rev != 1 || x.Model != found.Model {
		t.Errorf("%+v, the search has %g", x, found.Hits[0].Similarity)
	}
	var projections []string
	for _, v := range x.Views {
		projections = append(projections, v.Projection)
		if len(v.Heat) != v.Rows*v.Columns || len(v.PNG) == 0 || slices.Max(v.Heat) <= 0 && slices.Min(v.Heat) >= 0 {
			t.Errorf("%s: %d x %d patches, %d bytes, heat %v", v.Projection, v.Rows, v.Columns, len(v.PNG), v.Heat)
		}
	}
	slices.Sort(projections)
	if !slices.Equal(projections, []string{"frontal", "lateral"}) {
		t.Errorf("views %v", projections)
	}
	if x.Sentence == nil || x.Sentence.Text != "Large left pleural effusion." {
		t.Errorf("the nearest sentence is %+v", x.Sentence)
	}
	for name, r := range map[string]query.ExplainRequest{
		"another study":  {Tenant: tenant, Study: "2.25.404", Text: text},
		"another tenant": {Tenant: "south", Study: event.StudyUID(p.UID), Text: text},
	} {
		if _, err := s.client.Explain(t.Context(), r); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
}
