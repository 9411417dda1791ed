package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

// decodeRequest reads one Request. A field that it does not have is refused, so that
// a misspelt one is seen; what was found is not repeated, since it may name a person.
func decodeRequest(body []byte) (Request, error) {
	var r Request
	if decode(body, &r) {
		return r, nil
	}
	return Request{}, fault.Reject("query.decodeRequest", fault.Invalid, ReasonRequest,
		"the body must be one JSON object as /openapi.json has it: text, image (base64), study, vector, or positive with negative, and optionally tenant, model, k, projection, labels (label, score), views, after and before; other fields are refused")
}

// decode reads one JSON value without fields that v does not have. JSON is UTF-8: of text in another
// coding the library would make question marks.
func decode(body []byte, v any) bool {
	if !utf8.Valid(body) {
		return false
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if d.Decode(v) != nil {
		return false
	}
	_, err := d.Token()
	return errors.Is(err, io.EOF)
}

// complete fills in defaults and checks the limits.
func (r *Request) complete() error {
	bad := func(format string, args ...any) error {
		return fault.Reject("query.Request", fault.Invalid, ReasonRequest, format, args...)
	}
	if r.Tenant == "" {
		r.Tenant = event.DefaultTenant
	}
	if _, err := event.ParseTenant(string(r.Tenant)); err != nil {
		return err
	}
	if r.K == 0 {
		r.K = 10
	}
	asked := 0
	for _, given := range []bool{r.Text != "", r.Image != nil, r.Study != "", r.Vector != nil, len(r.Positive) > 0} {
		if given {
			asked++
		}
	}
	switch {
	case asked != 1:
		return bad("ask by exactly one of text, image, study, vector and positive")
	case r.K < 1 || r.K > MaxK:
		return bad("k must be 1 to %d", MaxK)
	case len(r.Text) > MaxText:
		return bad("a text has at most %d bytes", MaxText)
	case r.Text != "" && blank(r.Text):
		return bad("the text holds nothing but spaces")
	case len(r.Image) > MaxImage:
		return bad("an image has at most %d bytes", MaxImage)
	case r.Projection != "" && r.Projection != "frontal" && r.Projection != "lateral":
		return bad("projection must be frontal or lateral")
	case r.Vector != nil && r.Model == "":
		return bad("a vector needs the model that it is by, as name@version")
	case len(r.Negative) > 0 && len(r.Positive) == 0:
		return bad("negative examples need at least one positive one")
	case len(r.Positive)+len(r.Negative) > MaxExamples:
		return bad("at most %d examples are taken", MaxExamples)
	case len(r.Study) > maxUID:
		return bad("a StudyUID has at most %d bytes", maxUID)
	case len(r.Labels) > maxLabels:
		return bad("at most %d conditions on labels are taken", maxLabels)
	}
	for _, uids := range [][]event.StudyUID{r.Positive, r.Negative} {
		for _, uid := range uids {
			if uid == "" || len(uid) > maxUID {
				return bad("each example is a StudyUID of 1 to %d bytes", maxUID)
			}
		}
	}
	var length float64
	for _, x := range r.Vector {
		length += float64(x) * float64(x)
	}
	if r.Vector != nil && length == 0 {
		return bad("the vector has no direction")
	}
	if len(r.Views) > 2 {
		return bad("views holds frontal, lateral or both")
	}
	for _, v := range r.Views {
		if v != "frontal" && v != "lateral" {
			return bad("views holds frontal, lateral or both")
		}
	}
	var ok1, ok2 bool
	r.after, ok1 = parseTime(r.After)
	r.before, ok2 = parseTime(r.Before)
	if !ok1 || !ok2 {
		return bad("after and before must read like 2024-05-31 or 2024-05-31T08:00:00Z, in the years 1900 to 2199")
	}
	return nil
}

// blank reports whether a text has nothing that an encoder reads: its vector would mean nothing.
func blank(text string) bool {
	return strings.TrimFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf) }) == ""
}

// parseTime reads a day (its beginning, in UTC) or a time. The empty text is the zero time.
func parseTime(s string) (time.Time, bool) {
	if s == "" {
		return time.Time{}, true
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		t, err = time.Parse(time.RFC3339, s)
	}
	return t, err == nil && t.Year() >= 1900 && t.Year() < 2200
}

// complete fills in defaults and checks the limits, which are those of a search.
func (r *ExplainRequest) complete() error {
	if r.Text == "" || r.Study == "" {
		return fault.Reject("query.ExplainRequest", fault.Invalid, ReasonRequest, "an explanation is of a study and a text")
	}
	text, study := Request{Tenant: r.Tenant, Text: r.Text}, Request{Tenant: r.Tenant, Study: r.Study}
	if err := text.complete(); err != nil {
		return err
	}
	r.Tenant = text.Tenant
	return study.complete()
}
