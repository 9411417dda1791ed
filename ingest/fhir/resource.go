package fhir

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

// resource holds the fields used of DiagnosticReport, Observation, Patient, Practitioner,
// ImagingStudy and ServiceRequest: where two of them have a field of a name, it has one type.
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

	// Patient and Practitioner.
	Name []humanName `json:"name"`

	// People that the others refer to.
	Performer          []reference `json:"performer"`
	ResultsInterpreter []reference `json:"resultsInterpreter"`
	Requester          *reference  `json:"requester"` // ServiceRequest
	Referrer           *reference  `json:"referrer"`  // ImagingStudy

	// DiagnosticReport.
	Conclusion        string       `json:"conclusion"`
	PresentedForm     []attachment `json:"presentedForm"`
	Result            []reference  `json:"result"`
	ImagingStudy      []reference  `json:"imagingStudy"` // R4
	Study             []reference  `json:"study"`        // R5
	EffectiveDateTime string       `json:"effectiveDateTime"`
	EffectivePeriod   struct {
		Start string `json:"start"`
	} `json:"effectivePeriod"`
	Issued string `json:"issued"`
	Meta   struct {
		LastUpdated string `json:"lastUpdated"`
	} `json:"meta"`

	// Observation.
	Code                 concept     `json:"code"`
	ValueString          string      `json:"valueString"`
	ValueCodeableConcept concept     `json:"valueCodeableConcept"`
	HasMember            []reference `json:"hasMember"`

	// ImagingStudy.
	Started string `json:"started"`

	contained map[string]*resource // by "#" and id
}

type identifier struct {
	Use    string  `json:"use"`
	Type   concept `json:"type"`
	System string  `json:"system"`
	Value  string  `json:"value"`
}

type reference struct {
	Reference  string      `json:"reference"`
	Type       string      `json:"type"`
	Display    string      `json:"display"`
	Identifier *identifier `json:"identifier"`
}

type humanName struct {
	Text   string   `json:"text"`
	Family string   `json:"family"`
	Given  []string `json:"given"`
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

// store is what was sent, by name.
type store struct {
	byName  map[string]*resource // by full URL and by Type/id
	reports []*resource
	count   int // resources read
	people  people
	shared  int // Observations used; many reports may share one
	bytes   int // of the texts made of them
}

// entries is a Bundle.
type entries struct {
	Entry []struct {
		FullURL  string          `json:"fullUrl"`
		Resource json.RawMessage `json:"resource"`
	} `json:"entry"`
}

// add puts the resource data under url and its own name.
func (s *store) add(data json.RawMessage, url string, depth int) error {
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
		var b entries
		if err := decode(data, &b); err != nil {
			return err
		}
		if depth == MaxDepth {
			return fault.Reject(op, fault.Invalid, ReasonTooLarge, "bundles nest at most %d deep", MaxDepth)
		}
		for _, e := range b.Entry {
			if len(e.Resource) == 0 || string(e.Resource) == "null" {
				continue // a request or response without a resource
			}
			if err := s.add(e.Resource, e.FullURL, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	r, err := s.read(data, *head.ResourceType, true)
	if r == nil || err != nil {
		return err
	}
	s.byName[r.ResourceType+"/"+r.ID] = r
	if url != "" {
		s.byName[url] = r
	}
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
	case "DiagnosticReport", "Observation", "Patient", "Practitioner", "ImagingStudy", "ServiceRequest":
	default:
		return nil, nil
	}
	r := &resource{contained: map[string]*resource{}}
	if err := decode(data, r); err != nil {
		return nil, err
	}
	s.people.of(r)
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

// resolve finds what ref of owner points at, or nil. A relative or absolute URL may name a
// version behind "/_history/" (hl7.org/fhir/R4/references.html).
func (s *store) resolve(owner *resource, ref reference) *resource {
	name, _, _ := strings.Cut(ref.Reference, "/_history/")
	if strings.HasPrefix(name, "#") {
		return owner.contained[name]
	}
	if r := s.byName[name]; r != nil {
		return r
	}
	if parts := strings.Split(name, "/"); len(parts) >= 2 {
		return s.byName[strings.Join(parts[len(parts)-2:], "/")]
	}
	return nil
}

// identifiersOf returns the identifiers that refs of owner carry or lead to, in order.
func (s *store) identifiersOf(owner *resource, refs []reference) []identifier {
	var ids []identifier
	for _, ref := range refs {
		if ref.Identifier != nil {
			ids = append(ids, *ref.Identifier)
		}
		if r := s.resolve(owner, ref); r != nil {
			ids = append(ids, r.Identifier[:min(len(r.Identifier), maxIdentifiers)]...)
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
