package storetest

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/schemas/fault"
)

// TestRevisions: absent is inserted, newer applied, equal and older refused.
func (s *suite) TestRevisions() {
	steps := []struct {
		rev  uint64
		want indexer.Outcome
		kept uint64
	}{{3, indexer.Applied, 3}, {2, indexer.Refused, 3}, {3, indexer.Refused, 3}, {4, indexer.Applied, 4}, {0, indexer.Refused, 4}, {1 << 52, indexer.Applied, 1 << 52}, {1<<52 + 1, indexer.Applied, 1<<52 + 1}}
	for _, st := range steps {
		p := s.point("a", "one", st.rev)
		p.PrepID = fmt.Sprint("prep of rev ", st.rev)
		rs, err := s.store.Upsert(s.t.Context(), alias, []indexer.Point{p})
		if err != nil || rs[0].Outcome != st.want || rs[0].Rev != st.kept {
			s.t.Fatalf("upsert of rev %d: got %+v, %v; want outcome %d and rev %d kept", st.rev, rs, err, st.want, st.kept)
		}
		if got := s.get(p.ID); len(got) != 1 || got[0].Rev != st.kept || got[0].PrepID != fmt.Sprint("prep of rev ", st.kept) {
			s.t.Fatalf("after rev %d: stored %+v, want rev %d", st.rev, got, st.kept)
		}
	}
}

// TestLabelSets: of one revision the later label set wins, of points without a number too, and a
// larger revision wins whatever its set.
func (s *suite) TestLabelSets() {
	for i, st := range []struct {
		rev, set uint64
		want     indexer.Outcome
	}{{3, 0, indexer.Applied}, {3, 2, indexer.Applied}, {3, 1, indexer.Refused}, {3, 2, indexer.Refused}, {3, 0, indexer.Refused}, {2, 9, indexer.Refused}, {4, 0, indexer.Applied}, {4, 3, indexer.Applied}} {
		p := s.point("a", "one", st.rev)
		p.LabelSet = st.set
		if got := s.upsert(p, s.point("a", fmt.Sprint("other ", i), 1)); got[0] != st.want { // two kinds in one call
			s.t.Fatalf("upsert of revision %d, label set %d: outcome %d, want %d", st.rev, st.set, got[0], st.want)
		}
		if got := s.get(p.ID)[0]; st.want == indexer.Applied && (got.Rev != st.rev || got.LabelSet != st.set) {
			s.t.Fatalf("revision %d of label set %d is stored, want %d and %d", got.Rev, got.LabelSet, st.rev, st.set)
		}
	}
	p := s.point("b", "same", 1)
	later := p
	later.LabelSet = 1
	if got := s.upsert(later, p); got[0] != indexer.Applied || got[1] != indexer.Refused {
		s.t.Errorf("of two scorings in one call: outcomes %v", got)
	}
}

// TestRevisionsInOneCall: of equal ids the largest revision wins wherever it stands, and
// every point of a mixed call is judged on its own.
func (s *suite) TestRevisionsInOneCall() {
	s.upsert(s.point("a", "old", 5), s.point("a", "new", 5))
	got := s.upsert(s.point("a", "same", 1), s.point("a", "same", 9), s.point("a", "same", 4), s.point("a", "old", 4), s.point("a", "new", 6))
	want := []indexer.Outcome{indexer.Refused, indexer.Applied, indexer.Refused, indexer.Refused, indexer.Applied}
	if !slices.Equal(got, want) {
		s.t.Errorf("outcomes %v, want %v", got, want)
	}
	for study, rev := range map[string]uint64{"same": 9, "old": 5, "new": 6} {
		if p := s.get(indexer.NewPointID("a", study)); len(p) != 1 || p[0].Rev != rev {
			s.t.Errorf("%s: stored %+v, want rev %d", study, p, rev)
		}
	}
}

