package fhir

import (
	"bytes"
	"encoding/xml"
	"strings"

	"github.com/radstream/radstream/ingest/hl7"
	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

// cda holds the fields used of a C-CDA Diagnostic Imaging Report (HL7 C-CDA R2.1, template
// 2.16.840.1.113883.10.20.22.1.5) or a DICOM PS3.20 Imaging Report.
type cda struct {
	Time    cdaTime `xml:"effectiveTime"`
	Patient []cdaID `xml:"recordTarget>patientRole>id"`
	Signed  *struct {
	} `xml:"legalAuthenticator"`
	Orders []struct {
		// Accession is PS3.20's own; in C-CDA it is the first id.
		Accession cdaID   `xml:"urn:dicom-org:ps3-20 accessionNumber"`
		IDs       []cdaID `xml:"id"`
	} `xml:"inFulfillmentOf>order"`
	Events []struct {
		IDs []cdaID `xml:"id"`
	} `xml:"documentationOf>serviceEvent"`
	Related []struct {
		Type string `xml:"typeCode,attr"`
	} `xml:"relatedDocument"`
	Sections []cdaSection `xml:"component>structuredBody>component>section"`
	File     *struct {
	} `xml:"component>nonXMLBody"`
}

type cdaID struct {
	Root      string `xml:"root,attr"`
	Extension string `xml:"extension,attr"`
}

type cdaTime struct {
	Value string `xml:"value,attr"`
}

type cdaSection struct {
	Code struct {
		Code string `xml:"code,attr"`
	} `xml:"code"`
	Title string `xml:"title"`
	Text  struct {
		Inner string `xml:",innerxml"`
	} `xml:"text"`
	Sections []cdaSection `xml:"component>section"`
}

// objectCatalog (DCM, DICOM Object Catalog) is the section that lists images; its text is
// for machines.
const objectCatalog = "121181"

// parseXML reads a C-CDA document and refuses what else is XML by its name.
func parseXML(data []byte) (report.Message, error) {
	const op = "fhir.xml"
	name, err := rootName(data)
	switch {
	case err != nil:
		return report.Message{}, malformedXML(op)
	case name.Space == "http://hl7.org/fhir":
		return report.Message{}, fault.Reject(op, fault.Unsupported, ReasonXML, "FHIR is read as JSON only: send application/fhir+json")
	case name.Local != "ClinicalDocument" || name.Space != "urn:hl7-org:v3":
		return report.Message{}, fault.Reject(op, fault.Invalid, ReasonNotFHIR, "an XML message is a C-CDA ClinicalDocument of namespace urn:hl7-org:v3")
	}
	var d cda
	if err := xml.Unmarshal(data, &d); err != nil {
		return report.Message{}, malformedXML(op)
	}
	var parts []report.Part
	collect(d.Sections, &parts)
	if len(parts) == 0 && d.File != nil {
		return report.Message{}, fault.Reject(op, fault.Unsupported, ReasonDocument, "a C-CDA document has a structuredBody: a nonXMLBody, as PDF, is not read")
	}
	if len(parts) == 0 {
		return report.Message{}, fault.Reject(op, fault.Unsupported, ReasonNoText, "a C-CDA document has sections with text in its structuredBody")
	}
	m := report.Message{Kind: report.KindReport, Text: report.LineEnds(report.JoinParts(parts))}
	if d.Signed != nil {
		m.Status = report.StatusFinal
	}
	for _, r := range d.Related {
		switch r.Type {
		case "RPLC":
			m.Status = report.StatusCorrected
		case "APND":
			m.Status = report.StatusAddendum
		}
	}
	d.identify(&m)
	if err := d.people(&m, data); err != nil {
		return report.Message{}, err
	}
	return m, nil
}

// identify fills in who and what: the accession number is PS3.20's accessionNumber
// (PS3.20 8.2.3), else the first id of the order; the study is the id of the service event
// that has a root only, as the samples of C-CDA R2.1 have it.
func (d *cda) identify(m *report.Message) {
	for _, id := range d.Patient {
		if m.PatientID == "" {
			m.PatientID = event.PatientID(strings.TrimSpace(id.Extension))
		}
	}
	for _, order := range d.Orders {
		for _, id := range append([]cdaID{order.Accession}, order.IDs...) {
			if m.Accession == "" {
				m.Accession = report.Accession(strings.TrimSpace(id.Extension))
			}
		}
	}
	for _, e := range d.Events {
		for _, id := range e.IDs {
			if m.StudyUID == "" && id.Extension == "" {
				m.StudyUID = report.StudyUID(id.Root)
			}
		}
	}
	m.Issued = hl7.ParseTime(d.Time.Value)
}

// collect appends the text of sections and those inside them. A title that implies no
// heading is one all the same, so that package report can judge it.
func collect(sections []cdaSection, parts *[]report.Part) {
	for _, s := range sections {
		if s.Code.Code == objectCatalog {
			continue
		}
		if text := htmlText(s.Text.Inner); text != "" {
			title := strings.Join(strings.Fields(s.Title), " ")
			heading := report.Heading(s.Code.Code)
			if heading == "" {
				heading = report.Heading(title)
			}
			if heading == "" {
				heading = strings.ToUpper(strings.TrimRight(title, ":"))
			}
			*parts = append(*parts, report.Part{Heading: heading, Text: text})
		}
		collect(s.Sections, parts)
	}
}

// rootName returns the name of the first element.
func rootName(data []byte) (xml.Name, error) {
	d := xml.NewDecoder(bytes.NewReader(data[:min(len(data), 256<<10)])) // bounds its attributes
	for {
		token, err := d.RawToken()
		if err != nil {
			return xml.Name{}, err
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		name := xml.Name{Local: start.Name.Local}
		for _, a := range start.Attr { // RawToken leaves prefixes as they are
			if a.Name.Space == "xmlns" && a.Name.Local == start.Name.Space || a.Name.Space == "" && a.Name.Local == "xmlns" && start.Name.Space == "" {
				name.Space = a.Value
			}
		}
		return name, nil
	}
}

func malformedXML(op string) error {
	return fault.Reject(op, fault.Invalid, ReasonMalformed, "an XML message is well-formed and UTF-8")
}

// people fills in who may be named in the text: whoever has a name anywhere in the document, as
// patient, guardian, author, performer, authenticator or in another role.
func (d *cda) people(m *report.Message, data []byte) error {
	var all people
	var path []string
	var name strings.Builder
	inside := 0 // the depth of the name that is being read
	for x, ended := xml.NewDecoder(bytes.NewReader(data)), false; !ended; {
		token, err := x.Token()
		if err != nil {
			return malformedXML("fhir.people")
		}
		switch t := token.(type) {
		case xml.StartElement:
			if parent := path[max(0, len(path)-1):]; inside == 0 && t.Name.Local == "name" && len(parent) == 1 && person(parent[0]) {
				inside = len(path) + 1
			}
			path = append(path, t.Name.Local)
		case xml.CharData:
			if inside > 0 {
				name.Write(t)
				name.WriteByte(' ')
			}
		case xml.EndElement:
			if len(path) == inside {
				add(&all.names, strings.Join(strings.Fields(name.String()), " "))
				inside = 0
				name.Reset()
			}
			path = path[:len(path)-1]
			ended = len(path) == 0
		}
	}
	for _, id := range d.Patient {
		add(&all.ids, id.Extension)
	}
	m.Names, m.IDs = all.names, all.ids
	return all.check()
}

// person tells whether an element of CDA is a person's (classes Person, Patient and
// SubjectPerson).
func person(element string) bool {
	return element == "patient" || element == "subject" || element == "informationRecipient" || strings.HasSuffix(element, "Person")
}
