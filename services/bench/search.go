package bench

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/indexer/flat"
	"github.com/radstream/radstream/indexer/qdrant"
	"github.com/radstream/radstream/indexer/qdrantd"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/bench/venv"
)

//go:embed peer/search.py
var searchScript string

//go:embed peer/search.txt
var searchPins []byte

// selectivities are the parts of the points, in percent, that the filtered queries of
// [Search] meet.
var selectivities = [...]float64{0.1, 1, 10, 50, 100}

// SearchConfig says what [Search] measures.
type SearchConfig struct {
	Points   []int // sizes of the collections
	Width    int   // elements of a vector
	Queries  int   // of each kind
	Edge     bool  // run Qdrant's engine too
	Venv     string
	Progress func(points int) // of all sizes together; may be nil
}

// SearchFigures are those of one collection. Times are of one call at a time, from the call to
// its answer, through the client that the indexer uses and gRPC over loopback.
type SearchFigures struct {
	Points  int        `json:"points"`
	Width   int        `json:"width"`
	Search  Latency    `json:"search"`
	Upsert  float64    `json:"upsert_per_s"`       // in batches of 256, conditional on the revision, synced, and read back
	One     Latency    `json:"one_upsert"`         // of one point, likewise
	Memory  float64    `json:"heap_bytes_a_point"` // payload and indexes included
	Mapped  float64    `json:"mapped_bytes_a_point"`
	Filters []Filtered `json:"filters"`
	Qdrant  *Latency   `json:"qdrant_1_17_1_exact,omitempty"` // p50 only; see [Search]
	HNSW    *Latency   `json:"qdrant_1_17_1_hnsw,omitempty"`
	Edge    *Latency   `json:"edge,omitempty"` // Qdrant's engine in process, exact, without gRPC
}

// Latency is in milliseconds; 0 was not measured.
type Latency struct {
	P50 float64 `json:"p50_ms"`
	P95 float64 `json:"p95_ms,omitempty"`
	P99 float64 `json:"p99_ms,omitempty"`
}

// Filtered are queries with a filter on an indexed label.
type Filtered struct {
	Percent float64 `json:"percent"` // of the points that meet it
	P50     float64 `json:"p50_ms"`
	Ratio   float64 `json:"ratio"` // to the queries without it
}

// recorded are p50s of a Qdrant 1.17.1 that was built from source, on two cores, with vectors of
// 512, over gRPC. They were measured once for the project's goals and cannot be had here: no
// package index ships a Qdrant server.
var recorded = map[int]struct{ exact, hnsw float64 }{20000: {2.84, 1.53}, 100000: {11.5, 2.95}}

// Search fills an embedded index in a directory of its own with random unit vectors, for each
// size, and times what the indexer and the query service ask of it. As every query of theirs,
// each names a tenant, here that of all points. The directory is removed.
//
// Errors: Unavailable, there is no room on disk or the peer cannot be started.
func Search(ctx context.Context, c SearchConfig) (all []SearchFigures, err error) {
	const op = "bench.Search"
	done := 0
	for _, n := range c.Points {
		if n < 1 || c.Width < 1 || c.Queries < 1 {
			return nil, fault.Errorf(op, fault.Usage, "points, width and queries are at least 1")
		}
		figures, err := c.one(ctx, n, func(more int) {
			if done += more; c.Progress != nil {
				c.Progress(done)
			}
		})
		if err != nil {
			return nil, fault.Wrap(op, err)
		}
		all = append(all, figures)
	}
	return all, nil
}

