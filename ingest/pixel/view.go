package pixel

import (
	"strings"

	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// Sources of a projection.
const (
	FromTag     = "tag"     // the object's header says it
	FromHint    = "hint"    // the sender says it
	FromNothing = "assumed" // nobody says it: taken for frontal, as most chest films are
)

// Tags are the attributes that tell the projection of a film.
type Tags struct {
	ViewPosition string   // (0018,5101)
	ViewCode     string   // meaning of the View Code (0054,0220)
	Orientation  []string // Patient Orientation (0020,0020)
}

// View is the projection of a film and how it is known.
type View struct {
	Projection radstreamv1.Projection // frontal or lateral
	Source     string
	Confidence float64 // 0 to 1: 1 when it was said, 0 when it is assumed
}

// Classify says which projection a film is: by its View Position, else its View Code,
// else by where its rows run to, else by the hint of the sender, else it assumes frontal.
// It does not look at the pixels yet.
//
// Decubitus films are frontal. Errors: Unsupported unsupported_view for an oblique film.
func Classify(t Tags, hint radstreamv1.Projection) (View, error) {
	for _, text := range []string{t.ViewPosition, t.ViewCode} {
		p, oblique := named(text)
		if oblique {
			return View{}, fault.Reject("pixel.Classify", fault.Unsupported, ReasonView, "the film must be frontal or lateral, not oblique")
		}
		if p != radstreamv1.Projection_PROJECTION_UNSPECIFIED {
			return View{p, FromTag, 1}, nil
		}
	}
	if len(t.Orientation) == 2 && t.Orientation[0] != "" {
		switch t.Orientation[0][0] {
		case 'L', 'R':
			return View{radstreamv1.Projection_PROJECTION_FRONTAL, FromTag, 1}, nil
		case 'A', 'P':
			return View{radstreamv1.Projection_PROJECTION_LATERAL, FromTag, 1}, nil
		}
	}
	if hint == radstreamv1.Projection_PROJECTION_FRONTAL || hint == radstreamv1.Projection_PROJECTION_LATERAL {
		return View{hint, FromHint, 1}, nil
	}
	return View{radstreamv1.Projection_PROJECTION_FRONTAL, FromNothing, 0}, nil
}

// named reads a projection from a View Position or a code meaning, both of which senders
// fill freely: "PA", "AP SUPINE", "LL", "LAT", "postero-anterior", "Left lateral decubitus".
// The rows of words go from the most to the least telling one.
func named(text string) (p radstreamv1.Projection, oblique bool) {
	words := strings.FieldsFunc(strings.ToUpper(text), func(r rune) bool { return r < 'A' || r > 'Z' })
	for _, rule := range []struct {
		projection radstreamv1.Projection
		oblique    bool
		words      string
	}{
		{radstreamv1.Projection_PROJECTION_FRONTAL, false, " LLD RLD DECUBITUS DECUB "},
		{radstreamv1.Projection_PROJECTION_UNSPECIFIED, true, " RLO LLO RAO LAO RPO LPO OBL OBLIQUE "},
		{radstreamv1.Projection_PROJECTION_FRONTAL, false, " PA AP FRONTAL POSTERO ANTERO POSTEROANTERIOR ANTEROPOSTERIOR "},
		{radstreamv1.Projection_PROJECTION_LATERAL, false, " LL RL L LAT LLAT RLAT LATERAL LATEROLATERAL "},
	} {
		for _, w := range words {
			if strings.Contains(rule.words, " "+w+" ") {
				return rule.projection, rule.oblique
			}
		}
	}
	return radstreamv1.Projection_PROJECTION_UNSPECIFIED, false
}
