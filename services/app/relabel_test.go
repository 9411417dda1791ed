package app

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/radstream/radstream/embedder/zeroshot"
	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/model"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/config"
	"github.com/radstream/radstream/services/query"
	"github.com/radstream/radstream/services/registry"
)

// relabelled waits until all is scored by a set.
func (s *system) relabelled(t *testing.T, set registry.LabelSet) registry.Scored {
	t.Helper()
	for limit := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		scored, err := s.models.Scored(t.Context(), s.serves().manifest.Ref)
		if err != nil {
			t.Fatal(err)
		}
		if scored.Number == set.Number && scored.Done {
			return scored
		}
		if time.Now().After(limit) {
			t.Fatalf("label set %d: %+v", set.Number, scored)
		}
	}
}

// scoredAs checks that every point has the scores of labels, as they follow from its own vector.
func (s *system) scoredAs(t *testing.T, set registry.LabelSet, studies int) {
	t.Helper()
	v := s.serves()
	labels, err := v.model.encoder.EncodeLabels(t.Context(), set.Of(v.manifest))
	if err != nil {
		t.Fatal(err)
	}
	points := s.points(t)
	n := 0
	for key, p := range points {
		if p.Tombstone() {
			continue
		}
		n++
		want := map[string]float32{}
		scores, err := zeroshot.Scores(p.Vectors[indexer.Image], labels, v.manifest.Temperature)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range scores {
			want[x.Label] = x.Value
		}
		if d := cmp.Diff(want, p.Labels, cmp.Comparer(func(a, b float32) bool { return a-b < 1e-4 && b-a < 1e-4 })); d != "" || p.LabelSet != set.Number {
			t.Errorf("study %s is scored by label set %d, want %d:\n%s", key, p.LabelSet, set.Number, d)
		}
	}
	if n != studies {
		t.Errorf("%d studies are in the index, want %d", n, studies)
	}
}