func (c SearchConfig) one(ctx context.Context, n int, progress func(int)) (f SearchFigures, err error) {
	const op = "bench.Search"
	f = SearchFigures{Points: n, Width: c.Width}
	dir, err := os.MkdirTemp("", "radstream-bench-")
	if err != nil {
		return f, fault.E(op, fault.Unavailable, err)
	}
	defer func() { err = errors.Join(err, fault.E(op, fault.Unavailable, os.RemoveAll(dir))) }()
	before := heap()
	client, db, stop, err := serveIndex(filepath.Join(dir, "index"))
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	const collection, label = "bench", "share"
	if err := client.Ensure(ctx, indexer.Spec{Collection: collection, Vectors: map[indexer.VectorName]int{indexer.Image: c.Width}, Labels: []string{label}}); err != nil {
		return f, err
	}
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	vector := func() []float32 {
		v := make([]float32, c.Width)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		return v
	}
	point := func(i int, rev uint64) indexer.Point {
		study := fmt.Sprint("study ", i)
		return indexer.Point{ID: indexer.NewPointID("t", study), Tenant: "t", StudyKey: study, PatientKey: study, Rev: rev, ModelRef: "bench@1",
			Vectors: map[indexer.VectorName][]float32{indexer.Image: vector()}, Labels: map[string]float32{label: (float32(i*7919%n) + 0.5) / float32(n)}}
	}
	const batch = 256
	var writing time.Duration
	for at := 0; at < n; at += batch {
		points := make([]indexer.Point, min(batch, n-at))
		for i := range points {
			points[i] = point(at+i, 1)
		}
		start := time.Now()
		if _, err := client.Upsert(ctx, collection, points); err != nil {
			return f, err
		}
		writing += time.Since(start)
		progress(len(points))
	}
	f.Upsert = float64(n) / writing.Seconds()
	f.Memory, f.Mapped = float64(heap()-before)/float64(n), float64(db.Mapped())/float64(n)

	var ones []float64
	for i := range min(c.Queries, n) {
		p := []indexer.Point{point(i, 2)}
		ms, err := clock(func() error { _, err := client.Upsert(ctx, collection, p); return err })
		if err != nil {
			return f, err
		}
		ones = append(ones, ms)
	}
	f.One = latency(ones)

	// The kinds of query take turns, so that all meet the same weather.
	plain, filtered := []float64{}, make([][]float64, len(selectivities))
	for range c.Queries {
		q := indexer.Query{Collection: collection, Tenant: "t", Using: indexer.Image, Vector: vector(), K: 10}
		search := func() error { _, err := client.Search(ctx, q); return err }
		ms, err := clock(search)
		if err != nil {
			return f, err
		}
		plain = append(plain, ms)
		for i, percent := range selectivities {
			q.Labels = []indexer.LabelAtLeast{{Name: label, Min: float32(1 - percent/100)}}
			if ms, err = clock(search); err != nil {
				return f, err
			}
			filtered[i] = append(filtered[i], ms)
		}
	}
	f.Search = latency(plain)
	for i, percent := range selectivities {
		p50 := latency(filtered[i]).P50
		f.Filters = append(f.Filters, Filtered{percent, p50, p50 / f.Search.P50})
	}
	if r, ok := recorded[n]; ok && c.Width == 512 {
		f.Qdrant, f.HNSW = &Latency{P50: r.exact}, &Latency{P50: r.hnsw}
	}
	if c.Edge {
		f.Edge, err = c.edge(ctx, filepath.Join(dir, "edge"), n)
	}
	return f, err
}

// edge runs Qdrant's engine over as many vectors.
func (c SearchConfig) edge(ctx context.Context, dir string, n int) (*Latency, error) {
	const op = "bench.edge"
	python, err := venv.Make(ctx, c.Venv, searchPins)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fault.E(op, fault.Unavailable, err)
	}
	out, err := exec.CommandContext(ctx, python, "-c", searchScript, dir, strconv.Itoa(n), strconv.Itoa(c.Width), strconv.Itoa(c.Queries)).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fault.Errorf(op, fault.Internal, "Qdrant's engine failed: %w\n%s", err, exit.Stderr)
	}
	if err != nil {
		return nil, fault.E(op, fault.Unavailable, err)
	}
	var l Latency
	return &l, fault.E(op, fault.Internal, json.Unmarshal(out, &l))
}

// serveIndex starts an embedded index in dir and returns a client of it.
func serveIndex(dir string) (*qdrant.Client, *flat.DB, func() error, error) {
	const op = "bench.serveIndex"
	db, err := flat.Open(dir, flat.Options{})
	if err != nil {
		return nil, nil, nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, nil, errors.Join(fault.E(op, fault.Unavailable, err), db.Close())
	}
	server := qdrantd.New(db)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	client, err := qdrant.Dial(l.Addr().String(), "", false)
	stop := func() error {
		var closing error
		if client != nil {
			closing = client.Close()
		}
		server.Stop(context.Background())
		return errors.Join(closing, <-served, db.Close())
	}
	if err != nil {
		return nil, nil, nil, errors.Join(err, stop())
	}
	return client, db, stop, nil
}

func clock(f func() error) (ms float64, err error) {
	start := time.Now()
	err = f()
	return time.Since(start).Seconds() * 1000, err
}

func latency(ms []float64) Latency {
	slices.Sort(ms)
	at := func(percent int) float64 { return ms[min(len(ms)-1, len(ms)*percent/100)] }
	return Latency{at(50), at(95), at(99)}
}

func heap() int64 {
	runtime.GC()
	runtime.GC() // what finalizers held goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
