package pixel_test

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/ingest/realdata"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

const (
	frontal = radstreamv1.Projection_PROJECTION_FRONTAL
	lateral = radstreamv1.Projection_PROJECTION_LATERAL
	none    = radstreamv1.Projection_PROJECTION_UNSPECIFIED
)

func TestStated(t *testing.T) {
	for _, tc := range []struct {
		position, code, orientation string
		hint, want                  radstreamv1.Projection
		source                      string
	}{
		{"PA", "", "", none, frontal, pixel.FromTag},
		{"AP", "", `A\F`, lateral, frontal, pixel.FromTag},
		{"AP SUPINE", "", "", none, frontal, pixel.FromTag},
		{"LL", "", "", none, lateral, pixel.FromTag},
		{"RL", "", "", none, lateral, pixel.FromTag},
		{"LATERAL", "", "", frontal, lateral, pixel.FromTag},
		{"L", "", "", none, lateral, pixel.FromTag},
		{"LLD", "", "", none, frontal, pixel.FromTag},
		{"", "postero-anterior", "", none, frontal, pixel.FromTag},
		{"", "left lateral", "", none, lateral, pixel.FromTag},
		{"", "left lateral decubitus", "", none, frontal, pixel.FromTag},
		{"", "", `L\F`, none, frontal, pixel.FromTag},
		{"", "", `P\F`, none, lateral, pixel.FromTag},
		{"YES", "", "", lateral, lateral, pixel.FromHint},
		{"", "", "", none, none, ""},
	} {
		v, err := pixel.Stated(pixel.Tags{ViewPosition: tc.position, ViewCode: tc.code, Orientation: strings.Split(tc.orientation, `\`)}, tc.hint)
		if err != nil || v.Projection != tc.want || v.Source != tc.source || (v.Confidence == 0) != (tc.source == "") {
			t.Errorf("%+v: got %+v, %v", tc, v, err)
		}
	}
	if _, err := pixel.Stated(pixel.Tags{ViewPosition: "RAO"}, frontal); fault.ReasonOf(err) != pixel.ReasonView {
		t.Errorf("an oblique film: %v", err)
	}
}

func TestWeigh(t *testing.T) {
	tag, hint := pixel.FromTag, pixel.FromHint
	for _, tc := range []struct {
		name       string
		stated     pixel.View
		pixels     float64
		want       radstreamv1.Projection
		source     string
		confidence float64
	}{
		{"nothing is said, frontal", pixel.View{}, 0.1, frontal, pixel.FromPixels, 0.9},
		{"nothing is said, lateral", pixel.View{}, 0.8, lateral, pixel.FromPixels, 0.8},
		{"the header agrees", pixel.View{frontal, tag, 1}, 0.1, frontal, tag, 0.9425},
		{"doubt", pixel.View{frontal, tag, 1}, 0.8, frontal, tag, 0.3127},
		{"overruled", pixel.View{frontal, tag, 1}, 0.99, lateral, pixel.FromPixels, 0.99},
		{"a header's lateral stands", pixel.View{lateral, tag, 1}, 0, lateral, tag, 1},
		{"a hint stands", pixel.View{frontal, hint, 1}, 1, frontal, hint, 1},
	} {
		v := tc.stated.Weigh(tc.pixels)
		if v.Projection != tc.want || v.Source != tc.source || math.Abs(v.Confidence-tc.confidence) > 1e-3 {
			t.Errorf("%s: got %+v", tc.name, v)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.Float64Range(0, 1).Draw(t, "lateral")
		said := rapid.SampledFrom([]pixel.View{{}, {frontal, tag, 1}, {lateral, tag, 1}, {frontal, hint, 1}, {lateral, hint, 1}}).Draw(t, "stated")
		v := said.Weigh(p)
		if v.Projection == none || v.Source == "" || !(v.Confidence >= 0 && v.Confidence <= 1) {
			t.Errorf("%+v of %+v and %g", v, said, p)
		}
	})
}

// TestIndianaHeaders counts how often the headers of the Indiana collection say the truth
// about the projection: what View.Weigh rests on.
func TestIndianaHeaders(t *testing.T) {
	projections, headers := realdata.Table(t, "indiana/indiana_projections.csv"), realdata.Table(t, "indiana/dicom_headers.csv")
	if projections == nil || headers == nil {
		return
	}
	truth := map[string]radstreamv1.Projection{}
	for _, row := range projections {
		truth[strings.TrimSuffix(row["filename"], ".dcm.png")] = map[string]radstreamv1.Projection{"Frontal": frontal, "Lateral": lateral}[row["projection"]]
	}
	type pair struct{ said, is radstreamv1.Projection }
	got := map[pair]int{}
	for _, row := range headers {
		is, known := truth[strings.TrimSuffix(strings.TrimPrefix(row["filename"], "./"), ".dcm")]
		if !known {
			continue
		}
		orientation := strings.Split(strings.NewReplacer("[", "", "]", "", "'", "", " ", "").Replace(row["Patient Orientation"]), ",")
		v, err := pixel.Stated(pixel.Tags{ViewPosition: row["View Position"], Orientation: orientation}, none)
		if err != nil {
			t.Fatal(err)
		}
		got[pair{v.Projection, is}]++
	}
	t.Logf("header frontal: %d frontal, %d lateral; header lateral: %d frontal, %d lateral; header silent: %d frontal, %d lateral",
		got[pair{frontal, frontal}], got[pair{frontal, lateral}], got[pair{lateral, frontal}], got[pair{lateral, lateral}], got[pair{none, frontal}], got[pair{none, lateral}])
	want := map[pair]int{{frontal, frontal}: 2099, {frontal, lateral}: 1099, {lateral, lateral}: 690, {none, frontal}: 949, {none, lateral}: 1115}
	for p, n := range want {
		if got[p] != n {
			t.Errorf("said %v, is %v: %d, want %d", p.said, p.is, got[p], n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%v", got)
	}
}