// records hears every value of a key of the registry from now on.
func (s *system) records(t *testing.T, key string) *nats.Subscription {
	t.Helper()
	nc, err := nats.Connect(s.Addresses().NATS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	sub, err := nc.SubscribeSync("$KV." + bus.BucketModels + "." + key)
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// embeddings counts the messages that the embed stage of this process handled.
func (s *system) embeddings(t *testing.T) (n float64) {
	t.Helper()
	for line := range strings.Lines(s.metricsAt(t, s.Addresses().Query)) {
		if _, err := fmt.Sscanf(line, "radstream_stage_handled_total{stage=\"embed\"} %g", &n); err == nil {
			return n
		}
	}
	t.Fatal("no metric counts what was embedded")
	return 0
}

// TestRelabel: another label set reaches the studies that are there and those that come meanwhile,
// from their vectors alone, and filters ask for its labels at once; an erased study stays erased; the
// models' own labels can be put back.
func TestRelabel(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, io.Discard)
	send := func(i int) string {
		id := fmt.Sprint(i)
		s.send(t, id, study("2.25."+id, s.object(t, film(t, i), frontal)))
		return id
	}
	const first, more = 8, 6
	for i := range first {
		s.expect(t, send(i+1), event.StudyIndexed, 1)
	}
	s.scoredAs(t, registry.LabelSet{}, first)
	s.erase(t, "gone", &radstreamv1.StudyErased{StudyUid: "2.25.3"})

	labels, err := zeroshot.ParseLabels([]byte(`[
		{"name": "effusion", "positive": ["Fluid in the pleural space."], "negative": ["No fluid."]},
		{"name": "hernia-of-ours", "positive": ["Hiatal hernia."], "negative": ["No hernia."], "calibration": {"a": 0.5, "b": 0.25}}]`))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	var set registry.LabelSet
	for i := range more {
		if i == more/2 { // some are on their way
			if set, err = s.models.SetLabels(t.Context(), "ours", labels); err != nil {
				t.Fatal(err)
			}
		}
		ids = append(ids, send(100+i))
	}
	for _, id := range ids {
		s.expect(t, id, event.StudyIndexed, 1)
	}
	s.relabelled(t, set)
	s.scoredAs(t, set, first-1+more)
	if got, own := set.Of(s.serves().manifest)[0].Calibration, s.serves().manifest.Labels; got == model.Identity() || len(own) == 2 {
		t.Errorf("effusion has the calibration %v, want that of the manifest", got)
	}
	found, err := s.client.Search(t.Context(), query.Request{Tenant: tenant, Text: "Hernia.", K: 50, Labels: []query.LabelAtLeast{{Label: "hernia-of-ours", Score: 0}}})
	if err != nil || len(found.Hits) != first-1+more {
		t.Errorf("%d hits by a label of the set, want %d: %v", len(found.Hits), first-1+more, err)
	}
	if _, err := s.client.Search(t.Context(), query.Request{Tenant: tenant, Text: "x", Labels: []query.LabelAtLeast{{Label: "nodule", Score: 0}}}); err == nil {
		t.Error("a label that is not scored any more can be asked for")
	}
	if l, err := s.client.Labels(t.Context(), tenant, "2.25.1"); err != nil || l.LabelSet != "ours" || l.Stale || len(l.Labels) != 2 {
		t.Errorf("labels of a study: %+v, %v", l, err)
	}

	// A process that ends amid it goes on; back to the models' own.
	s.awaitMetrics(t, fmt.Sprintf(`radstream_stage_handled_total{stage="embed"} %d`, first+more+1)) // one of them the tombstone
	embedded, err := s.bus.StreamState(t.Context(), event.StreamEmbedded)
	if err != nil {
		t.Fatal(err)
	}
	told := s.records(t, "scored."+s.serves().manifest.Ref.Key())
	if set, err = s.models.SetLabels(t.Context(), "", nil); err != nil {
		t.Fatal(err)
	}
	if m, err := told.NextMsg(patience); err != nil || !strings.Contains(string(m.Data), fmt.Sprintf(`"studies":0,"total":%d,`, first-1+more)) { // the first is the tombstone: the others were published again since
		t.Errorf("how far it is: %v, %s", err, m.Data)
	}
	for now := embedded; now.LastSeq == embedded.LastSeq; { // the first is scored again
		if now, err = s.bus.StreamState(t.Context(), event.StreamEmbedded); err != nil {
			t.Fatal(err)
		}
	}
	s.stop(t)
	s = start(t, dir, io.Discard)
	if scored := s.relabelled(t, set); scored.Studies != first-1+more || scored.Total != first-1+more {
		t.Errorf("%d of %d studies are scored, want %d", scored.Studies, scored.Total, first-1+more)
	}
	s.scoredAs(t, set, first-1+more)
	if n := s.embeddings(t); n != 0 {
		t.Errorf("%g studies were embedded while labels changed", n)
	}
	if found, err := s.client.Labels(t.Context(), tenant, "2.25.3"); err == nil {
		t.Errorf("an erased study is back: %+v", found)
	}

	// A set that the model cannot read is told, and its own labels stay.
	if set, err = s.models.SetLabels(t.Context(), "long", []model.Label{{Name: "a", Positive: []string{strings.Repeat("effusion ", 600)}, Negative: []string{"No."}}}); err != nil {
		t.Fatal(err)
	}
	if scored := s.relabelled(t, set); !strings.Contains(scored.Problem, "longer than") {
		t.Errorf("a prompt of 600 words: %+v", scored)
	}
	s.scoredAs(t, registry.LabelSet{Number: set.Number}, first-1+more)
}

// TestStale: scores of before are marked until the study is scored by the set in force.
func TestStale(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, io.Discard)
	s.send(t, "1", study("2.25.1", s.object(t, film(t, 1), frontal)))
	s.expect(t, "1", event.StudyIndexed, 1)
	s.stop(t)
	s = start(t, dir, io.Discard, func(c *config.Config) { c.Target = []string{"index", "query"} }) // nobody scores again
	labels, err := zeroshot.Set("phantom")
	if err != nil {
		t.Fatal(err)
	}
	set, err := s.models.SetLabels(t.Context(), "phantom", labels)
	if err != nil {
		t.Fatal(err)
	}
	asked := func() query.LabelsResponse {
		t.Helper()
		l, err := s.client.Labels(t.Context(), tenant, "2.25.1")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := asked()
	for limit := time.Now().Add(patience); l.LabelSet == "" && time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
		if l.Stale {
			t.Fatalf("scores are stale before another label set is in force: %+v", l)
		}
		l = asked()
	}
	if l.LabelSet != "phantom" || !l.Stale {
		t.Errorf("scores of before: label set %q, stale %v", l.LabelSet, l.Stale)
	}
	if scored, err := s.models.Scored(t.Context(), s.serves().manifest.Ref); err != nil || scored != (registry.Scored{}) {
		t.Errorf("nobody scores, and the registry says %+v, %v", scored, err)
	}
	s.stop(t)
	s = start(t, dir, io.Discard)
	s.relabelled(t, set)
	if l := asked(); l.LabelSet != "phantom" || l.Stale || len(l.Labels) != len(labels) {
		t.Errorf("scored again: label set %q, stale %v, %d labels", l.LabelSet, l.Stale, len(l.Labels))
	}
}