// TestConcurrentUpserts: however writers interleave, the largest revision stays, and of
// writers with the same revision exactly one is told that it won.
func (s *suite) TestConcurrentUpserts() {
	const writers, revs = 8, 12
	base := s.point("a", "one", 0)
	applied := make([]int, revs+1)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range revs {
				p := base
				p.Rev = uint64((i*7+w)%revs + 1)
				rs, err := s.store.Upsert(s.t.Context(), alias, []indexer.Point{p})
				if err != nil {
					s.t.Errorf("Upsert: %v", err)
					return
				}
				if rs[0].Outcome == indexer.Applied {
					mu.Lock()
					applied[p.Rev]++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if got := s.get(base.ID); len(got) != 1 || got[0].Rev != revs {
		s.t.Errorf("stored %+v, want rev %d", got, revs)
	}
	for rev, n := range applied {
		if n > 1 || rev == revs && n != 1 {
			s.t.Errorf("rev %d was applied %d times", rev, n)
		}
	}
}

// TestRoundTrip: a point comes back as it was written, with vectors of length 1.
func (s *suite) TestRoundTrip() {
	p := s.point("a", "one", 1)
	s.upsert(p)
	for name, v := range p.Vectors {
		p.Vectors[name] = unit(v)
	}
	got := s.get(p.ID, indexer.NewPointID("a", "absent"))
	if d := cmp.Diff([]indexer.Point{p}, got, cmpopts.EquateApprox(0, 1e-6)); d != "" {
		s.t.Errorf("point changed (-wrote +read):\n%s", d)
	}
}

// TestSelfHit: a study finds itself with similarity 1, and by id never.
func (s *suite) TestSelfHit() {
	var ps []indexer.Point
	for i := range 50 {
		ps = append(ps, s.point("a", fmt.Sprint("study ", i), 1))
	}
	s.upsert(ps...)
	for _, name := range indexer.VectorNames() {
		hits := s.search(indexer.Query{Tenant: "a", Using: name, Vector: ps[7].Vectors[name], K: 3})
		if len(hits) != 3 || hits[0].Point.ID != ps[7].ID || math.Abs(float64(hits[0].Score)-1) > 1e-5 {
			s.t.Errorf("%s: best hit %+v, want study 7 with similarity 1", name, hits[0])
		}
		if hits[0].Score < hits[1].Score || hits[1].Score < hits[2].Score {
			s.t.Errorf("%s: hits are not sorted", name)
		}
	}
	byID := s.search(indexer.Query{Tenant: "a", Using: indexer.Image, ID: &ps[7].ID, K: 50})
	if len(byID) != 49 || slices.ContainsFunc(byID, func(h indexer.Hit) bool { return h.Point.ID == ps[7].ID }) {
		s.t.Errorf("search by id gave %d hits, want the other 49", len(byID))
	}
}

// TestTenants: nobody sees, counts or overwrites another tenant's study.
func (s *suite) TestTenants() {
	v := s.vector()
	for _, tenant := range []string{"a", "b"} {
		for i := range 5 {
			p := s.point(tenant, fmt.Sprint("study ", i), 1)
			p.Vectors[indexer.Image] = v
			s.upsert(p)
		}
	}
	s.upsert(s.point("b", "study 0", 2))
	for _, tenant := range []string{"a", "b", "c"} {
		hits := s.search(indexer.Query{Tenant: tenant, Using: indexer.Image, Vector: v, K: 100})
		want := 5
		if tenant == "c" {
			want = 0
		}
		if n := s.count(indexer.CountQuery{Tenant: tenant}); len(hits) != want || n != want {
			s.t.Errorf("tenant %s: %d hits, count %d, want %d", tenant, len(hits), n, want)
		}
		for _, h := range hits {
			if h.Point.Tenant != tenant {
				s.t.Errorf("tenant %s was shown a study of %s", tenant, h.Point.Tenant)
			}
		}
	}
	if got := s.get(indexer.NewPointID("a", "study 0")); got[0].Rev != 1 {
		s.t.Errorf("a write of tenant b changed a study of tenant a")
	}
	_, err := s.store.Search(s.t.Context(), indexer.Query{Collection: alias, Using: indexer.Image, Vector: v, K: 1})
	s.wantKind("search without a tenant", err, fault.Invalid)
}

// TestLabels: thresholds are inclusive and combine with and.
func (s *suite) TestLabels() {
	var ps []indexer.Point
	for i := range 20 {
		p := s.point("a", fmt.Sprint("study ", i), 1)
		p.Labels = map[string]float32{"effusion": float32(i) / 20, "edema": float32(i%4) / 4}
		ps = append(ps, p)
	}
	bare := s.point("a", "without labels", 1)
	bare.Labels = nil
	s.upsert(append(ps, bare)...)
	for _, c := range []struct {
		labels []indexer.LabelAtLeast
		want   func(p indexer.Point) bool
	}{
		{nil, func(indexer.Point) bool { return true }},
		{[]indexer.LabelAtLeast{{Name: "effusion", Min: 0.5}}, func(p indexer.Point) bool { return p.Labels != nil && p.Labels["effusion"] >= 0.5 }},
		{[]indexer.LabelAtLeast{{Name: "effusion", Min: 0.15}, {Name: "edema", Min: 0.75}}, func(p indexer.Point) bool {
			return p.Labels != nil && p.Labels["effusion"] >= 0.15 && p.Labels["edema"] >= 0.75
		}},
		{[]indexer.LabelAtLeast{{Name: "nodule", Min: 0}}, func(indexer.Point) bool { return false }},
	} {
		want := 0
		for _, p := range append(ps, bare) {
			if c.want(p) {
				want++
			}
		}
		hits := s.search(indexer.Query{Tenant: "a", Using: indexer.Image, Vector: s.vector(), K: 100, Labels: c.labels})
		if n := s.count(indexer.CountQuery{Tenant: "a", Labels: c.labels}); n != want || len(hits) != want {
			s.t.Errorf("labels %v: count %d and %d hits, want %d", c.labels, n, len(hits), want)
		}
		for _, h := range hits {
			if !c.want(h.Point) {
				s.t.Errorf("labels %v: hit with %v", c.labels, h.Point.Labels)
			}
		}
	}
	_, err := s.store.Count(s.t.Context(), indexer.CountQuery{Collection: alias, Labels: []indexer.LabelAtLeast{{Name: "a.b"}}})
	s.wantKind("a label name with a dot", err, fault.Invalid)
}

// TestViewsAndTimes: a hit has every view that is asked for and a time in the half-open
// range; a study without a time is in no range.
func (s *suite) TestViewsAndTimes() {
	day := func(n int) time.Time { return time.Date(2015, 1, n, 12, 0, 0, 0, time.UTC) }
	var ps []indexer.Point
	for i := range 20 {
		p := s.point("a", fmt.Sprint("study ", i), 1)
		p.StudyTime = day(i + 1)
		p.Views = [][]string{{"frontal"}, {"lateral"}, {"frontal", "lateral"}, nil}[i%4]
		ps = append(ps, p)
	}
	undated := s.point("a", "undated", 1)
	undated.StudyTime = time.Time{}
	ps = append(ps, undated)
	s.upsert(ps...)
	for _, c := range []struct {
		views    []string
		from, to time.Time
	}{
		{}, {views: []string{"frontal"}}, {views: []string{"frontal", "lateral"}}, {views: []string{"oblique"}},
		{from: day(5)}, {to: day(5)}, {from: day(5), to: day(9)}, {from: day(9), to: day(5)},
		{from: day(5).Add(time.Second), to: day(9).Add(-time.Second)}, {views: []string{"lateral"}, from: day(3), to: day(15)},
	} {
		want := map[string]bool{}
		for _, p := range ps {
			in := (c.from.IsZero() || !p.StudyTime.IsZero() && !p.StudyTime.Before(c.from)) && (c.to.IsZero() || !p.StudyTime.IsZero() && p.StudyTime.Before(c.to))
			for _, v := range c.views {
				in = in && slices.Contains(p.Views, v)
			}
			if in {
				want[p.StudyKey] = true
			}
		}
		got := map[string]bool{}
		for _, h := range s.search(indexer.Query{Tenant: "a", Using: indexer.Image, Vector: s.vector(), K: 100, Views: c.views, From: c.from, To: c.to}) {
			got[h.Point.StudyKey] = true
		}
		if d := cmp.Diff(want, got); d != "" {
			s.t.Errorf("views %v from %v to %v (-want +got):\n%s", c.views, c.from, c.to, d)
		}
	}
}

// TestMissingVectors: a study is found by the vectors it has, and a newer revision that
// lacks one takes it away.
func (s *suite) TestMissingVectors() {
	p := s.point("a", "frontal only", 1)
	delete(p.Vectors, indexer.Lateral)
	s.upsert(p, s.point("a", "all", 1))
	if n := len(s.search(indexer.Query{Tenant: "a", Using: indexer.Lateral, Vector: s.vector(), K: 9})); n != 1 {
		s.t.Errorf("%d hits by lateral, want 1", n)
	}
	if n := len(s.search(indexer.Query{Tenant: "a", Using: indexer.Image, Vector: s.vector(), K: 9})); n != 2 {
		s.t.Errorf("%d hits by image, want 2", n)
	}
	_, err := s.store.Search(s.t.Context(), indexer.Query{Collection: alias, Tenant: "a", Using: indexer.Lateral, ID: &p.ID, K: 1})
	s.wantKind("search by a vector that the study lacks", err, fault.NotFound)
	p.Rev, p.Vectors = 2, nil
	s.upsert(p)
	if n := len(s.search(indexer.Query{Tenant: "a", Using: indexer.Image, Vector: s.vector(), K: 9})); n != 1 {
		s.t.Errorf("%d hits by image after the vectors went, want 1", n)
	}
}

// TestWrongInput: wrong widths, unknown vectors and impossible points are Invalid and
// leave nothing behind.
func (s *suite) TestWrongInput() {
	change := func(f func(*indexer.Point)) indexer.Point {
		p := s.point("a", "one", 1)
		f(&p)
		return p
	}
	for name, p := range map[string]indexer.Point{
		"narrow":       change(func(p *indexer.Point) { p.Vectors[indexer.Image] = make([]float32, width-1) }),
		"wide":         change(func(p *indexer.Point) { p.Vectors[indexer.Image] = make([]float32, width+1) }),
		"unknown name": change(func(p *indexer.Point) { p.Vectors["axial"] = s.vector() }),
		"not a number": change(func(p *indexer.Point) { p.Vectors[indexer.Image][3] = float32(math.NaN()) }),
		"no tenant":    change(func(p *indexer.Point) { p.Tenant = "" }),
		"foreign id":   change(func(p *indexer.Point) { p.ID = indexer.NewPointID("b", "one") }),
		"huge rev":     change(func(p *indexer.Point) { p.Rev = indexer.MaxRev + 1 }),
		"label name":   change(func(p *indexer.Point) { p.Labels["a.b"] = 1 }),
	} {
		_, err := s.store.Upsert(s.t.Context(), alias, []indexer.Point{p})
		s.wantKind(name, err, fault.Invalid)
	}
	if n := s.count(indexer.CountQuery{}); n != 0 {
		s.t.Errorf("%d points were stored", n)
	}
	_, err := s.store.Search(s.t.Context(), indexer.Query{Collection: alias, Tenant: "a", Using: indexer.Image, Vector: make([]float32, width+1), K: 1})
	s.wantKind("query of another width", err, fault.Invalid)
	_, err = s.store.Search(s.t.Context(), indexer.Query{Collection: "nowhere", Tenant: "a", Using: indexer.Image, Vector: s.vector(), K: 1})
	s.wantKind("unknown collection", err, fault.NotFound)
	absent := indexer.NewPointID("a", "absent")
	_, err = s.store.Search(s.t.Context(), indexer.Query{Collection: alias, Tenant: "a", Using: indexer.Image, ID: &absent, K: 1})
	s.wantKind("query by an absent study", err, fault.NotFound)
}

// TestEnsure: doing it again is fine, other widths are a Conflict, and an alias in use is
// left where it points.
func (s *suite) TestEnsure() {
	s.upsert(s.point("a", "one", 1))
	if err := s.store.Ensure(s.t.Context(), spec()); err != nil {
		s.t.Errorf("Ensure again: %v", err)
	}
	other := spec()
	other.Vectors[indexer.Text] = width * 2
	s.wantKind("Ensure with another width", s.store.Ensure(s.t.Context(), other), fault.Conflict)
	second := spec()
	second.Collection = "studies__second"
	if err := s.store.Ensure(s.t.Context(), second); err != nil {
		s.t.Errorf("Ensure of a second collection: %v", err)
	}
	if n := s.count(indexer.CountQuery{Tenant: "a"}); n != 1 {
		s.t.Errorf("the alias moved: it shows %d studies, want 1", n)
	}
}

// TestPaging: pages by offset are the full ranking, cut.
func (s *suite) TestPaging() {
	for i := range 53 {
		s.upsert(s.point("a", fmt.Sprint("study ", i), 1))
	}
	q := indexer.Query{Tenant: "a", Using: indexer.Image, Vector: s.vector(), K: 100}
	all := s.search(q)
	if len(all) != 53 {
		s.t.Fatalf("%d hits, want 53", len(all))
	}
	var paged []indexer.Hit
	for q.K, q.Offset = 10, 0; q.Offset < 70; q.Offset += q.K {
		paged = append(paged, s.search(q)...)
	}
	if d := cmp.Diff(all, paged); d != "" {
		s.t.Errorf("pages differ from the whole (-whole +pages):\n%s", d)
	}
}

// TestTombstone: an erased study is gone from every answer and cannot come back.
func (s *suite) TestTombstone() {
	p := s.point("a", "erased", 7)
	s.upsert(p, s.point("a", "kept", 1))
	if got := s.upsert(indexer.NewTombstone("a", "erased")); got[0] != indexer.Applied {
		s.t.Errorf("tombstone: outcome %d", got[0])
	}
	p.Rev = indexer.MaxRev - 1
	rs, err := s.store.Upsert(s.t.Context(), alias, []indexer.Point{p})
	if err != nil || rs[0].Outcome != indexer.Refused || rs[0].Rev != indexer.MaxRev || rs[0].Announce(p) {
		s.t.Errorf("write after erasing: %+v, %v; want refused and not announced", rs, err)
	}
	if got := s.get(p.ID); len(got) != 1 || !got[0].Tombstone() || got[0].Tenant != "" || len(got[0].Vectors) != 0 {
		s.t.Errorf("tombstone holds %+v", got)
	}
	for _, tenant := range []string{"a", ""} {
		if n := s.count(indexer.CountQuery{Tenant: tenant}); n != 1 {
			s.t.Errorf("count of tenant %q: %d, want 1", tenant, n)
		}
	}
	if hits := s.search(indexer.Query{Tenant: "a", Using: indexer.Image, Vector: p.Vectors[indexer.Image], K: 9}); len(hits) != 1 {
		s.t.Errorf("%d hits, want 1", len(hits))
	}
}

// TestRestart: what was acknowledged is there after the server was restarted.
func (s *suite) TestRestart() {
	r, ok := s.store.(Restarter)
	if !ok {
		s.t.Fatalf("%T cannot be restarted; durability is part of the contract", s.store)
	}
	var ps []indexer.Point
	var ids []indexer.PointID
	for i := range 300 {
		ps = append(ps, s.point("a", fmt.Sprint("study ", i), uint64(i)))
		ids = append(ids, ps[i].ID)
	}
	s.upsert(ps...)
	s.upsert(indexer.NewTombstone("a", "study 5"))
	q := indexer.Query{Tenant: "a", Using: indexer.Text, Vector: s.vector(), K: 20}
	points, hits := s.get(ids...), s.search(q)
	for range 2 {
		r.Restart()
		if d := cmp.Diff(points, s.get(ids...)); d != "" {
			s.t.Fatalf("points changed (-before +after):\n%s", d)
		}
		if d := cmp.Diff(hits, s.search(q)); d != "" {
			s.t.Fatalf("hits changed (-before +after):\n%s", d)
		}
	}
	if got := s.upsert(s.point("a", "study 8", 8), s.point("a", "study 9", 10)); !slices.Equal(got, []indexer.Outcome{indexer.Refused, indexer.Applied}) {
		s.t.Errorf("outcomes after the restart: %v", got)
	}
}

func (s *suite) wantKind(what string, err error, want fault.Kind) {
	s.t.Helper()
	if err == nil || fault.KindOf(err) != want {
		s.t.Errorf("%s: error %v, want one of kind %s", what, err, want)
	}
}

func unit(v []float32) []float32 {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(float64(x) / math.Sqrt(sum))
	}
	return out
}
