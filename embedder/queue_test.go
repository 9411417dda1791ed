package embedder

import (
	"context"
	"errors"
	"fmt"
	"image"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
)

// graph is a run that takes a while and writes down what it was given. An input is its bucket
// times 100 and a number; the output is its negative.
type graph struct {
	takes time.Duration // a batch
	slow  time.Duration // what a batch of bucket 1 takes beside
	holds bool          // a run waits for hold as well
	hold  chan struct{}

	mu    sync.Mutex
	begin time.Time
	runs  []string // "MILLISECONDS BATCH"
	ended []error  // of the contexts of runs that were cut short
}

func (g *graph) run(ctx context.Context, bucket int, batch []int) ([]int, error) {
	g.mu.Lock()
	g.runs = append(g.runs, fmt.Sprint(time.Since(g.begin).Milliseconds(), " ", batch))
	g.mu.Unlock()
	out := make([]int, len(batch))
	for i, in := range batch {
		if in/100 != bucket {
			return nil, fmt.Errorf("input %d in bucket %d", in, bucket)
		}
		out[i] = -in
	}
	takes := g.takes
	if bucket == 1 {
		takes += g.slow
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		g.mu.Lock()
		defer g.mu.Unlock()
		g.ended = append(g.ended, ctx.Err())
		return nil, ctx.Err()
	}
	if g.holds {
		<-g.hold
	}
	return out, nil
}

// serve runs f in a bubble over a queue of batches of four, run as on a CPU.
func serve(t *testing.T, g *graph, f func(t *testing.T, q *queue[int, int], stalls *[]string)) {
	t.Helper()
	serveOn(t, ort.CPU, g, f)
}

func serveOn(t *testing.T, d ort.Device, g *graph, f func(t *testing.T, q *queue[int, int], stalls *[]string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		g.begin, g.hold = time.Now(), make(chan struct{}) // of the bubble
		var stalls []string
		q := &queue[int, int]{graph: "graph", run: g.run, bucket: func(in int) int { return in / 100 }, max: 4,
			inFlight: batchesInFlight(d), deadline: 5 * time.Millisecond, patience: time.Second,
			stalled: func(name string, now bool) { stalls = append(stalls, fmt.Sprint(name, " ", now)) }}
		q.start()
		defer q.close()
		f(t, q, &stalls)
	})
}

// ask sends a request on its own goroutine.
func ask(t *testing.T, q *queue[int, int], l lane, inputs ...int) <-chan error {
	done := make(chan error, 1)
	go func() {
		out, err := q.do(t.Context(), l, inputs)
		for i := range out {
			if out[i] != -inputs[i] {
				err = errors.Join(err, fmt.Errorf("%d is answered with %d", inputs[i], out[i]))
			}
		}
		done <- err
	}()
	synctest.Wait()
	return done
}

func numbers(from, n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = from + i
	}
	return all
}

