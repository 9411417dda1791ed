// Package progress shows on standard error how far long work is: as bars on a terminal,
// elsewhere as one line a second.
package progress

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

// Bars is a group of counts that are shown together. Its methods are safe for concurrent use.
type Bars struct {
	term *mpb.Progress // nil elsewhere
	out  io.Writer

	mu   sync.Mutex
	all  []*Bar
	last time.Time // of the last line
}

// Bar is one count.
type Bar struct {
	bars  *Bars
	term  *mpb.Bar
	name  string
	done  int
	total int
	note  string
}

// Terminal says whether bars are drawn on out.
func Terminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// New shows counts on out. quiet leaves the lines out, not the bars: what a program reads there
// is errors.
func New(out io.Writer, quiet bool) *Bars {
	b := &Bars{out: out, last: time.Now()}
	if Terminal(out) {
		b.term = mpb.New(mpb.WithOutput(out), mpb.WithWidth(40))
	} else if quiet {
		b.out = io.Discard
	}
	return b
}

// Add shows one more count, up to total.
func (b *Bars) Add(name string, total int) *Bar {
	n := &Bar{bars: b, name: name, total: total}
	if b.term != nil {
		n.term = b.term.AddBar(int64(total),
			mpb.PrependDecorators(decor.Name(name, decor.WC{C: decor.DindentRight | decor.DextraSpace, W: 11})),
			mpb.AppendDecorators(decor.CountersNoUnit("%d / %d"), decor.Elapsed(decor.ET_STYLE_GO, decor.WC{W: 6}),
				decor.Any(func(decor.Statistics) string { return n.noted() })),
		)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, n)
	return n
}

// Set says how many are done.
func (n *Bar) Set(done int) {
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

// Note puts a text behind the count, on a terminal only.
func (n *Bar) Note(text string) {
	n.bars.mu.Lock()
	defer n.bars.mu.Unlock()
	n.note = text
}

func (n *Bar) noted() string {
	n.bars.mu.Lock()
	defer n.bars.mu.Unlock()
	return "  " + n.note
}

// Finish shows the last state and gives the terminal back.
func (b *Bars) Finish() {
	if b.term != nil {
		b.term.Shutdown()
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.line()
}

// Write prints whole lines above the bars.
func (b *Bars) Write(p []byte) (int, error) {
	if b.term != nil {
		return b.term.Write(p)
	}
	return b.out.Write(p)
}

// line prints every count; b.mu is held.
func (b *Bars) line() {
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
