package fhir

import (
	"bytes"
	"encoding/xml"
	"slices"
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
	// People who may be named in the text.
	Names   []cdaName `xml:"recordTarget>patientRole>patient>name"`
	Authors []cdaName `xml:"author>assignedAuthor>assignedPerson>name"`
	Others  []cdaName `xml:"participant>associatedEntity>associatedPerson>name"`
	Signed  *struct {
		Time  cdaTime   `xml:"time"`
		Names []cdaName `xml:"assignedEntity>assignedPerson>name"`
	} `xml:"legalAuthenticator"`
	Orders []struct {
		// Accession is PS3.20's own; in C-CDA it is the first id.
		Accession cdaID   `xml:"urn:dicom-org:ps3-20 accessionNumber"`
		IDs       []cdaID `xml:"id"`
	} `xml:"inFulfillmentOf>order"`
	Events []struct {
		IDs  []cdaID `xml:"id"`
		Time cdaTime `xml:"effectiveTime"`
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

// cdaName has its parts (family, given) as elements, or is text.
type cdaName struct {
	Text  string `xml:",chardata"`
	Parts []struct {
		Text string `xml:",chardata"`
	} `xml:",any"`
}

type cdaTime struct {
	Value string `xml:"value,attr"`
	Low   struct {
		Value string `xml:"value,attr"`
	} `xml:"low"`
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
	m := report.Message{Kind: report.KindReport, Text: lines(report.JoinParts(parts))}
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
	if err := d.people(&m); err != nil {
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
		for _, value := range []string{e.Time.Low.Value, e.Time.Value} {
			if m.Time.IsZero() {
				m.Time = hl7.ParseTime(value)
			}
		}
	}
	m.Issued = hl7.ParseTime(d.Time.Value)
	if m.Time.IsZero() {
		m.Time = m.Issued
	}
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

// people fills in who may be named in the text.
func (d *cda) people(m *report.Message) error {
	var all people
	names := slices.Concat(d.Names, d.Authors, d.Others)
	if d.Signed != nil {
		names = append(names, d.Signed.Names...)
	}
	for _, n := range names {
		parts := []string{n.Text}
		for _, p := range n.Parts {
			parts = append(parts, p.Text)
		}
		add(&all.names, strings.Join(strings.Fields(strings.Join(parts, " ")), " "))
	}
	for _, id := range d.Patient {
		add(&all.ids, id.Extension)
	}
	m.Names, m.IDs = all.names, all.ids
	return all.check()
}