func TestQueueOrder(t *testing.T) {
	type request struct {
		at     time.Duration
		lane   lane
		inputs []int
	}
	for _, c := range []struct {
		name     string
		requests []request
		want     []string
	}{
		{"full batches at once, the rest after the deadline", []request{{0, bulk, numbers(0, 10)}}, []string{"0 [0 1 2 3]", "10 [4 5 6 7]", "20 [8 9]"}},
		{"one waits for others", []request{{0, bulk, []int{1}}, {3 * time.Millisecond, bulk, []int{2}}}, []string{"5 [1 2]"}},
		{"others fill the batch", []request{{0, bulk, []int{1}}, {2 * time.Millisecond, bulk, []int{2, 3, 4}}}, []string{"2 [1 2 3 4]"}},
		{"no batch of three", []request{{0, bulk, numbers(0, 3)}}, []string{"5 [0 1]", "15 [2]"}},
		{"nobody waits for a query", []request{{0, interactive, []int{1}}}, []string{"0 [1]"}},
		{"a query waits for no bulk batch, and the next one for it", []request{{0, bulk, numbers(0, 16)}, {12 * time.Millisecond, interactive, []int{50}}},
			[]string{"0 [0 1 2 3]", "10 [4 5 6 7]", "12 [50]", "22 [8 9 10 11]", "32 [12 13 14 15]"}},
		{"queries run together", []request{{0, interactive, []int{1}}, {time.Millisecond, interactive, []int{2}}, {2 * time.Millisecond, interactive, []int{3}}},
			[]string{"0 [1]", "10 [2 3]"}},
		{"buckets run apart", []request{{0, bulk, []int{1, 101, 2, 102, 3, 103, 4, 104}}}, []string{"0 [1 2 3 4]", "10 [101 102 103 104]"}},
		{"the oldest bucket first", []request{{0, bulk, []int{301, 101, 102}}}, []string{"5 [301]", "15 [101 102]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &graph{takes: 10 * time.Millisecond}
			serve(t, g, func(t *testing.T, q *queue[int, int], _ *[]string) {
				var done []<-chan error
				for _, r := range c.requests {
					<-time.After(time.Until(g.begin.Add(r.at)))
					done = append(done, ask(t, q, r.lane, r.inputs...))
				}
				for _, d := range done {
					if err := <-d; err != nil {
						t.Error(err)
					}
				}
				if d := cmp.Diff(c.want, g.runs); d != "" {
					t.Errorf("runs, by millisecond (-want +got)\n%s", d)
				}
			})
		})
	}
}

// TestQueueIsBounded: while the graph is busy, callers of bulk work are held after four batches,
// and a query still comes in.
func TestQueueIsBounded(t *testing.T) {
	g := &graph{holds: true}
	serve(t, g, func(t *testing.T, q *queue[int, int], _ *[]string) {
		first := ask(t, q, bulk, numbers(0, 50)...)
		q.mu.Lock()
		waiting := len(q.waiting[bulk])
		q.mu.Unlock()
		if waiting != 16 {
			t.Errorf("%d bulk requests wait, want 16", waiting)
		}
		query := ask(t, q, interactive, 99)
		close(g.hold)
		if err := errors.Join(<-first, <-query); err != nil {
			t.Error(err)
		}
		if g.runs[1] != "0 [99]" {
			t.Errorf("the query is not next: %v", g.runs)
		}
	})
}

func TestQueueGivesUp(t *testing.T) {
	g := &graph{takes: 10 * time.Millisecond}
	serve(t, g, func(t *testing.T, q *queue[int, int], _ *[]string) {
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			_, err := q.do(ctx, bulk, numbers(0, 8))
			gone <- err
		}()
		synctest.Wait()
		stays := ask(t, q, bulk, numbers(20, 4)...)
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := <-stays; err != nil {
			t.Error(err)
		}
		if d := cmp.Diff([]string{"0 [0 1 2 3]", "0 [20 21 22 23]"}, g.runs); d != "" || len(g.ended) != 1 {
			t.Errorf("nobody waits for the first, and it runs on; %v\n%s", g.ended, d)
		}
	})
}

func TestQueueEnds(t *testing.T) {
	g := &graph{takes: 10 * time.Millisecond}
	serve(t, g, func(t *testing.T, q *queue[int, int], _ *[]string) {
		runs, waits := ask(t, q, interactive, 1), ask(t, q, bulk, numbers(0, 99)...)
		q.close()
		if err := <-runs; err != nil {
			t.Errorf("in flight: %v", err)
		}
		if err := <-waits; fault.KindOf(err) != fault.Conflict || err == nil {
			t.Errorf("waiting: %v", err)
		}
		if _, err := q.do(t.Context(), interactive, []int{1}); fault.KindOf(err) != fault.Conflict || err == nil {
			t.Errorf("closed: %v", err)
		}
		q.close()
	})
}

