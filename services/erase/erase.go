// Package erase asks a running radstream to erase a study or a patient, and follows it to the
// end: the receipt of the prepare stage, which removed everything but the index, and of each study
// the word of the index that it is gone.
//
//	StudyErased -> STUDIES -> prepare: ErasureReported -> ANSWERS
//	                              \--> tombstone -> embed -> index: StudyRemoved -> INDEXED
//
// What is asked is stored before anything is waited for, so a request whose receipt nobody waited
// for is carried out all the same, and asking once more gives the end of it.
package erase

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
)

// Reasons for which nothing was erased, or not all.
const (
	ReasonUnknown fault.Reason = "unknown_study"
	ReasonPending fault.Reason = "erasure_pending"
)

// Request names what is to be erased: a study or a patient.
type Request struct {
	Tenant   event.Tenant
	Study    event.StudyUID
	Patient  event.PatientID // instead of Study: all studies of the patient
	DryRun   bool            // say what would be removed
	Patience time.Duration   // how long to wait for the end of it; 10 minutes where it is 0
}

// Receipt says what was removed, by pseudonyms and counts alone. Its JSON field names are a promise.
type Receipt struct {
	DryRun      bool     `json:"dry_run"`
	Done        bool     `json:"done"` // nothing is pending; false of a dry run
	Studies     []Study  `json:"studies"`
	Arrivals    int      `json:"arrivals"` // messages of STUDIES
	Objects     []string `json:"objects"`  // sha256 in hex
	Identities  int      `json:"identities"`
	DeadLetters int      `json:"dead_letters"`
	Stays       Stays    `json:"stays"`
	Retrain     []string `json:"retrain"` // models that saw one of the studies
	Unknown     []string `json:"unknown"` // models of which nobody can tell
	Pending     []string `json:"pending"` // studies that the index may still hold, by key
}

// Study is one study of a receipt.
type Study struct {
	Key           event.StudyKey `json:"study_key"`
	Prepared      []uint64       `json:"prepared_sequences"` // of its revisions in PREPARED
	Embedded      int            `json:"embedded"`           // messages of EMBEDDED
	Announcements int            `json:"announcements"`      // messages of INDEXED and ANSWERS
	Retrain       []string       `json:"retrain"`
	Unknown       []string       `json:"unknown"`
}

// Stays counts what was left where it is.
type Stays struct {
	ObjectsShared    int `json:"objects_shared"`    // a study that was not erased uses them too
	ReportsShared    int `json:"reports_shared"`    // reports of an accession number that such a study has
	ObjectsElsewhere int `json:"objects_elsewhere"` // files outside the object store
}

