package publish

import (
	"encoding/hex"
	"slices"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// Progress counts the arrivals of one run by how far they have come.
type Progress struct {
	Total     int // arrivals to publish, set by the caller
	Published int // acknowledged by JetStream
	Prepared  int // a revision holds it, or it was known already
	Embedded  int
	Indexed   int // can be found
	Rejected  int // nothing of it was taken
	Noted     int // taken without a revision: a report that waits for its study, a merge
}

// Rejection is one dead letter of this run.
type Rejection struct {
	Study  event.StudyUID `json:"study_uid,omitempty"`
	Path   string         `json:"path,omitempty"` // the file to blame; empty when the whole arrival is
	Stage  string         `json:"stage"`
	Kind   string         `json:"kind"`
	Reason string         `json:"reason"`
	Detail string         `json:"detail"`
}

// tracker follows arrivals through the streams. It is a state machine over events in any
// order; the caller serialises the calls.
//
// An arrival is settled when its study can be found at the revision that holds it, when it
// was noted, when every part of it was rejected, or when its study was erased.
type tracker struct {
	arrivals map[event.MessageID]*arrival
	byStudy  map[event.StudyKey][]*arrival
	embedded map[event.StudyKey]event.Rev // newest revision seen
	indexed  map[event.StudyKey]event.Rev
	failed   map[event.StudyKey]event.Rev // newest revision that embed or index refused
	erased   map[event.StudyKey]bool

	Progress
	rejections []Rejection
	problems   []Problem // found while publishing
}

type arrival struct {
	uid   event.StudyUID
	merge bool              // of patients: the studies that move are not it
	parts int               // objects, plus one for a report
	paths map[string]string // by the sha256 in hex

	refused  map[string]bool // parts rejected, by hash or name: a dead letter may be seen twice
	rev      event.Rev       // revision that holds it; 0 until prepared
	embedded bool
	settled  bool
}

func newTracker() *tracker {
	return &tracker{
		arrivals: map[event.MessageID]*arrival{}, byStudy: map[event.StudyKey][]*arrival{},
		embedded: map[event.StudyKey]event.Rev{}, indexed: map[event.StudyKey]event.Rev{}, failed: map[event.StudyKey]event.Rev{},
		erased: map[event.StudyKey]bool{},
	}
}

// expect adds an arrival before it is published. One that says the same as another of
// this run, such as two files of the same bytes that name no study, is not published twice:
// expect counts it off and returns false.
func (t *tracker) expect(id event.MessageID, a *arrival) bool {
	if first, twice := t.arrivals[id]; twice {
		t.Total--
		for sum, path := range a.paths {
			t.problems = append(t.problems, Problem{path, ReasonTwice, "the file has the bytes of " + first.paths[sum]})
		}
		return false
	}
	t.arrivals[id] = a
	return true
}

// done says that every arrival expected so far was published and is settled.
func (t *tracker) done() bool {
	return t.Published == t.Total && t.Indexed+t.Rejected+t.Noted == t.Total
}

// see takes one event of PREPARED, EMBEDDED or INDEXED; only its attributes are read.
// The result says that the caller should look up whether the study is in the index
// already, since no event of this run will say so.
func (t *tracker) see(e event.Envelope) (lookUp bool) {
	key := e.StudyKey()
	switch e.Type {
	case event.StudyPrepared, event.StudyUnchanged:
		a, mine := t.arrivals[e.Cause]
		if !mine || a.rev != 0 || a.merge {
			return false
		}
		a.rev = e.Rev
		t.byStudy[key] = append(t.byStudy[key], a)
		t.Prepared++
		t.settle(key)
		return e.Type == event.StudyUnchanged && !a.settled
	case event.ArrivalNoted:
		if a, mine := t.arrivals[e.Cause]; mine && !a.settled {
			a.settled = true
			t.Noted++
		}
	case event.StudyEmbedded:
		t.embedded[key] = max(t.embedded[key], e.Rev)
		t.settle(key)
	case event.StudyIndexed:
		t.indexed[key] = max(t.indexed[key], e.Rev)
		t.settle(key)
	case event.StudyRemoved:
		t.erased[key] = true
		t.settle(key)
	}
	return false
}

func (t *tracker) settle(key event.StudyKey) {
	for _, a := range t.byStudy[key] {
		if !a.embedded && a.rev <= max(t.embedded[key], t.indexed[key]) {
			a.embedded = true
			t.Embedded++
		}
		if !a.settled && a.rev <= t.indexed[key] {
			a.settled = true
			t.Indexed++
		}
		if !a.settled && a.rev <= t.failed[key] {
			a.settled = true
			t.Rejected++
		}
		if !a.settled && t.erased[key] {
			a.settled = true
			t.Rejected++
			t.rejections = append(t.rejections, Rejection{Study: a.uid, Path: a.paths[""], Stage: "index", Kind: fault.Erased.String(), Reason: "erased", Detail: "the study was erased on request before it was indexed"})
		}
	}
}

// dead takes one dead letter.
func (t *tracker) dead(e event.Envelope, r *radstreamv1.Rejected) {
	if r.GetStage() == "prepare" {
		t.reject(e.Cause, r)
	} else {
		t.refuse(e.Cause, e.Rev, r)
	}
}

// refuse takes one dead letter of a stage behind prepare: it is about a revision, and so about
// all arrivals that the revision holds.
func (t *tracker) refuse(cause event.MessageID, rev event.Rev, r *radstreamv1.Rejected) {
	key := event.StudyKey(r.GetStudyKey())
	a, mine := t.arrivals[cause]
	for _, other := range t.byStudy[key] {
		if !mine && !other.settled && other.rev <= rev {
			a, mine = other, true
		}
	}
	if mine {
		said := Rejection{Study: a.uid, Path: a.paths[""], Stage: r.GetStage(), Kind: r.GetKind(), Reason: r.GetReason(), Detail: r.GetDetail()}
		if !slices.Contains(t.rejections, said) {
			t.rejections = append(t.rejections, said)
		}
	}
	if r.GetStage() != "relate" { // which is about other studies of the patient
		t.failed[key] = max(t.failed[key], rev)
		t.settle(key)
	}
}

// reject takes one dead letter of prepare.
func (t *tracker) reject(cause event.MessageID, r *radstreamv1.Rejected) {
	a, mine := t.arrivals[cause]
	if !mine || a.settled {
		return
	}
	rejection := Rejection{Study: a.uid, Path: a.paths[""], Stage: r.GetStage(), Kind: r.GetKind(), Reason: r.GetReason(), Detail: r.GetDetail()}
	part := r.GetPart()
	if part == "object" {
		part = hex.EncodeToString(r.GetObject().GetSha256())
		rejection.Path = a.paths[part]
	}
	if id := r.GetInput().GetEventId(); id != "" && id != string(cause) {
		t.rejections = append(t.rejections, rejection) // of a report that waited for the study
		return
	}
	if part == "accession" {
		t.rejections = append(t.rejections, rejection) // the study itself was taken
		return
	}
	if a.refused[part] {
		return
	}
	if a.refused == nil {
		a.refused = map[string]bool{}
	}
	a.refused[part] = true
	t.rejections = append(t.rejections, rejection)
	if part == "" || len(a.refused) >= a.parts {
		a.settled = true
		t.Rejected++
	}
}