// TestWatchdog: a graph that hangs is reported, queries are refused, bulk work waits; once it
// answers again, all goes on.
func TestWatchdog(t *testing.T) {
	g := &graph{holds: true}
	serve(t, g, func(t *testing.T, q *queue[int, int], stalls *[]string) {
		running, waiting, archive := ask(t, q, interactive, 1), ask(t, q, interactive, 2), ask(t, q, bulk, 3)
		<-time.After(time.Second - 1)
		if len(*stalls) != 0 {
			t.Fatal("reported too early")
		}
		begin := time.Now()
		for _, c := range []<-chan error{running, waiting, ask(t, q, interactive, 4)} {
			if err := <-c; fault.KindOf(err) != fault.Unavailable {
				t.Errorf("a query: %v", err)
			}
		}
		if d := time.Since(begin); d > time.Millisecond {
			t.Errorf("queries were refused after another %v", d)
		}
		if _, err := q.do(t.Context(), interactive, []int{5}); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("a query that comes later: %v", err)
		}
		if d := cmp.Diff([]string{"graph true"}, *stalls); d != "" {
			t.Error(d)
		}
		close(g.hold)
		if err := errors.Join(<-archive, <-ask(t, q, interactive, 6)); err != nil {
			t.Error(err)
		}
		if d := cmp.Diff([]string{"graph true", "graph false"}, *stalls); d != "" {
			t.Error(d)
		}
		if got := len(q.places[interactive]) + len(q.places[bulk]); got != 0 {
			t.Errorf("%d places are still taken", got)
		}
	})
}

// TestWatchdogOfBulk: a query is refused, too, when it is the archive's run that hangs.
func TestWatchdogOfBulk(t *testing.T) {
	g := &graph{holds: true}
	serve(t, g, func(t *testing.T, q *queue[int, int], stalls *[]string) {
		archive := ask(t, q, bulk, 1)
		<-time.After(2 * time.Second)
		if err := <-ask(t, q, interactive, 2); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("a query: %v", err)
		}
		close(g.hold)
		if err := errors.Join(<-archive, <-ask(t, q, interactive, 3)); err != nil {
			t.Error(err)
		}
		if d := cmp.Diff([]string{"graph true", "graph false"}, *stalls); d != "" {
			t.Error(d)
		}
	})
}

// TestSlowBulk: queries that are answered go on beside a run of the archive that takes too long.
func TestSlowBulk(t *testing.T) {
	g := &graph{takes: 10 * time.Millisecond}
	serve(t, g, func(t *testing.T, q *queue[int, int], stalls *[]string) {
		g.takes = 1100 * time.Millisecond
		archive := ask(t, q, bulk, numbers(0, 4)...)
		g.takes = 10 * time.Millisecond
		for range 20 {
			<-time.After(100 * time.Millisecond)
			if err := <-ask(t, q, interactive, 50); err != nil {
				t.Errorf("a query: %v", err)
			}
		}
		if err := <-archive; err != nil {
			t.Error(err)
		}
		if d := cmp.Diff([]string{"graph true", "graph false"}, *stalls); d != "" {
			t.Error(d)
		}
	})
}

