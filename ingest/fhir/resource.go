package fhir

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

// resource holds the fields used of DiagnosticReport, Observation, Patient, ImagingStudy and
// ServiceRequest: where two of them have a field of a name, it has one type.
type resource struct {
	ResourceType string       `json:"resourceType"`
	ID           string       `json:"id"`
	Status       string       `json:"status"`
	Identifier   []identifier `json:"identifier"`
	Subject      *reference   `json:"subject"`
	BasedOn      []reference  `json:"basedOn"`
	Text         struct {
		Div string `json:"div"`
	} `json:"text"`
	Contained []json.RawMessage `json:"contained"`

	// DiagnosticReport.
	Conclusion     string       `json:"conclusion"`
	ConclusionCode []concept    `json:"conclusionCode"`
	PresentedForm  []attachment `json:"presentedForm"`
	Note           []annotation `json:"note"` // R5; of Observation R4 as well
	Result         []reference  `json:"result"`
	ImagingStudy   []reference  `json:"imagingStudy"` // R4
	Study          []reference  `json:"study"`        // R5
	Issued         string       `json:"issued"`
	Meta           struct {
		LastUpdated string `json:"lastUpdated"`
	} `json:"meta"`

	// Observation.
	Code                 concept     `json:"code"`
	ValueString          string      `json:"valueString"`
	ValueCodeableConcept concept     `json:"valueCodeableConcept"`
	ValueQuantity        *struct{}   `json:"valueQuantity"`
	HasMember            []reference `json:"hasMember"`
	Component            []struct {
		Code                 concept `json:"code"`
		ValueString          string  `json:"valueString"`
		ValueCodeableConcept concept `json:"valueCodeableConcept"`
	} `json:"component"`

	url       string               // its fullUrl, or that of the resource that contains it
	in        *bundle              // where references are looked up
	contained map[string]*resource // by "#" and id; one map for the outer one and all in it
}

type identifier struct {
	Use    string  `json:"use"`
	Type   concept `json:"type"`
	System string  `json:"system"`
	Value  string  `json:"value"`
}

type reference struct {
	Reference  string      `json:"reference"`
	Identifier *identifier `json:"identifier"`
}

type concept struct {
	Coding []struct {
		Code    string `json:"code"`
		Display string `json:"display"`
	} `json:"coding"`
	Text string `json:"text"`
}

type attachment struct {
	ContentType string `json:"contentType"`
	Data        string `json:"data"` // base64
	URL         string `json:"url"`
}

type annotation struct {
	Text string `json:"text"`
}

func (a annotation) words() string { return strings.TrimSpace(a.Text) }

func (c concept) has(code string) bool {
	for _, coding := range c.Coding {
		if coding.Code == code {
			return true
		}
	}
	return false
}

// words returns what c says to people.
func (c concept) words() string {
	if text := strings.TrimSpace(c.Text); text != "" {
		return text
	}
	for _, coding := range c.Coding {
		if text := strings.TrimSpace(coding.Display); text != "" {
			return text
		}
	}
	return ""
}

// heading returns the heading that c implies as the code of an Observation, or "".
func (c concept) heading() string {
	for _, coding := range c.Coding {
		if h := report.Heading(coding.Code); h != "" {
			return h
		}
	}
	return report.Heading(c.words())
}

// maxIdentifiers bounds what is read of the identifiers and orders of a resource that many
// reports may share.
const maxIdentifiers = 64

// store is what was sent.
type store struct {
	reports []*resource
	count   int // resources read
	people  people
	shared  int // Observations used; many reports may share one
	bytes   int // of the texts made of them
}

// bundle finds resources. Those of the bundle around it can be referred to as well, those of
// bundles inside it or beside it cannot: they may be another server's.
type bundle struct {
	outer  *bundle
	byURL  map[string]*resource // by fullUrl
	byName map[string]*resource // by Type/id; nil where two servers use one
}

func newBundle(outer *bundle) *bundle {
	return &bundle{outer: outer, byURL: map[string]*resource{}, byName: map[string]*resource{}}
}

func (b *bundle) add(r *resource) {
	if r.url != "" {
		b.byURL[r.url] = r
	}
	if r.ID == "" {
		return
	}
	name := r.ResourceType + "/" + r.ID
	if other, taken := b.byName[name]; taken && (other == nil || other.url != r.url) {
		r = nil
	}
	b.byName[name] = r
}

// entries is a Bundle.
type entries struct {
	Entry []struct {
		FullURL  string          `json:"fullUrl"`
		Resource json.RawMessage `json:"resource"`
	} `json:"entry"`
}

