package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// bars shows progress on standard error: as bars on a terminal, elsewhere as one line a
// second, and with --json not at all: what a program reads there is errors. Its methods
// are safe for concurrent use.
type bars struct {
	term *mpb.Progress // nil elsewhere
	out  io.Writer

	mu   sync.Mutex
	all  []*bar
	last time.Time // of the last line
}

type bar struct {
	bars  *bars
	term  *mpb.Bar
	name  string
	done  int
	total int
}

func (c *cli) bars() *bars {
	b := &bars{out: c.Stderr, last: time.Now()}
	if f, ok := c.Stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		b.term = mpb.New(mpb.WithOutput(f), mpb.WithWidth(40))
	} else if c.json {
		b.out = io.Discard
	}
	return b
}

// add shows one more count, up to total.
func (b *bars) add(name string, total int) *bar {
	n := &bar{bars: b, name: name, total: total}
	if b.term != nil {
		n.term = b.term.AddBar(int64(total),
			mpb.PrependDecorators(decor.Name(name, decor.WC{C: decor.DindentRight | decor.DextraSpace, W: 11})),
			mpb.AppendDecorators(decor.CountersNoUnit("%d / %d"), decor.Elapsed(decor.ET_STYLE_GO, decor.WC{W: 6})),
		)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, n)
	return n
}

func (n *bar) set(done int) {
	if n.term != nil {
		n.term.SetCurrent(int64(done))
		return
	}
	n.bars.mu.Lock()
	defer n.bars.mu.Unlock()
	n.done = done
	if time.Since(n.bars.last) >= time.Second {
		n.bars.line()
	}
}

// finish shows the last state and gives the terminal back.
func (b *bars) finish() {
	if b.term != nil {
		b.term.Shutdown()
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.line()
}

// line prints every count; b.mu is held.
func (b *bars) line() {
	b.last = time.Now()
	if len(b.all) == 0 || b.all[0].total == 0 {
		return
	}
	counts := make([]string, len(b.all))
	for i, n := range b.all {
		counts[i] = fmt.Sprintf("%s %d/%d", n.name, n.done, n.total)
	}
	fmt.Fprintln(b.out, strings.Join(counts, ", "))
}
