// Package fhir reads the reports that hospitals send as FHIR R4 and R5, in JSON, and as
// C-CDA documents, in XML.
//
//	DiagnosticReport, alone or in a Bundle, with what it contains or refers to
//	  -> text: presentedForm, else result and conclusion, else the narrative
//	  -> study, patient, time: by the references
//	  -> report.Message
//
// R4 (hl7.org/fhir/R4/diagnosticreport.html) and R5 (hl7.org/fhir/R5/...) differ in what
// is used here by one name: imagingStudy became study. References are resolved inside
// what was sent, contained or in the same bundle or one around it; nothing is fetched, and
// where two servers' resources could be meant, none is.
//
// # Text
//
// presentedForm is "the entire result as issued" and goes first; where the conclusion is
// not in it, it is added. Without one, the text of the result Observations and of their
// components (valueString, else the words of valueCodeableConcept) stands under the headings of their codes, and
// the conclusion behind it under IMPRESSION. The narrative, text.div, is generated from
// all fields by many servers, so it counts where these say nothing.
//
// The notes of an Observation (Annotation.text) stand behind its text, unless it measures a
// quantity, which is not read either. Where nothing but such notes is said, they stand behind the
// narrative. The notes of the report, which R5 has, stand behind all the rest, under IMPRESSION,
// where that does not hold them: that heading takes no text before it for letterhead. The words of
// conclusionCode are codes for what the conclusion says, and so the impression of a report that has
// no other, no form and no narrative. Codes and notes do not stand in for a form that cannot be read.
//
// # What identifies the study
//
// The accession number is an identifier typed ACSN (accession ID, HL7 table 0203): of the
// ImagingStudy, as its page in R4 says, else of the report, else of the ServiceRequests
// that the report or the study is based on, where R5 moves it. A reference may carry the
// identifier itself. Where none is typed ACSN, one typed FILL (filler order number), else PLAC
// (placer), in the same order, for the reasons that package hl7 gives. Untyped identifiers of a
// report number the report, and are not used. One typed FILL numbers it, as it does in package
// hl7; issued, else meta.lastUpdated, says which of two versions is the later.
//
// Names and identifiers of people, of whatever resource, and the display of references to them
// come with each report: they are to be removed from the text.
//
// The Study Instance UID is the identifier of the ImagingStudy with system urn:dicom:uid,
// whose value is "urn:oid:" and the UID (hl7.org/fhir/R4/imagingstudy.html, notes). The
// report's own urn:dicom:uid names a document, not the study.
//
// The patient is the identifier of the Patient typed MR, else PI, else used as usual or
// official, else the first. The id of a resource is the server's and not used.
package fhir

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/fault"
)

// Bounds of what is read.
const (
	MaxBytes     = 16 << 20 // of one resource or document
	MaxResources = 50_000   // of one bundle, contained ones included
	MaxPeople    = 1024     // names of people, and identifiers, in it
	MaxDepth     = 4        // of bundles in bundles
)

// Reasons for which a message is refused.
const (
	ReasonNotFHIR   fault.Reason = "not_fhir"          // neither JSON of a resource nor C-CDA
	ReasonTooLarge  fault.Reason = "message_too_large" // one of the bounds above
	ReasonMalformed fault.Reason = "malformed_fhir"    // broken JSON or XML, or a field of another type
	ReasonXML       fault.Reason = "fhir_xml"          // FHIR as XML
	ReasonType      fault.Reason = "no_diagnostic_report"
	ReasonNoText    fault.Reason = "no_report_text"   // a report without text
	ReasonDocument  fault.Reason = "report_is_a_file" // the text is only there as PDF or the like, or elsewhere
)

