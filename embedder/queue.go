package embedder

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/schemas/fault"
)

// lane says whose request goes first.
type lane int

// The lanes, the first served first.
const (
	interactive lane = iota // somebody waits for the answer
	bulk                    // the archive
	lanes
)

// queue is the one way to a graph: it collects the requests of all callers and runs those of each
// lane in batches, one after the other; bulk batches several at a time on a device that gains by it.
//
//	callers -> interactive -> batch of one bucket -> run -> answers
//	        -> bulk --------> batch of one bucket -> run -> answers
//
// Interactive requests go at once, or together with those that came during the run before. They run
// beside a bulk batch that has begun, since waiting for it takes longer than sharing the device; no
// other begins as long as they keep coming: bulk work rests then, where it is kept already. Bulk
// requests wait until a batch is full, or until the oldest has waited for the deadline.
//
// Batches have few sizes, see [batchSize], and hold requests of one bucket, so that the graph sees
// few shapes. Each lane has a bound; past it callers wait, and with them whatever feeds them.
type queue[In, Out any] struct {
	graph    string // for messages
	run      func(ctx context.Context, bucket int, batch []In) ([]Out, error)
	bucket   func(In) int
	max      int // requests of one batch
	inFlight int // bulk batches in flight at a time, at least 1; see [batchesInFlight]
	deadline time.Duration
	patience time.Duration // how long a run may take; see [Options.Patience]
	stalled  func(graph string, stalled bool)

	places [lanes]chan struct{} // holds one for each request that waits
	wake   [lanes]chan struct{} // told of news; holds one, and wakes one who serves the lane
	end    chan struct{}        // closed to stop
	ended  chan struct{}        // closed when no lane runs any more

	mu      sync.Mutex
	waiting [lanes][]*request[In, Out] // oldest first
	running []*request[In, Out]        // the interactive batch in flight
	stalls  int                        // runs in flight that have outlasted patience
	hangs   int                        // of those, what nobody should wait for
	last    time.Time                  // an interactive run was answered
	closed  bool
}

type request[In, Out any] struct {
	ctx    context.Context
	in     In
	bucket int
	came   time.Time
	answer chan answer[Out] // holds one; the first counts
}

type answer[Out any] struct {
	out Out
	err error
}

func (r *request[In, Out]) finish(a answer[Out]) {
	select {
	case r.answer <- a:
	default: // given up before
	}
}

// start begins to serve; the fields above places are set.
func (q *queue[In, Out]) start() {
	q.places[interactive] = make(chan struct{}, max(64, 4*q.max))
	q.places[bulk] = make(chan struct{}, 4*q.max)
	q.end, q.ended = make(chan struct{}), make(chan struct{})
	for l := range lanes {
		q.wake[l] = make(chan struct{}, 1)
	}
	var serving sync.WaitGroup
	serving.Go(func() { q.serve(interactive) })
	for range q.inFlight {
		serving.Go(func() { q.serve(bulk) })
	}
	go func() {
		serving.Wait()
		close(q.ended)
	}()
}

// close refuses what waits, and returns when the runs in flight are over.
func (q *queue[In, Out]) close() {
	q.mu.Lock()
	again := q.closed
	q.closed = true
	q.mu.Unlock()
	if !again {
		close(q.end)
	}
	<-q.ended
}

func (q *queue[In, Out]) closedError() error {
	return fault.Errorf("embedder.queue", fault.Conflict, "the encoder is closed")
}

func (q *queue[In, Out]) stalledError() error {
	return fault.Errorf("embedder.queue", fault.Unavailable, "the device does not answer: a run of %s takes longer than %v", q.graph, q.patience)
}

// do runs inputs and returns their outputs, in order. It waits while the lane is full.
func (q *queue[In, Out]) do(ctx context.Context, l lane, inputs []In) ([]Out, error) {
	requests := make([]*request[In, Out], 0, len(inputs))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // what is left when one fails is not run
	for _, in := range inputs {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-q.end:
			return nil, q.closedError()
		case q.places[l] <- struct{}{}:
		}
		r := &request[In, Out]{ctx: ctx, in: in, bucket: q.bucket(in), came: time.Now(), answer: make(chan answer[Out], 1)}
		q.mu.Lock()
		if q.hangs > 0 && l == interactive { // nobody should wait for a device that hangs
			q.mu.Unlock()
			<-q.places[l]
			return nil, q.stalledError()
		}
		q.waiting[l] = append(q.waiting[l], r)
		q.mu.Unlock()
		q.tell(l)
		requests = append(requests, r)
	}
	outputs := make([]Out, len(requests))
	for i, r := range requests {
		select {
		case a := <-r.answer:
			if a.err != nil {
				return nil, a.err
			}
			outputs[i] = a.out
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-q.ended:
			select { // answered by the last run
			case a := <-r.answer:
				if a.err != nil {
					return nil, a.err
				}
				outputs[i] = a.out
			default:
				return nil, q.closedError()
			}
		}
	}
	return outputs, nil
}

