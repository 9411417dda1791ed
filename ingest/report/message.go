package report

import (
	"strings"
	"time"

	"github.com/radstream/radstream/schemas/event"
)

// Accession is the accession number (DICOM (0008,0050)) of the order a report answers. It
// points at a person, as [event.StudyUID] does.
type Accession string

// Kind says what a message asks for.
type Kind string

// The kinds of messages.
const (
	KindReport  Kind = "report"  // Text is a report; with status retracted it may be empty
	KindPatient Kind = "patient" // the facts of PatientID were changed; there is no text
	KindMerge   Kind = "merge"   // PatientMerge is the same person as PatientID, which stays
)

// Status says how far a report has come, in the words that HL7 v2 and FHIR share.
type Status string

// The statuses of reports. The sender of an HL7 v2 message may say none: Status is then
// empty, which is best read as final.
const (
	StatusPreliminary Status = "preliminary" // may still change
	StatusFinal       Status = "final"
	StatusCorrected   Status = "corrected" // replaces what was sent before
	StatusAddendum    Status = "addendum"  // adds to what was sent before, and may repeat it
	StatusRetracted   Status = "retracted" // what was sent before counts no more
)

// Message is one report, or one change of a patient, as a hospital's message says it.
// Packages hl7 and fhir make it; the text is not yet cleaned.
//
// Identifiers are raw: they may be used to find the study and its pseudonym, and must
// never be logged. A Message prints as its kind and status only. What the sender did not
// say is empty or zero.
type Message struct {
	Kind   Kind
	Status Status
	Text   string // UTF-8; lines end with \n; headings stand on lines of their own, as "FINDINGS:"

	Accession    Accession
	StudyUID     event.StudyUID
	PatientID    event.PatientID
	PatientMerge event.PatientID // merge: the identifier that is given up

	// Names and identifiers of the people that the message names, patients and physicians: what
	// must leave the text (deid.Known).
	Names, IDs []string

	// What puts the versions of a report in order.
	ReportID string    // number of the report (filler order number); empty when it has none
	Issued   time.Time // when the result was said or changed
	Made     time.Time // when the message was made
}

// String returns kind and status: text and identifiers stay out of logs.
func (m Message) String() string {
	return "report.Message(" + string(m.Kind) + " " + string(m.Status) + ")"
}

// GoString does what String does, for %#v.
func (m Message) GoString() string { return m.String() }

// StudyUID returns s, perhaps behind "urn:oid:", if it has the form of a UID (DICOM PS3.5
// 9.1: digits and dots, at most 64), else "".
func StudyUID(s string) event.StudyUID {
	s = strings.TrimPrefix(strings.TrimSpace(s), "urn:oid:")
	if len(s) > 64 || !strings.Contains(s, ".") || strings.Trim(s, "0123456789.") != "" {
		return ""
	}
	return event.StudyUID(s)
}

// LineEnds makes all line ends \n.
func LineEnds(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
}

// Latin1 decodes ISO 8859-1. Where that has control characters nobody means, 0x80 to 0x9F,
// it reads Windows-1252, which is what senders of "Latin-1" send (WHATWG Encoding, 9.1).
func Latin1(data []byte) string {
	windows := []rune("€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ")
	var b strings.Builder
	b.Grow(len(data) + len(data)/8)
	for _, c := range data {
		if c >= 0x80 && c < 0xa0 {
			b.WriteRune(windows[c-0x80])
		} else {
			b.WriteRune(rune(c))
		}
	}
	return b.String()
}

// The headings that senders' section codes become; data/headings.tsv knows them all.
const (
	HeadingFindings   = "FINDINGS"
	HeadingImpression = "IMPRESSION"
	HeadingAddendum   = "ADDENDUM"
)

// Heading returns the heading for the code or name of a section, as messages carry it, or
// "" when it implies none. It knows the section codes of LOINC (loinc.org), the headings
// of DICOM (PS3.16 CID 7001), the suffixes of HL7 v2 observation identifiers (chapter 7), and
// what senders write in their place. Codes of whole reports, as 36643-5 (two views of the
// chest) or 18748-4 (diagnostic imaging study), imply none.
func Heading(name string) string {
	switch strings.ToUpper(strings.TrimRight(strings.TrimSpace(name), ":")) {
	case "18782-3", "59776-5", "121070", "GDT", "MDT", "FND", "FIND", "FINDING", "FINDINGS":
		return HeadingFindings
	case "19005-8", "121072", "121076", "IMP", "IMPRESSION", "IMPRESSIONS", "CONCLUSION", "CONCLUSIONS", "OPINION":
		return HeadingImpression
	case "55107-7", "ADT", "ADDENDUM":
		return HeadingAddendum
	case "18783-1", "121074", "REC", "RECOMMENDATION", "RECOMMENDATIONS":
		return "RECOMMENDATION"
	case "11329-0", "121060", "HISTORY", "CLINICAL HISTORY", "CLINICAL INFORMATION":
		return "HISTORY"
	case "18785-6", "121109", "INDICATION", "INDICATIONS", "INDICATIONS FOR PROCEDURE", "REASON FOR EXAM", "REASON FOR STUDY":
		return "INDICATION"
	case "55111-9", "121064", "121065", "TECHNIQUE", "PROCEDURE", "PROCEDURE DESCRIPTION":
		return "TECHNIQUE"
	case "18834-2", "121066", "COMPARISON", "COMPARISONS":
		return "COMPARISON"
	}
	return ""
}

// Answer returns the words of a coded value as a sentence about the name of its code, for codes that
// imply no heading: "Pneumothorax" and "Absent" are "Pneumothorax Absent.", "Effusion" and "No" are "No
// Effusion." Alone the value would say of nothing that it is absent. A value that answers nothing,
// "Unknown", stays alone: beside the name it would be read as a finding.
func Answer(name, value string) string {
	name, value = strings.TrimRight(strings.TrimSpace(name), ": "), strings.TrimSpace(value)
	if name == "" || value == "" {
		return value
	}
	sentence := name + " " + value
	switch strings.ToLower(value) {
	case "no", "n", "false":
		sentence = "No " + name
	case "yes", "y", "true":
		sentence = name
	case "unknown", "n/a", "na", "not applicable", "not asked", "not assessed", "not available", "not done", "not evaluated",
		"not performed", "not reported", "no information", "unable to assess", "cannot be determined":
		return value
	}
	if strings.HasSuffix(sentence, ".") {
		return sentence
	}
	return sentence + "."
}

// Part is a piece of a report's text under the heading that its code implies, if any.
type Part struct{ Heading, Text string }

// JoinParts makes one text of parts, in their order, a line break between two. Equal
// headings that follow each other are written once.
//
// When findings are all there is no heading is written: the text may be a whole report
// with headings of its own, and without any it counts as findings. Parts without a heading
// are findings where the others are, say, impressions; before findings they are
// letterhead.
func JoinParts(parts []Part) string {
	headed, hasFindings := false, false
	for _, p := range parts {
		hasFindings = hasFindings || p.Heading == HeadingFindings
		headed = headed || p.Heading != "" && p.Heading != HeadingFindings
	}
	var b strings.Builder
	open := ""
	for i, p := range parts {
		if i > 0 {
			b.WriteByte('\n')
		}
		if p.Heading == "" && (open != "" || !hasFindings) {
			p.Heading = HeadingFindings
		}
		if headed && p.Heading != open {
			b.WriteString(p.Heading + ":\n")
		}
		open = p.Heading
		b.WriteString(p.Text)
	}
	return strings.TrimRight(b.String(), "\n ")
}