// TestTwoInFlight: on a GPU two bulk batches run at a time, and all else is as on a CPU.
func TestTwoInFlight(t *testing.T) {
	type request struct {
		at     time.Duration
		lane   lane
		inputs []int
	}
	for _, c := range []struct {
		name     string
		requests []request
		want     []string // sorted: two may begin at once
	}{
		{"two full batches at once", []request{{0, bulk, numbers(0, 16)}}, []string{"0 [0 1 2 3]", "0 [4 5 6 7]", "10 [12 13 14 15]", "10 [8 9 10 11]"}},
		{"the rest when one ends", []request{{0, bulk, numbers(0, 10)}}, []string{"0 [0 1 2 3]", "0 [4 5 6 7]", "10 [8 9]"}},
		{"the rest after the deadline, beside one", []request{{0, bulk, numbers(0, 6)}}, []string{"0 [0 1 2 3]", "5 [4 5]"}},
		{"one waits for others, not for a place", []request{{0, bulk, []int{1}}, {3 * time.Millisecond, bulk, []int{2}}}, []string{"5 [1 2]"}},
		{"buckets run side by side", []request{{0, bulk, []int{201, 1, 202, 2, 203, 3, 204, 4}}}, []string{"0 [1 2 3 4]", "0 [201 202 203 204]"}},
		{"the later batch ends first", []request{{0, bulk, []int{101, 102, 103, 104, 1, 2, 3, 4, 5}}}, []string{"0 [1 2 3 4]", "0 [101 102 103 104]", "10 [5]"}},
		{"after a query two go on", []request{{0, bulk, numbers(0, 16)}, {2 * time.Millisecond, interactive, []int{50}}},
			[]string{"0 [0 1 2 3]", "0 [4 5 6 7]", "12 [12 13 14 15]", "12 [8 9 10 11]", "2 [50]"}},
		{"queries run one batch after the other", []request{{0, interactive, []int{1}}, {time.Millisecond, interactive, []int{2}}, {2 * time.Millisecond, interactive, []int{3}}},
			[]string{"0 [1]", "10 [2 3]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &graph{takes: 10 * time.Millisecond, slow: 30 * time.Millisecond}
			serveOn(t, ort.CUDA, g, func(t *testing.T, q *queue[int, int], _ *[]string) {
				var done []<-chan error
				for _, r := range c.requests {
					<-time.After(time.Until(g.begin.Add(r.at)))
					done = append(done, ask(t, q, r.lane, r.inputs...))
				}
				for _, d := range done {
					if err := <-d; err != nil {
						t.Error(err)
					}
				}
				slices.Sort(g.runs)
				if d := cmp.Diff(c.want, g.runs); d != "" {
					t.Errorf("runs, by millisecond (-want +got)\n%s", d)
				}
			})
		})
	}
}

// TestTwoInFlightAreBounded: two batches run, four wait, and further callers of bulk work are held.
func TestTwoInFlightAreBounded(t *testing.T) {
	g := &graph{holds: true}
	serveOn(t, ort.CUDA, g, func(t *testing.T, q *queue[int, int], _ *[]string) {
		first := ask(t, q, bulk, numbers(0, 50)...)
		q.mu.Lock()
		waiting := len(q.waiting[bulk])
		q.mu.Unlock()
		if waiting != 16 || len(g.runs) != 2 {
			t.Errorf("%d bulk requests wait, want 16; %v run", waiting, g.runs)
		}
		query := ask(t, q, interactive, 99)
		if len(g.runs) != 3 {
			t.Errorf("the query waits: %v", g.runs)
		}
		close(g.hold)
		if err := errors.Join(<-first, <-query); err != nil {
			t.Error(err)
		}
	})
}

// TestOneOfTwoGivesUp: of two batches that run, the one that nobody waits for ends.
func TestOneOfTwoGivesUp(t *testing.T) {
	g := &graph{takes: 10 * time.Millisecond}
	serveOn(t, ort.CUDA, g, func(t *testing.T, q *queue[int, int], _ *[]string) {
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			_, err := q.do(ctx, bulk, numbers(0, 4))
			gone <- err
		}()
		synctest.Wait()
		stays, next := ask(t, q, bulk, numbers(20, 4)...), ask(t, q, bulk, numbers(30, 4)...)
		<-time.After(time.Millisecond)
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := errors.Join(<-stays, <-next); err != nil {
			t.Error(err)
		}
		if d := cmp.Diff([]string{"0 [0 1 2 3]", "0 [20 21 22 23]", "1 [30 31 32 33]"}, g.runs); d != "" || len(g.ended) != 1 {
			t.Errorf("ended early: %v\n%s", g.ended, d)
		}
	})
}

