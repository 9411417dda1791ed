package app

import (
	// go-cmp has the name
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/radstream/radstream/schemas/event"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// TestAnyOrder: whatever the order in which the events of a hospital arrive, how often each
// comes, and wherever two ingest processes die meanwhile, the archive ends the same: every
// study, on the same subject, with the same views, report and prior, and tombstones elsewhere.
//
// Each scenario is played by two tenants with one key, so that the pseudonyms are equal: by the
// first in the order in which it was drawn, by the second shuffled and with repeats. All are
// played at once, and the processes die at operations that are drawn as well.
func TestAnyOrder(t *testing.T) {
	const scenarios, deaths = 14, 5
	seed := uint64(20261126)
	random := rand.New(rand.NewPCG(seed, 1))
	r := newRig(t)
	var events []event.Envelope
	for i := range scenarios {
		drawn := r.scenario(t, random)
		events = append(events, r.envelopes(t, event.Tenant(fmt.Sprintf("drawn-%d", i)), drawn)...)
		shuffled := slices.Clone(drawn)
		for range random.IntN(4) {
			shuffled = append(shuffled, drawn[random.IntN(len(drawn))])
		}
		random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		events = append(events, r.envelopes(t, event.Tenant(fmt.Sprintf("shuffled-%d", i)), shuffled)...)
	}
	for _, e := range events {
		if err := r.bus.Publish(t.Context(), e, nil); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var processes sync.WaitGroup
	var died sync.Map
	for p := range 2 {
		plan := make([]int, deaths) // operations of each life
		for i := range plan {
			plan[i] = 20 + random.IntN(220)
		}
		processes.Go(func() {
			for life := 0; ctx.Err() == nil && !r.settled(ctx); life++ {
				f := &mortal{after: -1}
				if life < len(plan) {
					f.after = plan[life]
				}
				if err := r.live(ctx, f); err != nil {
					t.Errorf("process %d, life %d: %v", p, life, err)
					return
				}
				if f.dead() {
					died.Store([2]int{p, life}, true)
				}
			}
		})
	}
	processes.Wait()
	if ctx.Err() != nil {
		t.Fatalf("the events were not settled in time; the last retries: %v", r.retries)
	}
	n := 0
	died.Range(func(any, any) bool { n++; return true })
	if n < deaths {
		t.Errorf("only %d lives ended early", n)
	}
	r.refusals(t)
	studies, waited, moved, priors := 0, 0, 0, 0
	for i := range scenarios {
		want, got := r.archive(t, event.Tenant(fmt.Sprintf("drawn-%d", i))), r.archive(t, event.Tenant(fmt.Sprintf("shuffled-%d", i)))
		ignore := cmp.Options{protocmp.Transform(), protocmp.IgnoreFields(&radstreamv1.StudyPrepared{}, "rev", "prep_id", "provenance")}
		if d := cmp.Diff(want, got, ignore); d != "" {
			t.Errorf("scenario %d of seed %d ends otherwise when it is shuffled (-drawn +shuffled):\n%s", i, seed, d)
		}
		for _, s := range want {
			studies++
			moved += len(strings.Fields(s.Provenance.GetMovedFrom()))
			if s.Prior != nil {
				priors++
			}
			if s.Report != nil {
				waited++
			}
		}
	}
	t.Logf("%d events, %d studies, %d with a report, %d with a prior, %d moved by their last revision; %d deaths", len(events), studies, waited, priors, moved, n)
	if priors == 0 || waited == 0 {
		t.Errorf("%d priors and %d reports: nothing was tried", priors, waited)
	}
}

// scenario draws what a hospital with three identifiers and four studies sends.
func (r *rig) scenario(t *testing.T, random *rand.Rand) []proto.Message {
	t.Helper()
	patients := []string{"P", "Q", "R"}
	var all []proto.Message
	same := map[string][]string{"P": {"P"}, "Q": {"Q"}, "R": {"R"}} // identifiers of one person
	if random.IntN(2) == 0 {
		all = append(all, &radstreamv1.PatientMerged{PatientId: "Q", MergedPatientId: "P"})
		same["P"], same["Q"] = []string{"P", "Q"}, []string{"P", "Q"}
		if random.IntN(2) == 0 {
			all = append(all, &radstreamv1.PatientMerged{PatientId: "R", MergedPatientId: "Q"})
			same["P"], same["Q"], same["R"] = patients, patients, patients
		}
	}
	statuses := []radstreamv1.ReportStatus{1, 2, 2, 3, 4, 5}
	for s := range 4 {
		uid, accession, owner := fmt.Sprintf("2.25.%d", s+1), fmt.Sprintf("A-%d", s), patients[random.IntN(3)]
		who := func() string {
			if random.IntN(4) == 0 {
				return ""
			}
			return same[owner][random.IntN(len(same[owner]))]
		}
		day := timestamppb.New(time.Date(2026, 1, 1+random.IntN(20), 0, 0, 0, 0, time.UTC))
		for range 1 + random.IntN(3) {
			m := study(uid, proto.CloneOf(r.films[random.IntN(len(r.films))]))
			m.PatientId, m.AccessionNumber, m.StudyTime = who(), accession, day
			all = append(all, m)
		}
		for range random.IntN(4) {
			m := report("", "FINDINGS: "+[]string{"Clear lungs.", "Small nodule.", "Enlarged heart."}[random.IntN(3)])
			m.PatientId, m.AccessionNumber, m.ReportId = who(), accession, []string{"", "one", "two"}[random.IntN(3)]
			m.Status = statuses[random.IntN(len(statuses))]
			if random.IntN(3) > 0 {
				m.ReportTime = timestamppb.New(time.Date(2026, 2, 1, random.IntN(4), 0, 0, 0, time.UTC))
			}
			m.MessageTime = timestamppb.New(time.Date(2026, 2, 2, random.IntN(4), 0, 0, 0, time.UTC))
			all = append(all, m)
		}
	}
	return all
}

// envelopes announces events. An event that comes twice has the same time, and another id.
func (r *rig) envelopes(t *testing.T, who event.Tenant, all []proto.Message) []event.Envelope {
	t.Helper()
	var out []event.Envelope
	for i, m := range all {
		subject := event.StudyArrivedSubject(who)
		switch m.(type) {
		case *radstreamv1.ReportArrived:
			subject = event.ReportArrivedSubject(who)
		case *radstreamv1.PatientMerged:
			subject = event.PatientMergedSubject(who)
		}
		e, err := event.New(event.ID(string(who), fmt.Sprint(i)), "test", subject, time.Unix(1_770_000_000, 0), m)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}
