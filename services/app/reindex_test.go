package app

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/config"
	"github.com/radstream/radstream/services/query"
	"github.com/radstream/radstream/services/registry"
	"github.com/radstream/radstream/services/reindex"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// TestReindex: while the archive is embedded under another model, studies come and are erased; every
// study that was announced, and is not being erased, is found at every moment; the new model answers
// only when it was compared, and none of the erased is in either collection; rollback is one step.
func TestReindex(t *testing.T) {
	s := start(t, t.TempDir(), io.Discard, func(c *config.Config) { c.Query.Rate, c.Query.Burst = 100_000, 100_000 })
	send := func(id string) {
		n, _ := strconv.Atoi(id)
		s.send(t, id, study("2.25."+id, s.object(t, film(t, n), frontal)))
		s.expect(t, id, event.StudyIndexed, 1)
	}
	var mu sync.Mutex
	there := map[string]bool{} // ids that must be found
	announced := func(id string, yes bool) {
		mu.Lock()
		defer mu.Unlock()
		there[id] = yes
	}
	const archive, live = 6, 6
	for i := range archive {
		id := strconv.Itoa(i + 1)
		send(id)
		announced(id, true)
	}
	old := s.serves().manifest.Ref
	_, next := s.another(t, "2.0.0", otherVectors(t))

	stop, round := make(chan struct{}), make(chan struct{})
	var load sync.WaitGroup
	models := map[string]int{}
	load.Go(func() { // somebody who asks for every study, again and again
		defer close(round)
		for {
			select {
			case round <- struct{}{}:
			default:
			}
			mu.Lock()
			var ids []string
			for id, yes := range there {
				if yes {
					ids = append(ids, id)
				}
			}
			mu.Unlock()
			for _, id := range ids {
				select {
				case <-stop:
					return
				default:
				}
				r, err := s.client.Search(t.Context(), query.Request{Tenant: tenant, Study: event.StudyUID("2.25." + id), K: 1})
				mu.Lock()
				wanted := there[id]
				mu.Unlock()
				switch {
				case !wanted: // erased since
				case err != nil:
					t.Errorf("study %s: %v", id, err)
					return
				case len(r.Hits) != 1 || r.Hits[0].Study != event.StudyUID("2.25."+id):
					t.Errorf("study %s is not found: %+v", id, r.Hits)
				default:
					models[r.Model]++
				}
			}
		}
	})
	endLoad := sync.OnceFunc(func() {
		close(stop)
		load.Wait()
	})
	defer endLoad()
	asked := func() { // for every study since it was called
		for range 2 {
			<-round
		}
	}
	// hospital goes on while a model is tried: in the test's goroutine, where it may fail.
	hospital := func(from, to int) {
		for i := from; i < to; i++ {
			id := strconv.Itoa(100 + i)
			send(id)
			announced(id, true)
			if i%2 == 0 {
				gone := strconv.Itoa(i + 1)
				announced(gone, false)
				s.erase(t, "erase "+gone, &radstreamv1.StudyErased{StudyUid: "2.25." + gone})
			}
		}
	}
	type outcome struct {
		report reindex.Report
		err    error
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	try := func(r reindex.Request) <-chan outcome {
		done := make(chan outcome, 1)
		go func() {
			report, err := reindex.Run(ctx, s.bus, s.client, r)
			done <- outcome{report, err}
		}()
		return done
	}

	ask := reindex.Request{Ref: next, Tenant: tenant, K: 3, MinOverlap: 0.9}
	trial := try(ask)
	hospital(0, live/2)
	if o := <-trial; fault.ReasonOf(o.err) != reindex.ReasonDiffers || o.report.Switched || s.serves().manifest.Ref != old {
		t.Fatalf("a model that differs: %v, %+v", o.err, o.report)
	}
	ask.MinOverlap = 0
	trial = try(ask)
	hospital(live/2, live)
	if o := <-trial; o.err != nil || !o.report.Switched || o.report.Overlap == 0 || len(o.report.Queries) < 10 || o.report.Old != old {
		t.Fatalf("%v, %+v", o.err, o.report)
	}
	s.until(t, next)
	if target, err := s.store.(interface {
		AliasTarget(context.Context, string) (string, error)
	}).AliasTarget(t.Context(), s.conf.Index.Collection); err != nil || target != indexer.CollectionFor(next.Key()) {
		t.Errorf("the alias points at %s, %v", target, err)
	}
	asked()
	if _, err := s.models.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.until(t, old)
	asked()
	endLoad()
	if models[old.String()] == 0 || models[next.String()] == 0 {
		t.Errorf("questions were answered by %v", models)
	}
	awaitNothingPending(t, s)
	for _, ref := range []model.Ref{old, next} {
		found, err := s.store.Get(t.Context(), indexer.CollectionFor(ref.Key()), s.ids(t, there))
		if err != nil {
			t.Fatal(err)
		}
		gone := 0
		for _, p := range found {
			if p.Tombstone() {
				gone++
			}
		}
		if gone != live/2 {
			t.Errorf("%d studies are erased under %s, want %d", gone, ref, live/2)
		}
	}
	if _, err := s.client.Search(t.Context(), query.Request{Tenant: tenant, Study: "2.25.1", K: 1}); fault.KindOf(err) != fault.Erased {
		t.Errorf("an erased study: %v", err)
	}
}

// otherVectors gives a model another head, so that films have vectors of their own under it.
func otherVectors(t *testing.T) func(dir string, m *model.Manifest) {
	return func(dir string, m *model.Manifest) {
		t.Helper()
		_, weights, err := onnxexport.ReadModel(dir)
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(weights["image.global.weight"].Data)
		graph, err := onnxexport.ImageGraph(m.Config, weights, onnxexport.FP16)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, model.ImageGraph), graph, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// ids are the points of studies.
func (s *system) ids(t *testing.T, studies map[string]bool) (ids []indexer.PointID) {
	for id := range studies {
		ids = append(ids, indexer.NewPointID(string(tenant), string(s.key(t, tenant).Study(event.StudyUID("2.25."+id)))))
	}
	return ids
}

// TestTrialGoesOn: a model on trial is at work again after a start, answers who names it, and is freed
// when the trial ends.
func TestTrialGoesOn(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, io.Discard)
	s.send(t, "1", study("2.25.1", s.object(t, film(t, 1), frontal)))
	s.expect(t, "1", event.StudyIndexed, 1)
	_, next := s.another(t, "2.0.0", nil)
	if err := s.models.SetTrial(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	s.stop(t)
	s = start(t, dir, io.Discard)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, stored := range [][]string{{"Effusion."}, nil} { // without any, the prompts of the labels
		if err := s.models.SetQueries(ctx, stored); err != nil {
			t.Fatal(err)
		}
		report, err := reindex.Run(ctx, s.bus, s.client, reindex.Request{Ref: next, Tenant: tenant, K: 5, NoSwitch: true})
		if err != nil || report.Switched || report.Overlap != 1 || (len(report.Queries) == 1) != (stored != nil) {
			t.Fatalf("with the queries %q: %v, %+v", stored, err, report)
		}
	}
	asked := query.Request{Tenant: tenant, Text: "No acute disease.", Model: next.String()}
	if r, err := s.client.Search(t.Context(), asked); err != nil || r.Model != next.String() || len(r.Hits) != 1 {
		t.Errorf("asked by name: %+v, %v", r, err)
	}
	if err := s.models.EndTrial(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	for limit := time.Now().Add(patience); len(s.atWork()) > 1; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("the model is still at work")
		}
	}
	if _, err := s.client.Search(t.Context(), asked); fault.ReasonOf(err) != query.ReasonOtherModel {
		t.Errorf("asked by name after the trial: %v", err)
	}
}

// TestReindexRollback: the model that answers is rolled back, and gone, while it is compared with one on
// trial: that one is then compared with the model that answers instead.
func TestReindexRollback(t *testing.T) {
	s := start(t, t.TempDir(), io.Discard)
	s.send(t, "1", study("2.25.1", s.object(t, film(t, 1), frontal)))
	s.expect(t, "1", event.StudyIndexed, 1)
	first := s.serves().manifest.Ref
	_, second := s.another(t, "2.0.0", nil)
	_, third := s.another(t, "3.0.0", nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := s.models.Promote(ctx, second, first, registry.ByOperator); err != nil {
		t.Fatal(err)
	}
	s.until(t, second)
	rolledBack := false
	ask := reindex.Request{Ref: third, Tenant: tenant, K: 5, NoSwitch: true}
	ask.Progress = func(stage string, _, _ uint64) {
		if stage != "compare" || rolledBack {
			return
		}
		rolledBack = true
		if _, err := s.models.Rollback(ctx); err != nil {
			t.Fatal(err)
		}
		for slices.ContainsFunc(s.atWork(), func(v *version) bool { return v.manifest.Ref == second }) {
			if ctx.Err() != nil {
				t.Fatal("the model that was rolled back is still at work")
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	report, err := reindex.Run(ctx, s.bus, s.client, ask)
	if err != nil || report.Old != first || report.New != third || report.Overlap != 1 || !rolledBack {
		t.Fatalf("%v, %+v, rolled back: %v", err, report, rolledBack)
	}
	for _, q := range report.Queries {
		if len(q.Old) != 1 || len(q.New) != 1 {
			t.Errorf("%q was not asked of both: %v, %v", q.Text, q.Old, q.New)
		}
	}
}

// TestTrialRefused: a model that cannot be loaded ends its trial, and who waits for it is told why; so
// it is when it is asked for again, and after a start the trial is still over.
func TestTrialRefused(t *testing.T) {
	dir := t.TempDir()
	var log syncBuffer
	s := start(t, dir, &log)
	_, broken := s.another(t, "3.0.0", func(dir string, _ *model.Manifest) {
		if err := os.WriteFile(filepath.Join(dir, model.TextGraph), []byte("no graph"), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var since time.Time
	for range 2 {
		_, err := reindex.Run(ctx, s.bus, s.client, reindex.Request{Ref: broken, Tenant: tenant, K: 5})
		if fault.ReasonOf(err) != reindex.ReasonRefused || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), model.TextGraph) {
			t.Fatalf("a model that cannot be loaded: %v", err)
		}
		trial, err := s.models.Trial(ctx)
		if err != nil || trial.Ref != broken || trial.Refused == "" || !trial.Since.After(since) {
			t.Fatalf("the trial: %+v, %v", trial, err)
		}
		since = trial.Since
	}
	_, next := s.another(t, "2.0.0", nil)
	s.stop(t)
	before := strings.Count(log.text.String(), "was chosen and cannot be used")
	s = start(t, dir, &log)
	if _, err := s.models.Promote(ctx, next, model.Ref{}, registry.ByOperator); err != nil {
		t.Fatal(err)
	}
	log.await(t, next.String()+`","message":"was promoted`) // trials are looked at before
	s.stop(t)
	if n := strings.Count(log.text.String(), "was chosen and cannot be used"); n != before || before != 2 {
		t.Errorf("the model was refused %d times, and %d times more after a start; want 2 and 0", before, n-before)
	}
}
