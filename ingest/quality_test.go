package ingest_test

import (
	"bytes"
	"context"
	"math"
	"testing"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// gated is a preparer with the quality gate that ships.
func gated(t testing.TB) *ingest.Preparer {
	t.Helper()
	p, err := ingest.New(ingest.Default(), wordLengths{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestQualityGate: what is refused, by prepare and by inspect alike, and which view is told of
// a film whose header is silent, wrong, or right.
func TestQualityGate(t *testing.T) {
	c := phantom.Defaults()
	c.Studies, c.Side, c.LateralShare = 2, 320, 1
	s, err := phantom.Generate(c, 0)
	if err != nil {
		t.Fatal(err)
	}
	const frontal, lateral = radstreamv1.Projection_PROJECTION_FRONTAL, radstreamv1.Projection_PROJECTION_LATERAL
	for _, tc := range []struct {
		name   string
		view   int  // 0 frontal, 1 lateral
		silent bool // there is no header
		change func(*dicom.Film)
		reason fault.Reason
		want   radstreamv1.Projection
		source string
	}{
		{"frontal", 0, false, func(*dicom.Film) {}, "", frontal, pixel.FromTag},
		{"lateral", 1, false, func(*dicom.Film) {}, "", lateral, pixel.FromTag},
		{"frontal of a silent header", 0, true, func(*dicom.Film) {}, "", frontal, pixel.FromPixels},
		{"lateral of a silent header", 1, true, func(*dicom.Film) {}, "", lateral, pixel.FromPixels},
		{"lateral that is called PA", 1, false, func(f *dicom.Film) { f.ViewPosition = "PA" }, "", lateral, pixel.FromPixels},
		{"inverted", 0, false, func(f *dicom.Film) {
			f.Photometric = map[string]string{"MONOCHROME1": "MONOCHROME2", "MONOCHROME2": "MONOCHROME1"}[f.Photometric]
		}, pixel.ReasonInverted, 0, ""},
		{"something else", 0, false, func(f *dicom.Film) {
			for i := range f.Pixels { // rings
				x, y := float64(i%f.Columns-f.Columns/2), float64(i/f.Columns-f.Rows/2)
				f.Pixels[i] = uint16(200 + 200*(int(math.Hypot(x, y)/9)%4))
			}
		}, pixel.ReasonNotChest, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := s.Views[tc.view]
			f.Pixels = append([]uint16(nil), f.Pixels...)
			f.Syntax = dicom.FilmExplicitLE
			tc.change(&f)
			var b bytes.Buffer
			if err := dicom.Encode(&b, f); err != nil {
				t.Fatal(err)
			}
			o := ingest.Object{Data: b.Bytes()}
			if tc.silent {
				film, err := ingest.Film(b.Bytes())
				if err != nil {
					t.Fatal(err)
				}
				r, err := pixel.Render(film, pixel.Auto)
				if err != nil {
					t.Fatal(err)
				}
				if o.Data, err = pixel.EncodePNG(r.Pixels); err != nil {
					t.Fatal(err)
				}
			}
			facts, refusals, err := gated(t).Prepare(context.Background(), key(t), ingest.Arrival{StudyUID: event.StudyUID(f.StudyUID), Objects: []ingest.Object{o}})
			if err != nil {
				t.Fatal(err)
			}
			seen := ingest.Inspect(o.Data, "f")
			if tc.reason != "" {
				if len(refusals) != 1 || fault.ReasonOf(refusals[0].Err) != tc.reason || seen.Quality != string(tc.reason) || seen.QualityDetail == "" {
					t.Errorf("refusals %v, inspect says %s (%s)", refusals, seen.Quality, seen.QualityDetail)
				}
				return
			}
			if len(facts.Views) != 1 || seen.Quality != "ok" {
				t.Fatalf("refusals %v, inspect says %s", refusals, seen.Quality)
			}
			v := facts.Views[0]
			if v.Projection != tc.want || v.ProjectionSource != tc.source || v.ProjectionConfidence < 0.9 {
				t.Errorf("%v by %s, confidence %g", v.Projection, v.ProjectionSource, v.ProjectionConfidence)
			}
			if seen.ViewSource != v.ProjectionSource || float32(*seen.ViewConfidence) != v.ProjectionConfidence {
				t.Errorf("inspect says %s by %s, confidence %g", seen.View, seen.ViewSource, *seen.ViewConfidence)
			}
		})
	}
}
