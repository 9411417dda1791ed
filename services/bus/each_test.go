package bus_test

import (
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/bus/bustest"
)

// TestEachEnds: a reading ends though the messages that were to come last are removed under way.
func TestEachEnds(t *testing.T) {
	b := bustest.Connect(t, bustest.Serve(t))
	const all, left = 150, 100
	fill(t, b, all)
	seen := 0
	err := b.Each(t.Context(), bus.WatchConfig{Stream: event.StreamStudies}, func(m bus.Message) error {
		if seen++; m.Sequence != uint64(seen) || seen == 1 && m.Pending != all-1 {
			t.Errorf("message %d comes as number %d, and %d behind it", m.Sequence, seen, m.Pending)
		}
		if seen > 1 {
			return nil
		}
		for seq := uint64(left + 1); seq <= all; seq++ {
			if err := b.SecureDelete(t.Context(), event.StreamStudies, seq); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || seen != left {
		t.Errorf("%d messages were seen, %v", seen, err)
	}
	if on, err := b.On(t.Context(), event.StreamStudies, event.StudyArrivedSubject("t")); err != nil || len(on) != left || len(on[0].Body) > 0 {
		t.Errorf("%d messages are there, %v", len(on), err)
	}
}

// TestEachIsWhole: a server that is slow to answer is not at the end of its messages, and none that
// is lost on the way, or that a server forgot to send, is passed over.
func TestEachIsWhole(t *testing.T) {
	const all = 300
	url := bustest.Serve(t)
	fill(t, bustest.Connect(t, url), all)
	forget := func(*wire) {
		studies, err := raw(t, url).Stream(t.Context(), event.StreamStudies)
		if err != nil {
			t.Error(err)
			return
		}
		for name := range studies.ConsumerNames(t.Context()).Name() {
			if err := studies.DeleteConsumer(t.Context(), name); err != nil {
				t.Error(err)
			}
		}
	}
	for name, harm := range map[string]func(*wire){"slow": (*wire).stall, "lost": (*wire).cut, "forgotten": forget} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t, strings.TrimPrefix(url, "nats://"))
			b := bustest.Connect(t, "nats://"+w.Addr().String())
			seen := 0
			err := b.Each(t.Context(), bus.WatchConfig{Stream: event.StreamStudies}, func(m bus.Message) error {
				if seen++; m.Sequence != uint64(seen) {
					t.Errorf("message %d comes as number %d", m.Sequence, seen)
				}
				if seen == 1 {
					harm(w)
				}
				return nil
			})
			whole := err == nil && seen == all
			if told := fault.KindOf(err) == fault.Unavailable; !whole && (name == "slow" || !told) {
				t.Errorf("%d messages of %d were seen: %v", seen, all, err)
			}
		})
	}
}

// fill publishes n events on STUDIES.
func fill(t *testing.T, b *bus.Bus, n int) {
	t.Helper()
	for i := range n {
		e, err := event.New(event.MessageID(strconv.Itoa(i)), "test", event.StudyArrivedSubject("t"), time.Now(), &radstreamv1.StudyArrived{StudyUid: "2.25.1"})
		if err == nil {
			err = b.Publish(t.Context(), e, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// wire carries connections to a server, and can be worse than loopback is.
type wire struct {
	net.Listener
	stalls atomic.Bool
	room   atomic.Int64  // bytes of answers until the wire is silent; 0 is no end
	silent chan struct{} // closed by then
	mutes  atomic.Bool   // messages are swallowed, the lines of the protocol itself are not
	muted  chan struct{} // has an element once that happened

	mu   sync.Mutex
	live []net.Conn
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: l, silent: make(chan struct{}), muted: make(chan struct{}, 1)}
	t.Cleanup(func() { l.Close(); w.cut() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			w.mu.Lock()
			w.live = append(w.live, near, far)
			w.mu.Unlock()
			go func() { _, _ = io.Copy(far, near); far.Close() }()
			go func() { w.answer(near, far); near.Close() }()
		}
	}()
	return w
}

// answer carries what the server says, seconds later while the wire stalls.
func (w *wire) answer(near, far net.Conn) {
	part := make([]byte, 4096)
	for {
		n, err := far.Read(part)
		if room := w.room.Load(); room > 0 {
			if room <= int64(n) {
				close(w.silent)
				_, _ = io.Copy(io.Discard, far) // until it is cut
				return
			}
			w.room.Add(-int64(n))
		}
		if w.mutes.Load() && bytes.Contains(part[:n], []byte("MSG ")) {
			select {
			case w.muted <- struct{}{}:
			default:
			}
			continue
		}
		if w.stalls.CompareAndSwap(true, false) {
			time.Sleep(2500 * time.Millisecond) // FetchNoWait of nats.go waits for one second
		}
		if _, failed := near.Write(part[:n]); err != nil || failed != nil {
			return
		}
	}
}

func (w *wire) stall() { w.stalls.Store(true) }

// hush lets some bytes of answers through, and no more: it is for one connection.
func (w *wire) hush(after int64) { w.room.Store(after) }

// cut ends every connection; what is under way is lost.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.live {
		c.Close()
	}
	w.live = nil
}