// tell makes a lane look at what waits.
func (q *queue[In, Out]) tell(l lane) {
	select {
	case q.wake[l] <- struct{}{}:
	default:
	}
}

func (q *queue[In, Out]) serve(l lane) {
	for {
		select {
		case <-q.end:
			return
		default:
		}
		batch, wait := q.next(l, time.Now())
		if batch != nil {
			q.tell(l) // another may serve what is left
			q.execute(l, batch)
			continue
		}
		if l == interactive {
			q.tell(bulk) // which may have rested
		}
		var due <-chan time.Time
		if wait > 0 {
			due = time.After(wait)
		}
		select {
		case <-q.wake[l]:
		case <-due:
		case <-q.end:
			return
		}
	}
}

// next takes the requests of a lane that run now. There are none when nothing waits, nothing is due
// before wait is over, or bulk work rests.
func (q *queue[In, Out]) next(l lane, now time.Time) (batch []*request[In, Out], wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting[l] = slices.DeleteFunc(q.waiting[l], func(r *request[In, Out]) bool {
		if r.ctx.Err() == nil {
			return false
		}
		<-q.places[l]
		return true
	})
	all := q.waiting[l]
	switch {
	case len(all) == 0:
		return nil, 0
	case l == interactive:
		return q.take(l, all[0].bucket), 0
	case len(q.waiting[interactive])+len(q.running) > 0:
		return nil, 0
	}
	count := map[int]int{}
	for _, r := range all {
		if count[r.bucket]++; count[r.bucket] == q.max {
			return q.take(l, r.bucket), 0
		}
	}
	if wait = all[0].came.Add(q.deadline).Sub(now); wait > 0 {
		return nil, wait
	}
	return q.take(l, all[0].bucket), 0
}

// take removes a batch of one bucket from a lane.
func (q *queue[In, Out]) take(l lane, bucket int) []*request[In, Out] {
	n := 0
	for _, r := range q.waiting[l] {
		if r.bucket == bucket {
			n++
		}
	}
	n = batchSize(n, q.max)
	batch := make([]*request[In, Out], 0, n)
	q.waiting[l] = slices.DeleteFunc(q.waiting[l], func(r *request[In, Out]) bool {
		if r.bucket != bucket || len(batch) == n {
			return false
		}
		batch = append(batch, r)
		<-q.places[l]
		return true
	})
	if l == interactive {
		q.running = batch
	}
	return batch
}

// execute runs a batch under the watchdog. The run ends early when nobody waits for it any more.
func (q *queue[In, Out]) execute(l lane, batch []*request[In, Out]) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	left := int32(len(batch))
	var mu sync.Mutex
	inputs := make([]In, len(batch))
	for i, r := range batch {
		inputs[i] = r.in
		stop := context.AfterFunc(r.ctx, func() {
			mu.Lock()
			defer mu.Unlock()
			if left--; left == 0 {
				cancel()
			}
		})
		defer stop()
	}
	watchdog := q.watch(l)
	out, err := q.run(ctx, batch[0].bucket, inputs)
	watchdog()
	for i, r := range batch {
		a := answer[Out]{err: err}
		if err == nil {
			a.out = out[i]
		}
		r.finish(a)
	}
}

// watch starts the clock of one run; the returned function stops it. A bulk run that takes too long is
// no reason to refuse queries while those are answered.
func (q *queue[In, Out]) watch(l lane) (stop func()) {
	begin := time.Now()
	var over, stalled, hangs bool // under q.mu
	timer := time.AfterFunc(q.patience, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if over {
			return
		}
		stalled = true
		if q.stalls++; q.stalls == 1 {
			q.stalled(q.graph, true)
		}
		if hangs = l == interactive || !q.last.After(begin); !hangs {
			return
		}
		q.hangs++
		for _, r := range slices.Concat(q.running, q.waiting[interactive]) {
			r.finish(answer[Out]{err: q.stalledError()})
		}
	})
	return func() {
		timer.Stop()
		q.mu.Lock()
		defer q.mu.Unlock()
		over = true
		if l == interactive {
			q.running, q.last = nil, time.Now()
		}
		if hangs {
			q.hangs--
		}
		if stalled {
			if q.stalls--; q.stalls == 0 {
				q.stalled(q.graph, false)
			}
		}
	}
}

// batchesInFlight is how many bulk batches run at a time on a device. On a GPU two: while one computes, the
// next is laid out and copied there, and the answers of the one before are copied back. A CPU would
// only share its cores among them.
func batchesInFlight(d ort.Device) int {
	if d == ort.CUDA {
		return 2
	}
	return 1
}

// batchSize is the largest size of a batch that n requests fill: most, or a power of two below.
// What is left over runs next; no batch is padded.
func batchSize(n, most int) int {
	if n >= most {
		return most
	}
	size := 1
	for 2*size <= n {
		size *= 2
	}
	return size
}

// batchSizes lists every size that [batchSize] gives.
func batchSizes(most int) []int {
	var sizes []int
	for n := 1; n < most; n *= 2 {
		sizes = append(sizes, n)
	}
	return append(sizes, most)
}