// add puts the resource data, whose fullUrl is url, into b.
func (s *store) add(data json.RawMessage, url string, b *bundle, depth int) error {
	const op = "fhir.add"
	var head struct {
		ResourceType *string `json:"resourceType"`
	}
	if err := decode(data, &head); err != nil {
		return err
	}
	if head.ResourceType == nil {
		return fault.Reject(op, fault.Invalid, ReasonNotFHIR, "a FHIR resource has a resourceType")
	}
	if *head.ResourceType == "Bundle" {
		var all entries
		if err := decode(data, &all); err != nil {
			return err
		}
		if depth == MaxDepth {
			return fault.Reject(op, fault.Invalid, ReasonTooLarge, "bundles nest at most %d deep", MaxDepth)
		}
		inner := newBundle(b)
		for _, e := range all.Entry {
			if len(e.Resource) == 0 || string(e.Resource) == "null" {
				continue // a request or response without a resource
			}
			if err := s.add(e.Resource, e.FullURL, inner, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	var all any
	if err := decode(data, &all); err != nil {
		return err
	}
	s.people.of("", all)
	r, err := s.read(data, *head.ResourceType, true)
	if r == nil || err != nil {
		return err
	}
	r.url, r.in = url, b
	for _, inner := range r.contained {
		inner.url, inner.in, inner.contained = url, b, r.contained
	}
	b.add(r)
	if r.ResourceType == "DiagnosticReport" {
		s.reports = append(s.reports, r)
	}
	return nil
}

// read decodes a resource of a type that is used; of others it returns nil. What it
// contains is read if outer is true: contained resources contain none.
func (s *store) read(data json.RawMessage, kind string, outer bool) (*resource, error) {
	if s.count++; s.count > MaxResources {
		return nil, fault.Reject("fhir.read", fault.Invalid, ReasonTooLarge, "a FHIR bundle has at most %d resources", MaxResources)
	}
	switch kind {
	case "DiagnosticReport", "Observation", "Patient", "ImagingStudy", "ServiceRequest":
	default:
		return nil, nil
	}
	r := &resource{contained: map[string]*resource{}}
	if err := decode(data, r); err != nil {
		return nil, err
	}
	contained := r.Contained
	r.Contained = nil
	if !outer {
		return r, nil
	}
	for _, c := range contained {
		var head struct {
			ResourceType string `json:"resourceType"`
		}
		if err := decode(c, &head); err != nil {
			return nil, err
		}
		inner, err := s.read(c, head.ResourceType, false)
		if err != nil {
			return nil, err
		}
		if inner != nil {
			r.contained["#"+inner.ID] = inner
		}
	}
	return r, nil
}

// resolve finds what ref of r points at, or nil (hl7.org/fhir/R4/bundle.html, 2.36.4): by its
// URL, which a relative one takes from the fullUrl of r. A version behind "/_history/" is not
// looked at. Many senders give resources that are referred to as Type/id no fullUrl, or a UUID:
// these are found by Type and id, unless there are several.
func (r *resource) resolve(ref reference) *resource {
	url, _, _ := strings.Cut(ref.Reference, "/_history/")
	if strings.HasPrefix(url, "#") {
		return r.contained[url]
	}
	parts := strings.Split(url, "/")
	if len(parts) == 2 && onServer(r.url) {
		own := strings.Split(r.url, "/")
		url = strings.Join(append(own[:max(0, len(own)-2)], parts...), "/")
	}
	for b := r.in; b != nil; b = b.outer {
		if found := b.byURL[url]; found != nil {
			return found
		}
	}
	if len(parts) < 2 {
		return nil
	}
	name := strings.Join(parts[len(parts)-2:], "/")
	for b := r.in; b != nil; b = b.outer {
		if found, ok := b.byName[name]; ok {
			if found != nil && onServer(url) && onServer(found.url) {
				return nil // one of another server
			}
			return found
		}
	}
	return nil
}

func onServer(url string) bool {
	return strings.HasPrefix(url, "http://") || strings.HasPrefix(url, "https://")
}

// identifiersOf returns the identifiers that refs of r carry or lead to, in order.
func (r *resource) identifiersOf(refs []reference) []identifier {
	var ids []identifier
	for _, ref := range refs {
		if ref.Identifier != nil {
			ids = append(ids, *ref.Identifier)
		}
		if to := r.resolve(ref); to != nil {
			ids = append(ids, to.Identifier[:min(len(to.Identifier), maxIdentifiers)]...)
		}
	}
	return ids
}

func accession(ids []identifier) report.Accession {
	for _, kind := range []string{"ACSN", "FILL", "PLAC"} {
		if value := typed(ids, kind); value != "" {
			return report.Accession(value)
		}
	}
	return ""
}

// typed returns the first identifier of a type of HL7 table 0203, or "".
func typed(ids []identifier, kind string) string {
	for _, id := range ids {
		if value := strings.TrimSpace(id.Value); value != "" && id.Type.has(kind) {
			return value
		}
	}
	return ""
}

func studyUID(ids []identifier) event.StudyUID {
	for _, id := range ids {
		if id.System == "urn:dicom:uid" {
			if uid := report.StudyUID(id.Value); uid != "" {
				return uid
			}
		}
	}
	return ""
}

func patientID(ids []identifier) event.PatientID {
	best, rank := "", 0
	for _, id := range ids {
		value, score := strings.TrimSpace(id.Value), 1
		switch {
		case value == "" || id.Use == "old":
			continue
		case id.Type.has("MR"):
			score = 4
		case id.Type.has("PI"):
			score = 3
		case id.Use == "usual" || id.Use == "official":
			score = 2
		}
		if score > rank {
			best, rank = value, score
		}
	}
	return event.PatientID(best)
}

// firstTime returns the first of values that is a FHIR dateTime or instant; a date alone
// is midnight UTC.
func firstTime(values ...string) time.Time {
	for _, v := range values {
		for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02", "2006-01", "2006"} {
			if t, err := time.Parse(layout, v); err == nil {
				return t.UTC()
			}
		}
	}
	return time.Time{}
}