// Parse reads the reports of one resource, bundle or C-CDA document. When a report of a
// bundle is refused the others are returned beside the joined errors.
//
// Errors: Invalid or Unsupported with one of the reasons above.
func Parse(data []byte) ([]report.Message, error) {
	const op = "fhir.Parse"
	if len(data) > MaxBytes {
		return nil, fault.Reject(op, fault.Invalid, ReasonTooLarge, "a FHIR resource or bundle has at most %d bytes, this one %d", MaxBytes, len(data))
	}
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	switch {
	case bytes.HasPrefix(data, []byte("<")):
		m, err := parseXML(data)
		if err != nil {
			return nil, fault.Wrap(op, err)
		}
		return []report.Message{m}, nil
	case !bytes.HasPrefix(data, []byte("{")):
		return nil, fault.Reject(op, fault.Invalid, ReasonNotFHIR, "a FHIR resource is a JSON object with a resourceType")
	case !utf8.Valid(data):
		return nil, fault.Reject(op, fault.Invalid, ReasonMalformed, "FHIR JSON is UTF-8")
	}
	var s store
	if err := s.add(data, "", newBundle(nil), 0); err != nil {
		return nil, fault.Wrap(op, err)
	}
	if len(s.reports) == 0 {
		return nil, fault.Reject(op, fault.Unsupported, ReasonType, "resourceType is DiagnosticReport, or a Bundle with a DiagnosticReport among its entries")
	}
	if err := s.people.check(); err != nil {
		return nil, fault.Wrap(op, err)
	}
	var all []report.Message
	var refused []error
	for _, r := range s.reports {
		m, err := s.message(r)
		if err != nil {
			refused = append(refused, fault.Wrap(op, err))
			continue
		}
		all = append(all, m)
	}
	if len(refused) == 1 {
		return all, refused[0]
	}
	return all, errors.Join(refused...)
}

// decode is json.Unmarshal with an error that says where, and never what.
func decode(data []byte, v any) error {
	const op = "fhir.decode"
	err := json.Unmarshal(data, v)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &kind) && kind.Field != "":
		return fault.Reject(op, fault.Invalid, ReasonMalformed, "the field %s has the JSON type that FHIR gives it", kind.Field)
	case errors.As(err, &syntax):
		return fault.Reject(op, fault.Invalid, ReasonMalformed, "the message is valid JSON, which it is not at byte %d", syntax.Offset)
	}
	return fault.Reject(op, fault.Invalid, ReasonMalformed, "a FHIR resource is a JSON object")
}

// status maps FHIR's words (R4 and R5, value set diagnostic-report-status).
func status(word string) report.Status {
	switch word {
	case "registered", "partial", "preliminary":
		return report.StatusPreliminary
	case "final":
		return report.StatusFinal
	case "amended", "corrected", "modified":
		return report.StatusCorrected
	case "appended":
		return report.StatusAddendum
	case "cancelled", "entered-in-error":
		return report.StatusRetracted
	}
	return ""
}

// message makes the message of r. Errors: those of text, unless r was retracted.
func (s *store) message(r *resource) (report.Message, error) {
	m := report.Message{Kind: report.KindReport, Status: status(r.Status)}
	text, err := s.text(r)
	if err != nil && m.Status != report.StatusRetracted {
		return report.Message{}, err
	}
	m.Text = report.LineEnds(text)
	if r.Subject != nil {
		m.PatientID = patientID(r.identifiersOf([]reference{*r.Subject}))
	}
	studies := few(slices.Concat(r.ImagingStudy, r.Study))
	orders := r.identifiersOf(few(r.BasedOn))
	for _, ref := range studies {
		if study := r.resolve(ref); study != nil && len(orders) < maxIdentifiers {
			orders = append(orders, study.identifiersOf(few(study.BasedOn))...)
		}
	}
	m.Made = firstTime(r.Meta.LastUpdated)
	if m.Issued = firstTime(r.Issued); m.Issued.IsZero() {
		m.Issued = m.Made
	}
	m.Names, m.IDs = s.people.names, s.people.ids
	m.ReportID = typed(r.Identifier, "FILL")
	ofStudies := r.identifiersOf(studies)
	m.StudyUID = studyUID(ofStudies)
	m.Accession = accession(slices.Concat(ofStudies, r.Identifier, orders))
	return m, nil
}

// few bounds references: each leads to a resource that other ones lead to as well, so that a
// small message could ask for much.
func few(refs []reference) []reference { return refs[:min(len(refs), maxIdentifiers)] }

