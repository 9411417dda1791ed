// Package storetest is the one conformance suite for every [indexer.Store]. Its cases are
// the methods of suite whose names begin with Test, found by reflection, so that a new
// case reaches every store.
package storetest

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/radstream/radstream/indexer"
)

// width of the vectors that the suite writes.
const width = 16

// collection and alias that each case starts with.
const (
	collection = "studies__test"
	alias      = "studies"
)

// Restarter is implemented by the stores under test: Restart ends the server behind the
// store and starts it anew over the same data. The store keeps working afterwards.
type Restarter interface{ Restart() }

// Run runs every case against a fresh, empty store that open makes.
func Run(t *testing.T, open func(t *testing.T) indexer.Store) {
	cases := reflect.TypeFor[*suite]()
	n := 0
	for i := range cases.NumMethod() {
		m := cases.Method(i)
		if !strings.HasPrefix(m.Name, "Test") {
			continue
		}
		n++
		t.Run(strings.TrimPrefix(m.Name, "Test"), func(t *testing.T) {
			s := &suite{t: t, store: open(t), rng: rand.New(rand.NewPCG(1, 2))}
			if err := s.store.Ensure(t.Context(), spec()); err != nil {
				t.Fatalf("Ensure: %v", err)
			}
			m.Func.Call([]reflect.Value{reflect.ValueOf(s)})
		})
	}
	if n == 0 {
		t.Fatal("no cases found")
	}
}

type suite struct {
	t     *testing.T
	store indexer.Store
	rng   *rand.Rand
}

func spec() indexer.Spec {
	s := indexer.Spec{Collection: collection, Alias: alias, Vectors: map[indexer.VectorName]int{}, Labels: []string{"effusion", "edema", "nodule"}}
	for _, name := range indexer.VectorNames() {
		s.Vectors[name] = width
	}
	return s
}

// point makes a study with random vectors of length 1.
func (s *suite) point(tenant, study string, rev uint64) indexer.Point {
	p := indexer.Point{
		ID: indexer.NewPointID(tenant, study), Tenant: tenant, StudyKey: study, PatientKey: "patient-" + study, Rev: rev, ModelRef: "tiny@1",
		Vectors: map[indexer.VectorName][]float32{}, Labels: map[string]float32{"effusion": s.rng.Float32(), "edema": s.rng.Float32()},
		Views: []string{"frontal", "lateral"}, StudyTime: time.Date(2019, 5, 6, 7, 8, 9, 123456000, time.UTC), PrepID: study + "/prep", PreparationVersion: "p1",
	}
	for _, name := range indexer.VectorNames() {
		p.Vectors[name] = s.vector()
	}
	return p
}

func (s *suite) vector() []float32 {
	v := make([]float32, width)
	for i := range v {
		v[i] = float32(s.rng.NormFloat64())
	}
	return v
}

// upsert writes points and returns their outcomes.
func (s *suite) upsert(ps ...indexer.Point) []indexer.Outcome {
	s.t.Helper()
	rs, err := s.store.Upsert(s.t.Context(), alias, ps)
	if err != nil {
		s.t.Fatalf("Upsert: %v", err)
	}
	if len(rs) != len(ps) {
		s.t.Fatalf("Upsert of %d points returned %d results", len(ps), len(rs))
	}
	out := make([]indexer.Outcome, len(rs))
	for i, r := range rs {
		out[i] = r.Outcome
	}
	return out
}

func (s *suite) get(ids ...indexer.PointID) []indexer.Point {
	s.t.Helper()
	ps, err := s.store.Get(s.t.Context(), alias, ids)
	if err != nil {
		s.t.Fatalf("Get: %v", err)
	}
	return ps
}

func (s *suite) search(q indexer.Query) []indexer.Hit {
	s.t.Helper()
	q.Collection = alias
	hits, err := s.store.Search(s.t.Context(), q)
	if err != nil {
		s.t.Fatalf("Search: %v", err)
	}
	return hits
}

func (s *suite) count(q indexer.CountQuery) int {
	s.t.Helper()
	q.Collection = alias
	n, err := s.store.Count(s.t.Context(), q)
	if err != nil {
		s.t.Fatalf("Count: %v", err)
	}
	return n
}