// TestWatchdogOfTwo: the device hangs once, and answers again when neither run hangs.
func TestWatchdogOfTwo(t *testing.T) {
	g := &graph{holds: true}
	serveOn(t, ort.CUDA, g, func(t *testing.T, q *queue[int, int], stalls *[]string) {
		archive := ask(t, q, bulk, numbers(0, 8)...)
		told := func(when string, want ...string) {
			t.Helper()
			synctest.Wait()
			if d := cmp.Diff(want, *stalls); d != "" {
				t.Errorf("%s: %s", when, d)
			}
		}
		<-time.After(2 * time.Second)
		told("both hang", "graph true")
		g.hold <- struct{}{}
		told("one hangs", "graph true")
		if err := <-ask(t, q, interactive, 9); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("a query: %v", err)
		}
		close(g.hold)
		if err := errors.Join(<-archive, <-ask(t, q, interactive, 9)); err != nil {
			t.Error(err)
		}
		told("both answer", "graph true", "graph false")
	})
}

// TestTwoInFlightEnd: close waits for both runs, whose callers are answered, and refuses what waits.
func TestTwoInFlightEnd(t *testing.T) {
	g := &graph{holds: true}
	serveOn(t, ort.CUDA, g, func(t *testing.T, q *queue[int, int], _ *[]string) {
		first, second, waits := ask(t, q, bulk, numbers(0, 4)...), ask(t, q, bulk, numbers(10, 4)...), ask(t, q, bulk, numbers(20, 40)...)
		closed := make(chan struct{})
		go func() {
			q.close()
			close(closed)
		}()
		for range 2 {
			synctest.Wait()
			select {
			case <-closed:
				t.Fatal("closed while a run is in flight")
			default:
			}
			g.hold <- struct{}{}
		}
		<-closed
		if err := errors.Join(<-first, <-second); err != nil {
			t.Errorf("in flight: %v", err)
		}
		if err := <-waits; fault.KindOf(err) != fault.Conflict || err == nil {
			t.Errorf("waiting: %v", err)
		}
	})
}

func TestBatchSizes(t *testing.T) {
	for most, want := range map[int][]int{1: {1}, 4: {1, 2, 4}, 12: {1, 2, 4, 8, 12}} {
		if d := cmp.Diff(want, batchSizes(most)); d != "" {
			t.Errorf("%d: %s", most, d)
		}
		for n := 1; n < 40; n++ {
			if got := batchSize(n, most); got > n || !slices.Contains(want, got) {
				t.Errorf("%d of %d run as %d", n, most, got)
			}
		}
	}
	for limit, want := range map[int][]int{12: {12}, 16: {16}, 100: {16, 32, 64, 100}} {
		if d := cmp.Diff(want, lengths(limit)); d != "" {
			t.Errorf("%d: %s", limit, d)
		}
		for n := 1; n <= limit; n++ {
			if !slices.Contains(want, paddedLength(n, limit)) || paddedLength(n, limit) < n {
				t.Errorf("%d tokens of %d are padded to %d", n, limit, paddedLength(n, limit))
			}
		}
	}
}

// TestImageBucket: images share a batch when they have one exposed box, in patches.
func TestImageBucket(t *testing.T) {
	e := &Encoder{manifest: &model.Manifest{Config: model.Tiny()}}
	bucket := func(r image.Rectangle) int { return e.imageBucket(Image{Exposed: r}) }
	whole := bucket(image.Rect(0, 0, 224, 224))
	if bucket(image.Rect(15, 0, 224, 209)) != whole {
		t.Error("boxes of the same patches are told apart")
	}
	seen := map[int]bool{whole: true}
	for _, r := range []image.Rectangle{image.Rect(16, 0, 224, 224), image.Rect(0, 16, 224, 224), image.Rect(0, 0, 208, 224), image.Rect(0, 0, 224, 208)} {
		if b := bucket(r); seen[b] {
			t.Errorf("%v shares a batch with another box", r)
		} else {
			seen[b] = true
		}
	}
}
