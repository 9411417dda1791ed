// Package stagetest holds what tests of services/stage, of its buses and of its handlers
// share: [Memory], a bus without a server or real time; [Suite], what every bus must do
// (services/bus runs it over a real server, this package over Memory); and [SameIDs], what
// every handler must do.
package stagetest

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/stage"
)

// Memory is one stream with one consumer in memory. It uses only timers and channels, so
// it runs inside a testing/synctest bubble.
type Memory struct {
	stream  string
	ackWait time.Duration
	takes   func(event.Subject) bool

	mu       sync.Mutex
	events   []event.Envelope           // sequence 1 first
	ids      map[event.MessageID]uint64 // for duplicate detection
	ready    []uint64                   // sequences to deliver now
	attempts map[uint64]uint64          // deliveries so far
	timers   map[uint64]*time.Timer     // of what was delivered and not settled
	counts   map[string]int             // of [stage.Attempts]
	wake     chan struct{}
}

var (
	_ stage.Source    = (*Memory)(nil)
	_ stage.Publisher = (*Memory)(nil)
	_ stage.Attempts  = (*Memory)(nil)
)

// NewMemory makes an empty stream whose consumer takes the subjects that takes accepts.
func NewMemory(stream string, ackWait time.Duration, takes func(event.Subject) bool) *Memory {
	return &Memory{
		stream: stream, ackWait: ackWait, takes: takes,
		ids: map[event.MessageID]uint64{}, attempts: map[uint64]uint64{}, timers: map[uint64]*time.Timer{},
		counts: map[string]int{}, wake: make(chan struct{}, 1),
	}
}

// Publish stores e.
func (m *Memory) Publish(ctx context.Context, e event.Envelope, expect *stage.Expect) error {
	if err := ctx.Err(); err != nil {
		return fault.Wrap("stagetest.Publish", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if expect != nil {
		on := cmp.Or(expect.On, e.Subject)
		var last uint64
		for i, old := range m.events {
			if matches(on, old.Subject) {
				last = uint64(i) + 1
			}
		}
		if last != expect.Last && (last == 0 || m.events[last-1].ID != e.ID) {
			return fault.Errorf("stagetest.Publish", fault.Conflict, "last sequence on the subject is %d", last)
		}
	}
	if m.ids[e.ID] != 0 {
		return nil
	}
	m.events = append(m.events, e)
	seq := uint64(len(m.events))
	m.ids[e.ID] = seq
	if m.takes(e.Subject) {
		m.deliver(seq)
	}
	return nil
}

// matches tells whether subject fits pattern, in which "*" stands for one token.
func matches(pattern, subject event.Subject) bool {
	p, s := strings.Split(string(pattern), "."), strings.Split(string(subject), ".")
	return slices.EqualFunc(p, s, func(a, b string) bool { return a == "*" || a == b })
}

// Events returns what is stored, oldest first.
func (m *Memory) Events() []event.Envelope {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]event.Envelope(nil), m.events...)
}

// Unsettled counts what was delivered and not settled.
func (m *Memory) Unsettled() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.timers)
}

// Waiting counts the messages that Next would return at once.
func (m *Memory) Waiting() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.ready)
}

// deliver makes seq ready; the lock is held.
func (m *Memory) deliver(seq uint64) {
	m.ready = append(m.ready, seq)
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Next returns the next message that is ready.
func (m *Memory) Next(ctx context.Context) (stage.Delivery, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, fault.Wrap("stagetest.Next", err)
		}
		m.mu.Lock()
		if len(m.ready) > 0 {
			seq := m.ready[0]
			m.ready = m.ready[1:]
			m.attempts[seq]++
			m.again(seq, m.ackWait)
			in := stage.Input{Envelope: m.events[seq-1], Stream: m.stream, Sequence: seq, Attempt: m.attempts[seq]}
			m.mu.Unlock()
			return &memoryDelivery{m: m, in: in}, nil
		}
		m.mu.Unlock()
		select {
		case <-m.wake:
		case <-ctx.Done():
		}
	}
}

// again delivers seq once more after d, unless it is settled before; the lock is held.
func (m *Memory) again(seq uint64, d time.Duration) {
	if t := m.timers[seq]; t != nil {
		t.Stop()
	}
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.timers[seq] == t {
			delete(m.timers, seq)
			m.deliver(seq)
		}
	})
	m.timers[seq] = t
}

// Load returns a count.
func (m *Memory) Load(ctx context.Context, key string) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts[key], ctx.Err()
}

// Store sets a count.
func (m *Memory) Store(ctx context.Context, key string, n int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[key] = n
	if n == 0 {
		delete(m.counts, key)
	}
	return ctx.Err()
}

type memoryDelivery struct {
	m  *Memory
	in stage.Input
}

func (d *memoryDelivery) Input() stage.Input { return d.in }

func (d *memoryDelivery) Done(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fault.Wrap("stagetest.Done", err)
	}
	d.settle()
	return nil
}

func (d *memoryDelivery) Drop(ctx context.Context, _ string) error { return d.Done(ctx) }

func (d *memoryDelivery) settle() {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	if t := d.m.timers[d.in.Sequence]; t != nil {
		t.Stop()
		delete(d.m.timers, d.in.Sequence)
	}
	// The ack wait may have passed while it was worked on.
	d.m.ready = slices.DeleteFunc(d.m.ready, func(seq uint64) bool { return seq == d.in.Sequence })
}

func (d *memoryDelivery) Retry(after time.Duration) error {
	if after <= 0 {
		return fault.Errorf("stagetest.Retry", fault.Internal, "a retry needs a delay above zero")
	}
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	if d.m.timers[d.in.Sequence] != nil {
		d.m.again(d.in.Sequence, after)
	}
	return nil
}

func (d *memoryDelivery) Working() error {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	if d.m.timers[d.in.Sequence] != nil {
		d.m.again(d.in.Sequence, d.m.ackWait)
	}
	return nil
}
