package app

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
)

// found is what STUDIES holds of a request.
type found struct {
	messages   []bus.Message // that go
	gone       map[uint64]bool
	byHeader   []uint64                          // of these, those that their objects alone tell to be of it
	keep       []event.Envelope                  // what they say of others
	studies    map[event.StudyKey]event.Subject  // that the archive does not have, and where their tombstones go
	objects    map[string]*radstreamv1.ObjectRef // by sha256 in hex
	used       map[string]bool                   // objects that others use
	elsewhere  map[string]bool                   // files outside the store
	accessions map[string]bool                   // keys
	patients   map[event.PatientKey]bool
	references map[string]bool // as in KV pending

	reportsShared uint32
}

// find reads STUDIES for all that is of the request. What is not in the archive gets its tombstone,
// and then it reads once more: in between another part may have arrived.
func (x *erasure) find(ctx context.Context) (*found, error) {
	refused := map[uint64]bool{} // messages of STUDIES that have a dead letter
	err := x.bus.Each(ctx, bus.WatchConfig{Stream: event.StreamRejected, Subjects: []event.Subject{event.RejectedSubject(x.tenant, stagePrepare)}}, func(m bus.Message) error {
		if body, err := m.Message(); err == nil {
			if r, ok := body.(*radstreamv1.Rejected); ok && r.GetInput().GetStream() == event.StreamStudies {
				refused[r.GetInput().GetSequence()] = true
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	broken, err := x.journal.Get(ctx, x.tenant, x.request())
	if err != nil {
		return nil, err
	}
	for {
		f := &found{gone: map[uint64]bool{}, studies: map[event.StudyKey]event.Subject{}, objects: map[string]*radstreamv1.ObjectRef{},
			used: map[string]bool{}, elsewhere: map[string]bool{}, accessions: map[string]bool{}, patients: map[event.PatientKey]bool{}, references: map[string]bool{}}
		s := &search{erasure: x, f: f, refused: refused, broken: broken}
		if err := x.bus.Each(ctx, bus.WatchConfig{Stream: event.StreamStudies}, func(m bus.Message) error { return s.see(ctx, m) }); err != nil {
			return nil, err
		}
		more := false
		for k, on := range f.studies {
			if _, have := x.places[k]; have {
				continue
			}
			if err := x.target(ctx, k, on); err != nil {
				return nil, err
			}
			more = true
		}
		if !more {
			return f, nil
		}
	}
}

// search is one reading of STUDIES.
type search struct {
	*erasure
	f       *found
	refused map[uint64]bool
	broken  []string // sequences that this request was about to remove when it was broken off
}

// see takes one message.
func (s *search) see(ctx context.Context, m bus.Message) error {
	if m.Sequence == s.in.in.Sequence {
		return nil
	}
	t, err := m.Tenant()
	if err != nil {
		return nil // nobody's: it was refused
	}
	if t != s.tenant { // which may use the same object
		if m.Type == event.StudyArrived {
			if body, err := m.Message(); err == nil {
				s.uses(body.(*radstreamv1.StudyArrived), s.f.used)
			}
		}
		return nil
	}
	var events []proto.Message
	unread := false
	if m.HospitalMessage() {
		var refused []error
		events, refused = ingest.Messages(m.Body)
		unread = len(refused) > 0
	} else if body, err := m.Message(); err == nil {
		events = []proto.Message{body}
	} else {
		unread = true
	}
	goes := unread && s.quotes(m.Body) || slices.Contains(s.broken, strconv.FormatUint(m.Sequence, 10))
	mine := make([]bool, len(events))
	for n, e := range events {
		if mine[n], err = s.mine(ctx, m, e); err != nil {
			return err
		}
		goes = goes || mine[n]
	}
	if !goes {
		for _, e := range events {
			if a, ok := e.(*radstreamv1.StudyArrived); ok {
				s.uses(a, s.f.used)
			}
		}
		return nil
	}
	s.f.messages, s.f.gone[m.Sequence] = append(s.f.messages, bus.Message{Envelope: event.Envelope{Subject: m.Subject}, Stream: m.Stream, Sequence: m.Sequence}), true
	for n, e := range events {
		if len(events) > 1 && !mine[n] {
			kept, err := published(event.ID("kept", string(m.ID), strconv.Itoa(n)), m, e)
			if err != nil {
				return err
			}
			s.f.keep = append(s.f.keep, kept)
			continue
		}
		s.f.references[strconv.FormatUint(m.Sequence, 10)+"."+strconv.Itoa(n)] = true
		if a, ok := e.(*radstreamv1.StudyArrived); ok {
			s.uses(a, nil)
		}
	}
	return nil
}

// uses notes the objects of an arrival in used, or as objects that go where it is nil.
func (s *search) uses(a *radstreamv1.StudyArrived, used map[string]bool) {
	for _, o := range a.GetObjects() {
		sum, stored := strings.CutPrefix(o.GetRef().GetUri(), "objects:")
		switch {
		case stored && used != nil:
			used[sum] = true
		case stored && publicRef(o.GetRef()).GetUri() != "": // else it leads to nothing
			s.f.objects[sum] = &radstreamv1.ObjectRef{Uri: o.GetRef().GetUri()}
		case used == nil && !stored:
			s.f.elsewhere[o.GetRef().GetUri()] = true
		}
	}
}

// mine tells whether an event is of the request.
func (s *search) mine(ctx context.Context, m bus.Message, e proto.Message) (bool, error) {
	switch e := e.(type) {
	case *radstreamv1.StudyArrived:
		return s.study(ctx, m, e)
	case *radstreamv1.ReportArrived:
		if deid.Bare(e.GetStudyUid()) == "" {
			return s.byAccession(ctx, e)
		}
		return s.of(ctx, event.StudyUID(e.GetStudyUid()), event.PatientID(e.GetPatientId()), e.GetAccessionNumber())
	case *radstreamv1.PatientMerged:
		if s.named(event.PatientID(e.GetPatientId())) || s.named(event.PatientID(e.GetMergedPatientId())) {
			return true, nil
		}
		_, mine := s.places[s.key.Study(event.StudyUID(e.GetStudyUid()))]
		return mine && deid.Bare(e.GetStudyUid()) != "", nil
	case *radstreamv1.StudyErased: // one that was refused; others are under way, and remove themselves
		_, mine := s.places[s.key.Study(event.StudyUID(e.GetStudyUid()))]
		return s.refused[m.Sequence] && (mine && deid.Bare(e.GetStudyUid()) != "" || s.named(event.PatientID(e.GetPatientId()))), nil
	}
	return false, nil
}

// named tells whether an identifier is one of the patient who is to be erased.
func (s *search) named(id event.PatientID) bool {
	return deid.Bare(id) != "" && s.patients[s.key.Patient(id, "")]
}

// study is mine for an arrival of objects, which may leave it to them to say of which study it is.
func (s *search) study(ctx context.Context, m bus.Message, a *radstreamv1.StudyArrived) (bool, error) {
	uid, patient := deid.Bare(event.StudyUID(a.GetStudyUid())), event.PatientID(a.GetPatientId())
	accessions := []string{a.GetAccessionNumber()}
	read := false
	headers := func() error {
		if read {
			return nil
		}
		read = true
		for _, o := range a.GetObjects() {
			data, err := s.h.objects.Get(ctx, o.GetRef())
			if blame(err) != nil || err != nil && fault.KindOf(err) == fault.NotFound {
				continue
			}
			if err != nil {
				return err
			}
			h, err := dicom.ParseHeader(data)
			if err != nil && h.StudyUID == "" {
				continue
			}
			uid, patient = cmp.Or(uid, deid.Bare(h.StudyUID)), cmp.Or(deid.Bare(patient), deid.Bare(h.PatientID))
			accessions = append(accessions, h.Accession)
		}
		return nil
	}
	said := uid != ""
	if !said {
		if err := headers(); err != nil {
			return false, err
		}
	}
	if uid == "" && deid.Bare(patient) == "" {
		return s.waitsFor(ctx, a.GetAccessionNumber(), patient)
	}
	if len(s.patients) > 0 && deid.Bare(patient) == "" {
		if _, mine := s.places[s.key.Study(uid)]; !mine {
			standing, _, _, err := s.h.standing(ctx, s.tenant, s.key.Study(uid))
			if err == nil && standing == nil {
				err = headers()
			}
			if err != nil {
				return false, err
			}
		}
	}
	mine, err := s.of(ctx, uid, patient, a.GetAccessionNumber())
	if !mine || err != nil {
		return false, err
	}
	if err := headers(); err != nil {
		return false, err
	}
	for _, number := range accessions {
		s.number(number)
	}
	if !said {
		s.f.byHeader = append(s.f.byHeader, m.Sequence)
	}
	return true, nil
}

// of tells whether what arrived of a study, for a patient who may be unknown, is of the request.
func (s *search) of(ctx context.Context, uid event.StudyUID, patient event.PatientID, accession string) (bool, error) {
	k := s.key.Study(uid)
	_, mine := s.places[k]
	named := s.named(patient)
	if !mine && !named && (s.only == "" || k != s.only) {
		return false, nil
	}
	if !mine && deid.Bare(uid) != "" {
		standing, _, _, err := s.h.standing(ctx, s.tenant, k)
		if err != nil {
			return false, err
		}
		if standing == nil { // else it is another patient's, and this was refused for that
			owner := s.key.Patient("", uid)
			if named {
				owner = s.key.Patient(patient, "")
			}
			s.f.studies[k] = event.PreparedSubject(s.tenant, owner, k)
		}
	}
	if deid.Bare(patient) != "" {
		s.f.patients[s.key.Patient(patient, uid)] = true
	}
	s.number(accession)
	return true, nil
}

// number notes an accession number.
func (s *search) number(accession string) {
	if number := strings.TrimSpace(accession); number != "" {
		s.f.accessions[s.key.Accession(number)] = true
	}
}

// byAccession is mine for a report that names its study by the accession number alone: it is the
// report of every study of that number, and goes with the last of them.
func (s *search) byAccession(ctx context.Context, r *radstreamv1.ReportArrived) (bool, error) {
	patient := event.PatientID(r.GetPatientId())
	if s.named(patient) {
		s.f.patients[s.key.Patient(patient, "")] = true
		s.number(r.GetAccessionNumber())
		return true, nil
	}
	mine, err := s.waitsFor(ctx, r.GetAccessionNumber(), patient)
	if mine {
		s.number(r.GetAccessionNumber())
	}
	return mine, err
}

// waitsFor tells whether all studies of an accession number are to be erased, of which the given
// patient, if known, has one.
func (s *search) waitsFor(ctx context.Context, accession string, patient event.PatientID) (bool, error) {
	number := strings.TrimSpace(accession)
	if number == "" {
		return false, nil
	}
	studies, err := s.h.accessions.Get(ctx, s.tenant, s.key.Accession(number))
	if err != nil {
		return false, err
	}
	some, all := false, true
	for _, study := range studies {
		on, mine := s.places[event.StudyKey(study)]
		if !mine {
			all = false
			continue
		}
		r := s.h.resolver(ctx, s.tenant, event.StudyKey(study))
		owner := event.PatientKey(strings.Split(string(on), ".")[4])
		if deid.Bare(patient) == "" || r.resolve(s.key.Patient(patient, "")) == r.resolve(owner) {
			some = true
		}
		if r.err != nil {
			return false, r.err
		}
	}
	if some && !all {
		s.f.reportsShared++
	}
	return some && all, nil
}
