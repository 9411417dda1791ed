// Package hl7 reads the reports and patient changes that hospitals send as HL7 v2.
//
//	bytes -> Split (MLLP frames, batches) -> one message
//	  -> separators of MSH-1 and MSH-2, characters of MSH-18, segments
//	  -> ORU^R01: one report for each OBR that has text      (HL7 v2 chapter 7)
//	     MDM^T01 to T11: one report, the document             (chapter 9)
//	     ADT^A08, A31: a patient changed; A18, A34, A36, A40, A47: two became one (chapter 3)
//	  -> []report.Message
//
// Versions 2.1 to 2.9 are read alike: the fields used kept their places. Orders (ORM, OMI
// and the others) hold no report and are refused so; everything else is refused by name of
// the field that says what it is. Errors never hold a value of the message.
//
// # Notes
//
// An NTE that follows an OBX with text is of the report: NTE-3 is lines of text, behind those of
// that OBX. In ORU^R01 those that follow OBR are the text of a report without any OBX; beside one
// they are as often about the order. Notes on patients, orders and specimens are not read, nor
// what the orderer wrote (NTE-2 P), nor reasons and instructions (NTE-4).
//
// # What identifies the study
//
// The accession number is the first that is not empty of
//
//   - OBR-18 placer field 1: IHE RAD TF, Procedure Scheduled [RAD-4] of HL7 v2.3.1 and Send
//     Imaging Result [RAD-128], puts the accession number there, and nothing else. A site
//     that uses the field otherwise has to empty it in its interface engine;
//   - OBR-3, then ORC-3, then TXA-15 filler order number (HL7 v2 4.5.3.3, 4.5.1.3,
//     9.6.1.15): the department that reports assigned it, and most use it as accession
//     number, which DICOM PS3.3, General Study Module, calls a number of the department;
//   - OBR-2, then ORC-2, then TXA-14 placer order number: the ward's number, which names
//     the study only where the department kept it.
//
// Of an EI the first component counts. The filler order number numbers the report as well:
// corrections, addenda and retractions carry the number of what they are about. Of two
// versions the one counts that was said later: OBR-22, when the result was reported or changed
// its status (HL7 v2 4.5.3.22), else MSH-7.
//
// The Study Instance UID is ZDS-1 (IHE RAD TF, [RAD-4]), else the value of an OBX whose
// identifier is 113014 of DCM, "DICOM Study" (IHE RAD TF, [RAD-28] and [RAD-128]).
//
// The patient is the identifier of PID-3 typed MR, else PI, else the first, as IHE RAD
// TF-2, appendix B, maps PID-3 to Patient ID (0010,0020); the assigning authority is left
// out, as it is there. Before version 2.3.1 some senders filled only PID-2.
//
// # People
//
// A report carries the names and identifiers of all people whom its message names, in PID, MRG, NK1,
// GT1, IN1, PD1, ROL, PRT, PV1, ORC, OBR, TXA, OBX-16 and NTE-5: they are to be removed from the text.
//
// # Damage that is mended
//
// A line that does not begin with a segment's name continues the line before: senders
// wrap text by hand. Where a carriage return became a blank, as in messages that were
// pasted from a document, a field that holds only the name of a known segment begins that
// segment. Lone escape characters and unknown escape sequences stay as they are.
package hl7

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/fault"
)

// Bounds of what is read.
const (
	MaxBytes    = 16 << 20 // of one message or batch
	MaxMessages = 4096     // of one batch
	MaxPeople   = 1024     // names of people, and identifiers of them, in one message
	MaxSegments = 50_000   // of one message
)

// Reasons for which a message is refused.
const (
	ReasonNotHL7     fault.Reason = "not_hl7"           // no MSH segment
	ReasonTooLarge   fault.Reason = "message_too_large" // one of the bounds above
	ReasonSeparators fault.Reason = "hl7_separators"    // MSH-1 or MSH-2
	ReasonCharacters fault.Reason = "hl7_character_set" // MSH-18, or bytes that are not of it
	ReasonVersion    fault.Reason = "hl7_version"       // MSH-12 is not version 2
	ReasonType       fault.Reason = "hl7_message_type"  // MSH-9 is of no use here
	ReasonOrder      fault.Reason = "order_no_report"   // an order: the report comes later
	ReasonNoText     fault.Reason = "no_report_text"    // a result or document without text
	ReasonDocument   fault.Reason = "report_is_a_file"  // the text is only there as PDF, RTF or the like
	ReasonNoPatient  fault.Reason = "no_patient_id"     // a patient message without identifiers
)