// Run asks for the erasure and waits for its end. It returns the receipt even with an error, once
// there is one.
//
// Errors: Invalid unknown_study when nothing was known of what was named, and what the prepare
// stage refuses; Unavailable when no receipt came in time; Transient erasure_pending when the index
// did not follow in time; the bus's own.
func Run(ctx context.Context, b *bus.Bus, r Request) (Receipt, error) {
	const op = "erase.Run"
	if r.Patience <= 0 {
		r.Patience = 10 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	body := &radstreamv1.StudyErased{StudyUid: string(r.Study), PatientId: string(r.Patient), DryRun: r.DryRun}
	e, err := event.New(event.ID("erase", rand.Text()), "radstream erase", event.StudyErasedSubject(r.Tenant), time.Now(), body)
	if err != nil {
		return Receipt{}, err
	}
	report, err := ask(ctx, b, e)
	if err != nil {
		if ctx.Err() == context.DeadlineExceeded {
			err = fault.Errorf(op, fault.Unavailable, "no receipt came within %v: the request is stored and will be carried out by a radstream up whose target includes ingest; erase again to see the end of it", r.Patience)
		}
		return Receipt{}, err
	}
	receipt := receiptOf(report)
	switch {
	case len(receipt.Studies) == 0 && receipt.Arrivals == 0:
		return receipt, fault.Reject(op, fault.Invalid, ReasonUnknown, "nothing is known of the study or patient that is to be erased: check the identifier and the tenant")
	case r.DryRun:
		return receipt, nil
	}
	receipt.Pending, err = follow(ctx, b, r.Tenant, receipt.Studies)
	receipt.Done = err == nil && len(receipt.Pending) == 0
	if err != nil && ctx.Err() == context.DeadlineExceeded {
		err = fault.Reject(op, fault.Transient, ReasonPending, "%d studies are erased but for the index, which did not follow within %v: it does as soon as a radstream up whose targets include embed and index runs; erase again to see the end of it", len(receipt.Pending), r.Patience)
	}
	return receipt, err
}

// ask publishes the request and waits for the answer.
func ask(ctx context.Context, b *bus.Bus, e event.Envelope) (*radstreamv1.ErasureReported, error) {
	tenant, err := e.Tenant()
	if err != nil {
		return nil, err
	}
	var report *radstreamv1.ErasureReported
	var refused *radstreamv1.Rejected
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	for stream, subject := range map[string]event.Subject{
		event.StreamAnswers: event.UnchangedSubject(tenant, "*"), event.StreamRejected: event.RejectedSubject(tenant, "prepare"),
	} {
		w, err := b.Watch(ctx, bus.WatchConfig{Stream: stream, Subjects: []event.Subject{subject}, Start: bus.FromNow()})
		if err != nil {
			return nil, err
		}
		group.Go(func() error {
			defer w.Close()
			for {
				m, err := w.Next(ctx)
				if err != nil {
					return err
				}
				if m.Cause != e.ID {
					continue
				}
				body, err := m.Message()
				if err != nil {
					return err
				}
				switch body := body.(type) {
				case *radstreamv1.ErasureReported:
					report = body
					return errAnswered
				case *radstreamv1.Rejected:
					refused = body
					return errAnswered
				}
			}
		})
	}
	group.Go(func() error { return b.Publish(ctx, e, nil) })
	err = group.Wait()
	switch {
	case report != nil:
		return report, nil
	case refused != nil:
		kind, err := fault.ParseKind(refused.GetKind())
		if err != nil {
			return nil, err
		}
		return nil, fault.Reject("erase.Run", kind, fault.Reason(refused.GetReason()), "%s", refused.GetDetail())
	}
	return nil, err
}

// errAnswered ends the wait of the others.
var errAnswered = fault.Errorf("erase.ask", fault.Internal, "answered")

// follow waits until the index says of every study that it is gone, and returns those of which it
// did not.
func follow(ctx context.Context, b *bus.Bus, t event.Tenant, studies []Study) ([]string, error) {
	left := map[event.StudyKey]bool{}
	for _, s := range studies {
		left[s.Key] = true
	}
	pending := func() []string {
		out := []string{}
		for _, k := range slices.Sorted(maps.Keys(left)) {
			out = append(out, string(k))
		}
		return out
	}
	for part := range slices.Chunk(slices.Clone(studies), 64) { // a consumer's filters travel in one message
		subjects := make([]event.Subject, len(part))
		for i, s := range part {
			subjects[i] = event.IndexedSubject(t, s.Key)
		}
		w, err := b.Watch(ctx, bus.WatchConfig{Stream: event.StreamIndexed, Subjects: subjects, Start: bus.LastPerSubject(), HeadersOnly: true})
		if err != nil {
			return pending(), err
		}
		for n := len(part); n > 0; {
			m, err := w.Next(ctx)
			if err != nil {
				w.Close()
				return pending(), err
			}
			if k := m.StudyKey(); m.Type == event.StudyRemoved && left[k] {
				delete(left, k)
				n--
			}
		}
		w.Close()
	}
	return pending(), nil
}

func receiptOf(r *radstreamv1.ErasureReported) Receipt {
	out := Receipt{DryRun: r.GetDryRun(), Studies: []Study{}, Arrivals: int(r.GetArrivals()), Objects: []string{}, Identities: int(r.GetIdentities()),
		DeadLetters: int(r.GetDeadLetters()), Retrain: []string{}, Unknown: []string{}, Pending: []string{},
		Stays: Stays{ObjectsShared: int(r.GetObjectsShared()), ReportsShared: int(r.GetReportsShared()), ObjectsElsewhere: int(r.GetObjectsElsewhere())}}
	for _, sum := range r.GetObjectSha256() {
		out.Objects = append(out.Objects, hex.EncodeToString(sum))
	}
	for _, s := range r.GetStudies() {
		out.Studies = append(out.Studies, Study{Key: event.StudyKey(s.GetStudyKey()), Prepared: append([]uint64{}, s.GetPreparedSequences()...),
			Embedded: int(s.GetEmbedded()), Announcements: int(s.GetAnnouncements()), Retrain: append([]string{}, s.GetModelsSaw()...), Unknown: append([]string{}, s.GetModelsUnknown()...)})
		out.Retrain = append(out.Retrain, s.GetModelsSaw()...)
		out.Unknown = append(out.Unknown, s.GetModelsUnknown()...)
	}
	for _, all := range []*[]string{&out.Retrain, &out.Unknown} {
		slices.Sort(*all)
		*all = slices.Compact(*all)
	}
	return out
}
