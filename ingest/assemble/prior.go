package assemble

import (
	"math"
	"time"

	"github.com/radstream/radstream/schemas/event"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// Relative is a study of the same patient.
type Relative struct {
	StudyKey event.StudyKey
	// ShiftedTime is moved by the patient's offset; zero when it is not known.
	ShiftedTime time.Time
}

// WithPrior returns s with the prior that its relatives give it, under revision rev; changed is
// false, and next is s, when it has that prior already. s is not modified.
//
// The prior is the newest study of the patient that is earlier, by its time alone: of two at
// the same time the one with the greater key. A study without a time has no prior and is none.
// s itself may be among its relatives.
func WithPrior(s *radstreamv1.StudyPrepared, relatives []Relative, rev uint64) (next *radstreamv1.StudyPrepared, changed bool) {
	prior := priorOf(s, relatives)
	if prior.GetStudyKey() == s.GetPrior().GetStudyKey() && prior.GetDays() == s.GetPrior().GetDays() {
		return s, false
	}
	moved := s.Provenance.GetMovedFrom()
	next = mover{to: event.PatientKey(s.PatientKey)}.study(s)
	next.Prior, next.Rev, next.Provenance.MovedFrom = prior, rev, ""
	if rev == s.Rev { // it was not published yet
		next.Provenance.MovedFrom = moved
	}
	next.PrepId = prepID(next)
	return next, true
}

func priorOf(s *radstreamv1.StudyPrepared, relatives []Relative) *radstreamv1.PriorStudy {
	if s.ShiftedTime == nil {
		return nil
	}
	at := s.ShiftedTime.AsTime()
	var best Relative
	for _, r := range relatives {
		if r.ShiftedTime.IsZero() || !r.ShiftedTime.Before(at) || string(r.StudyKey) == s.StudyKey {
			continue
		}
		c := r.ShiftedTime.Compare(best.ShiftedTime)
		if best.StudyKey == "" || c > 0 || c == 0 && r.StudyKey > best.StudyKey {
			best = r
		}
	}
	if best.StudyKey == "" {
		return nil
	}
	days := at.Sub(best.ShiftedTime) / (24 * time.Hour)
	return &radstreamv1.PriorStudy{StudyKey: string(best.StudyKey), Days: uint32(min(int64(days), math.MaxUint32))}
}