// Parse reads one message or a batch (FHS, BHS) of them, with or without MLLP framing.
// When a message of a batch is refused the others are returned beside the joined errors;
// [Split] gives the messages one by one to those who answer each.
//
// Errors: Invalid or Unsupported with one of the reasons above.
func Parse(data []byte) ([]report.Message, error) {
	const op = "hl7.Parse"
	raw, err := Split(data)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	var all []report.Message
	var refused []error
	for i, r := range raw {
		some, err := parseOne(r)
		if err != nil && len(raw) > 1 {
			err = fault.Wrap(fmt.Sprintf("message %d of %d", i+1, len(raw)), err)
		}
		if err != nil {
			refused = append(refused, fault.Wrap(op, err))
		}
		all = append(all, some...)
	}
	if len(refused) == 1 {
		return all, refused[0]
	}
	return all, errors.Join(refused...)
}

// Is tells whether data begins as HL7 v2 does: a message, or a batch or file of them.
func Is(data []byte) bool {
	start := bytes.TrimLeft(data, "\x0b\ufeff \t\r\n")
	switch segmentName(string(start[:min(len(start), 4)])) {
	case "MSH", "FHS", "BHS":
		return true
	}
	return false
}

// Split cuts data into messages, each from its MSH on. A byte order mark, the framing
// bytes of MLLP (0x0B before, 0x1C 0x0D behind; HL7 v2 transport specification, MLLP) and
// the segments FHS, BHS, BTS and FTS of a batch (HL7 v2 chapter 2.10.3) are left out.
//
// Errors: Invalid with [ReasonNotHL7] or [ReasonTooLarge].
func Split(data []byte) ([][]byte, error) {
	const op = "hl7.Split"
	if len(data) > MaxBytes {
		return nil, fault.Reject(op, fault.Invalid, ReasonTooLarge, "an HL7 message or batch has at most %d bytes, this one %d", MaxBytes, len(data))
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var messages [][]byte
	start, in := 0, false // of the message being read
	end := func(at int) {
		if in {
			messages = append(messages, data[start:at])
		}
		in = false
	}
	for at := 0; at < len(data); {
		line, next := data[at:], len(data)
		if i := bytes.IndexAny(line, "\r\n\x0b\x1c"); i >= 0 {
			line, next = line[:i], at+i+1
		}
		switch name := segmentName(string(line[:min(len(line), 4)])); {
		case name == "MSH":
			end(at)
			if len(messages) == MaxMessages {
				return nil, fault.Reject(op, fault.Invalid, ReasonTooLarge, "an HL7 batch has at most %d messages", MaxMessages)
			}
			start, in = at, true
		case name == "FHS", name == "BHS", name == "BTS", name == "FTS":
			end(at)
		case !in && len(bytes.TrimSpace(line)) > 0:
			return nil, notHL7(op)
		}
		at = next
	}
	end(len(data))
	if len(messages) == 0 {
		return nil, notHL7(op)
	}
	return messages, nil
}

func notHL7(op string) error {
	return fault.Reject(op, fault.Invalid, ReasonNotHL7, "an HL7 v2 message begins with the segment MSH, a batch with FHS, BHS or MSH")
}

// parseOne reads the message data, which begins with MSH.
func parseOne(data []byte) ([]report.Message, error) {
	const op = "hl7.message"
	m, err := readMessage(data)
	if err != nil {
		return nil, err
	}
	msh := m.segments[0]
	if v := msh.part(12, 1); v != "" && !strings.HasPrefix(v, "2.") {
		return nil, fault.Reject(op, fault.Unsupported, ReasonVersion, "MSH-12 is a version 2.1 to 2.9")
	}
	// Up to version 2.2 the event is sometimes left to EVN-1.
	kind, event := strings.ToUpper(msh.part(9, 1)), strings.ToUpper(msh.part(9, 2))
	if event == "" {
		event = strings.ToUpper(m.first("EVN").part(1, 1))
	}
	switch {
	case kind == "ORU" && (event == "" || event == "R01"):
		return m.withPeople(m.results())
	case kind == "MDM" && len(event) == 3 && event >= "T01" && event <= "T11":
		return m.withPeople(m.document(event))
	case kind == "ADT":
		return m.patients(event)
	}
	switch kind {
	case "ORM", "OMI", "OMG", "OML", "OMP", "OMD", "OMS", "OMN", "OMB", "OMQ", "ORR", "ORI", "ORG", "ORL", "OSR":
		return nil, fault.Reject(op, fault.Unsupported, ReasonOrder, "MSH-9 says an order, which has no report in it: send the result as ORU^R01 or MDM^T02")
	}
	return nil, unsupportedType(op)
}

func unsupportedType(op string) error {
	return fault.Reject(op, fault.Unsupported, ReasonType, "MSH-9 is a report (ORU^R01, MDM^T01 to T11) or a change of a patient (ADT^A08, A31; merges A18, A34, A36, A40, A47)")
}