// text composes the report's text; see the package documentation.
func (s *store) text(r *resource) (string, error) {
	const op = "fhir.text"
	conclusion, comments := strings.TrimSpace(r.Conclusion), texts(r.Note)
	form, err := presented(r.PresentedForm)
	if form != "" {
		return beside(form, conclusion, comments), nil
	}
	var all results
	if tooMuch := s.results(r, map[*resource]bool{}, &all); tooMuch != nil {
		return "", tooMuch
	}
	parts := all.parts
	if conclusion != "" {
		parts = append(parts, report.Part{Heading: report.HeadingImpression, Text: conclusion})
	}
	if conclusion == "" && !all.values {
		if err != nil {
			return "", err
		}
		if text := htmlText(r.Text.Div); text != "" {
			return beside(text, all.text(), comments), nil
		}
	}
	impression := func(p report.Part) bool { return p.Heading == report.HeadingImpression }
	if codes := texts(r.ConclusionCode); codes != "" && !slices.ContainsFunc(parts, impression) {
		parts = append(parts, report.Part{Heading: report.HeadingImpression, Text: codes})
	}
	switch {
	case comments != "" && len(parts) > 0:
		parts = append(parts, report.Part{Heading: report.HeadingImpression, Text: comments})
	case comments != "":
		return comments, nil
	case len(parts) == 0:
		return "", fault.Reject(op, fault.Unsupported, ReasonNoText, "a DiagnosticReport has text in conclusion, presentedForm, a result Observation that was sent along, text.div, conclusionCode or note")
	}
	return report.JoinParts(parts), nil
}

// beside returns text and, behind it, those of more that it does not say.
func beside(text string, more ...string) string {
	said := squeeze(text)
	heading := "\n\n" + report.HeadingImpression + ":"
	for _, m := range more {
		if m != "" && !strings.Contains(said, squeeze(m)) {
			text += heading + "\n" + m
			heading = ""
		}
	}
	return text
}

// texts returns the words of all that have some, each on a line.
func texts[T interface{ words() string }](list []T) string {
	var all []string
	for _, e := range list {
		if text := e.words(); text != "" {
			all = append(all, text)
		}
	}
	return strings.Join(all, "\n")
}

// results is the text of the Observations of a report.
type results struct {
	parts  []report.Part
	values bool // whether one is what an Observation says, and not a note on it
}

func (r results) text() string {
	var all []string
	for _, p := range r.parts {
		all = append(all, p.Text)
	}
	return strings.Join(all, "\n")
}

// results appends to all the text of the Observations that from refers to, those of panels
// (hasMember) too, each once. Errors: Invalid with [ReasonTooLarge] when reports that share
// Observations make more of them than was sent.
func (s *store) results(from *resource, seen map[*resource]bool, all *results) error {
	for _, ref := range slices.Concat(from.Result, from.HasMember) {
		if s.shared++; s.shared > 2*MaxResources {
			return tooManyShared()
		}
		o := from.resolve(ref)
		if o == nil || o.ResourceType != "Observation" || seen[o] {
			continue
		}
		seen[o] = true
		part := func(code concept, value string, coded concept) bool {
			text, heading := strings.TrimSpace(value), code.heading()
			switch {
			case text != "":
			case heading == "":
				text = report.Answer(code.words(), coded.words())
			default:
				text = coded.words()
			}
			s.bytes += max(len(text), 1) // an empty one costs time
			if text == "" || status(o.Status) == report.StatusRetracted {
				return false
			}
			all.parts = append(all.parts, report.Part{Heading: heading, Text: text})
			return true
		}
		all.values = part(o.Code, o.ValueString, o.ValueCodeableConcept) || all.values
		for _, c := range o.Component {
			all.values = part(c.Code, c.ValueString, c.ValueCodeableConcept) || all.values
		}
		if o.ValueQuantity == nil { // what is noted on a number is no report either
			for _, n := range o.Note {
				part(o.Code, n.Text, concept{})
			}
		}
		if s.bytes > 2*MaxBytes {
			return tooManyShared()
		}
		if err := s.results(o, seen, all); err != nil {
			return err
		}
	}
	return nil
}

func tooManyShared() error {
	return fault.Reject("fhir.results", fault.Invalid, ReasonTooLarge, "the reports of a bundle refer to Observations at most %d times, of %d bytes in all", 2*MaxResources, 2*MaxBytes)
}

// squeeze makes texts comparable: white space and case aside.
func squeeze(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }
