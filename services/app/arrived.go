package app

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/stage"
)

// arrived is an arrival of any kind, decoded.
type arrived struct {
	in      stage.Input
	tenant  event.Tenant
	part    int            // which of the events in the input it is
	arrival ingest.Arrival // without its objects' bytes
	objects []*radstreamv1.StudyObject
	merge   *radstreamv1.PatientMerged // in place of an arrival
	erase   *radstreamv1.StudyErased   // likewise
}

// input is what one message in STUDIES holds: one arrival, or, of a hospital's message,
// any number.
type input struct {
	in      stage.Input
	tenant  event.Tenant
	all     []arrived
	refused []error // parts of a hospital's message that make no event
}

// parts counts what can be rejected by itself.
func (a arrived) parts() int {
	if a.arrival.HasReport {
		return len(a.objects) + 1
	}
	return len(a.objects)
}

// weight is how many bytes the objects of an arrival will take.
func (h *prepareHandler) weight(a arrived) uint64 {
	sum := uint64(0)
	for _, o := range a.objects {
		size := o.GetRef().GetSize()
		if size == 0 || size > h.maxObject { // not said, or refused when it is read
			size = h.maxObject
		}
		sum += size
	}
	return sum
}

func (h *prepareHandler) Decode(in stage.Input) (input, error) {
	const op = "app.prepare"
	i := input{in: in}
	var err error
	if i.tenant, err = in.Tenant(); err != nil {
		return input{}, err
	}
	var events []proto.Message
	if in.HospitalMessage() {
		events, i.refused = ingest.Messages(in.Body)
		if len(events) == 0 && len(i.refused) == 1 {
			return input{}, i.refused[0]
		}
	} else {
		m, err := in.Message()
		if err != nil {
			return input{}, err
		}
		events = []proto.Message{m}
	}
	for n, m := range events {
		a, err := h.decode(in, m)
		switch {
		case err != nil && len(events) == 1 && len(i.refused) == 0:
			return input{}, err
		case err != nil:
			i.refused = append(i.refused, fault.Wrap(op, err))
			continue
		}
		a.tenant, a.part = i.tenant, n
		i.all = append(i.all, a)
	}
	return i, nil
}

// decode reads one event.
func (h *prepareHandler) decode(in stage.Input, m proto.Message) (arrived, error) {
	const op = "app.prepare"
	a := arrived{in: in, arrival: ingest.Arrival{ID: in.ID.Public(), Said: in.Time}}
	at := func(t *timestamppb.Timestamp) time.Time {
		if t == nil {
			return time.Time{}
		}
		return t.AsTime()
	}
	switch m := m.(type) {
	case *radstreamv1.StudyArrived:
		a.objects = m.GetObjects()
		a.arrival.StudyUID, a.arrival.PatientID = event.StudyUID(m.GetStudyUid()), event.PatientID(m.GetPatientId())
		a.arrival.Accession, a.arrival.StudyTime = m.GetAccessionNumber(), at(m.GetStudyTime())
		a.arrival.HasReport, a.arrival.Report = m.GetReport() != nil, m.GetReport().GetText()
	case *radstreamv1.ReportArrived:
		a.arrival.StudyUID, a.arrival.PatientID = event.StudyUID(m.GetStudyUid()), event.PatientID(m.GetPatientId())
		a.arrival.Accession = m.GetAccessionNumber()
		a.arrival.HasReport, a.arrival.Report = true, m.GetReport().GetText()
		a.arrival.People = deid.Known{Names: m.GetNames(), IDs: m.GetIdentifiers()}
		a.arrival.Statement = ingest.Statement{ID: m.GetReportId(), Status: m.GetStatus(), Time: at(m.GetReportTime()), Made: at(m.GetMessageTime())}
	case *radstreamv1.PatientMerged:
		// Padding does not count: all that is blank has one key, and a merge is not undone.
		if stays, goes := deid.Bare(m.GetPatientId()), deid.Bare(m.GetMergedPatientId()); stays == "" || goes == "" || stays == goes {
			return arrived{}, fault.Reject(op, fault.Invalid, reasonMerge, "a merge names two identifiers: the patient_id that stays and the merged_patient_id that is given up")
		}
		a.merge = m
		return a, nil
	case *radstreamv1.StudyErased:
		if (deid.Bare(m.GetStudyUid()) == "") == (deid.Bare(m.GetPatientId()) == "") {
			return arrived{}, fault.Reject(op, fault.Invalid, reasonErase, "a request to erase names a study by its study_uid or a patient by the patient_id, and not both")
		}
		a.erase = m
		return a, nil
	default:
		return arrived{}, fault.Reject(op, fault.Unsupported, event.ReasonType, "the stream %s takes arrivals, merges and erasures only", in.Stream)
	}
	switch {
	case len(a.objects) > event.MaxObjects:
		return arrived{}, fault.Reject(op, fault.Unsupported, reasonTooMany, "an arrival has at most %d objects, this one %d: send several", event.MaxObjects, len(a.objects))
	case len(a.objects) == 0 && !a.arrival.HasReport:
		return arrived{}, fault.Reject(op, fault.Invalid, reasonNoObjects, "an arrival brings at least one object or a report")
	}
	if h.weight(a) > arrivalBytes {
		return arrived{}, fault.Reject(op, fault.Unsupported, reasonTooMany, "the objects of an arrival have at most %d bytes together, and each says its size: send several", arrivalBytes)
	}
	return a, nil
}
