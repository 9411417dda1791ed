package hl7

import (
	"slices"
	"strings"

	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

// order is one OBR of a result, or the whole of a document, with what belongs to it.
type order struct {
	patient       event.PatientID
	study         event.StudyUID
	orc, obr, txa segment
	notes         []segment // NTE of OBR
	obx           []observation
	open          bool // whether an NTE that comes now speaks of the last OBX, or before any of OBR
}

// observation is one OBX with the NTE that speak of it.
type observation struct {
	segment
	notes []segment
}

// read adds s, a segment behind those that begin o. An NTE speaks of the segment before it (HL7
// v2 chapter 2, NTE), other NTE, a participation of that segment and local segments aside: notes on the
// patient, the order and the specimen are not of the report.
func (o *order) read(s segment) {
	switch {
	case s.name == "OBX":
		o.obx, o.open = append(o.obx, observation{segment: s}), true
	case s.name == "NTE" && o.open && len(o.obx) > 0:
		last := &o.obx[len(o.obx)-1]
		last.notes = append(last.notes, s)
	case s.name == "NTE" && o.open:
		o.notes = append(o.notes, s)
	case s.name == "ZDS" && o.study == "":
		o.study = report.StudyUID(s.part(1, 1))
	case s.name != "NTE" && s.name != "PRT" && s.name[0] != 'Z':
		o.open = false
	}
}

// results reads ORU^R01 (HL7 v2 7.3.1): patients, each with orders, each with results.
// An order without text is no report: it is often another procedure that the first one's
// text covers. OBX between PID and OBR describe the patient and are left out.
func (m message) results() ([]report.Message, error) {
	var orders []order
	var orc segment
	var patient event.PatientID
	last := -1 // the order that is being read
	for _, s := range m.segments {
		switch s.name {
		case "PID":
			patient, orc, last = anyPatientID(s), segment{}, -1
		case "ORC":
			orc = s
		case "OBR":
			orders = append(orders, order{patient: patient, orc: orc, obr: s, open: true})
			orc, last = segment{}, len(orders)-1
			continue
		}
		if last >= 0 {
			orders[last].read(s)
		}
	}
	var live, retracted []report.Message
	var refused error
	for _, o := range orders {
		r, err := m.report(o)
		switch {
		case err != nil && fault.ReasonOf(refused) != ReasonDocument: // says most about what to do
			refused = err
		case err != nil:
		case r.Status == report.StatusRetracted:
			retracted = append(retracted, r)
		default:
			live = append(live, r)
		}
	}
	if len(live)+len(retracted) > 0 {
		return join(live, retracted), nil
	}
	if refused == nil {
		refused = fault.Reject("hl7.results", fault.Unsupported, ReasonNoText, "an ORU^R01 has a segment OBR, and OBX behind it")
	}
	return nil, refused
}

// join makes one report of live ones with the same accession number, since a later one would
// replace the first. One cancelled procedure takes back what has its own number, and not what
// is said of the others.
func join(live, retracted []report.Message) []report.Message {
	var all []report.Message
	var texts, numbers [][]string // of each report
	for n, r := range append(live, retracted...) {
		i := 0
		for i < len(all) && !(r.Accession != "" && all[i].Accession == r.Accession && all[i].PatientID == r.PatientID &&
			(n < len(live) || r.ReportID == "" || slices.Contains(numbers[i], r.ReportID))) {
			i++
		}
		if i == len(all) {
			all, texts, numbers = append(all, r), append(texts, []string{r.Text}), append(numbers, []string{r.ReportID})
			continue
		}
		numbers[i] = append(numbers[i], r.ReportID)
		if all[i].StudyUID == "" {
			all[i].StudyUID = r.StudyUID
		}
		if n < len(live) {
			texts[i] = append(texts[i], r.Text)
			all[i].Status = r.Status
		}
		if (n < len(live) || all[i].Status == report.StatusRetracted) && r.Issued.After(all[i].Issued) {
			all[i].Issued = r.Issued
		}
	}
	for i := range all {
		all[i].Text = strings.Trim(strings.Join(texts[i], "\n\n"), "\n")
	}
	return all
}

// document reads MDM (HL7 v2 9.5): one document, whose orders stand before TXA with the notes on
// them, which are not of the document.
func (m message) document(event string) ([]report.Message, error) {
	o := order{patient: anyPatientID(m.first("PID")), orc: m.first("ORC"), obr: m.first("OBR"), txa: m.first("TXA")}
	for _, s := range m.segments {
		o.read(s)
	}
	status := documentStatus(event, o.txa)
	r, err := m.report(o)
	if err != nil && status == report.StatusRetracted {
		r, err = m.identify(o), nil
	}
	if fault.ReasonOf(err) == ReasonNoText && (event[2]-'0')%2 == 1 {
		err = fault.Reject("hl7.document", fault.Unsupported, ReasonNoText, "MDM^T01, T03, T05, T07 and T09 announce a document without its text: send T02, T04, T06, T08 or T10")
	}
	if err != nil {
		return nil, err
	}
	if r.Status != report.StatusRetracted || r.Text != "" { // its lines are not all taken back
		r.Status = status
	}
	return []report.Message{r}, nil
}

// documentStatus follows the event (HL7 v2 9.5.1 to 9.5.11) and TXA-17, the completion
// status (table 0271): what nobody authenticated is preliminary. What TXA-19 calls deleted (table
// 0273) is retracted whatever the event.
func documentStatus(event string, txa segment) report.Status {
	if strings.EqualFold(txa.part(19, 1), "CA") {
		return report.StatusRetracted
	}
	switch event {
	case "T11":
		return report.StatusRetracted
	case "T05", "T06":
		return report.StatusAddendum
	case "T07", "T08", "T09", "T10":
		return report.StatusCorrected
	}
	switch strings.ToUpper(txa.part(17, 1)) {
	case "DI", "DO", "IN", "IP", "PA":
		return report.StatusPreliminary
	}
	return report.StatusFinal
}

// report makes the report of o. Errors: those of text, unless o was retracted.
func (m message) report(o order) (report.Message, error) {
	r := m.identify(o)
	r.Status = resultStatus(o)
	text, err := o.text()
	if err != nil && r.Status != report.StatusRetracted {
		return report.Message{}, err
	}
	r.Text = text
	if r.StudyUID == "" {
		for _, s := range o.obx {
			if isStudyUID(s.segment) {
				r.StudyUID = report.StudyUID(s.part(5, 1))
				break
			}
		}
	}
	return r, nil
}

// identify says whose report o is, and of what.
func (m message) identify(o order) report.Message {
	r := report.Message{Kind: report.KindReport, StudyUID: o.study, PatientID: o.patient}
	for _, number := range []string{
		o.obr.part(18, 1), // the order of preference, and why: package documentation
		o.obr.part(3, 1), o.orc.part(3, 1), o.txa.part(15, 1),
		o.obr.part(2, 1), o.orc.part(2, 1), o.txa.part(14, 1),
	} {
		if number != "" {
			r.Accession = report.Accession(number)
			break
		}
	}
	for _, number := range []string{o.obr.part(3, 1), o.orc.part(3, 1), o.txa.part(15, 1)} {
		if r.ReportID == "" {
			r.ReportID = number
		}
	}
	r.Issued, r.Made = firstTime(m.timeOf(o.obr, 22), m.time), m.time
	return r
}

// resultStatus reads OBR-25 (HL7 table 0123) and OBX-11 (table 0085). An OBX that is a
// correction, or an addendum by its suffix, says more than a final OBR.
func resultStatus(o order) report.Status {
	var status report.Status
	switch strings.ToUpper(o.obr.part(25, 1)) {
	case "X":
		return report.StatusRetracted
	case "C", "M":
		return report.StatusCorrected
	case "F":
		status = report.StatusFinal
	case "P", "A", "R", "S", "I", "O":
		return report.StatusPreliminary
	}
	lines, wrong := 0, 0
	for _, s := range o.obx {
		lines++
		switch {
		case isWrong(s.segment):
			wrong++
		case strings.EqualFold(s.part(11, 1), "C"):
			status = report.StatusCorrected
		case headingOf(s.segment) == report.HeadingAddendum && status != report.StatusCorrected:
			status = report.StatusAddendum
		case status != "":
		case strings.ContainsAny(strings.ToUpper(s.part(11, 1)), "PRS"):
			status = report.StatusPreliminary
		case strings.ContainsAny(strings.ToUpper(s.part(11, 1)), "FU"):
			status = report.StatusFinal
		}
	}
	if lines > 0 && wrong == lines {
		return report.StatusRetracted
	}
	return status
}

// isWrong reports whether OBX-11 takes the line back: D deletes it, W says that it was
// posted as wrong, X that there is no result.
func isWrong(s segment) bool {
	switch strings.ToUpper(s.part(11, 1)) {
	case "D", "W", "X":
		return true
	}
	return false
}

// isStudyUID reports whether the OBX names the study and is no text.
func isStudyUID(s segment) bool { return s.part(3, 1) == "113014" && s.part(3, 3) == "DCM" }
