package cli

import (
	"io"
	"os"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// bars draws progress on standard error where that is a terminal, and nothing elsewhere.
type bars struct{ p *mpb.Progress }

func (c *cli) bars() *bars {
	out := io.Discard
	if f, ok := c.Stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		out = f
	}
	return &bars{mpb.New(mpb.WithOutput(out), mpb.WithWidth(40))}
}

// add draws one more bar.
func (b *bars) add(name string, total int) bar {
	return bar{b.p.AddBar(int64(total),
		mpb.PrependDecorators(decor.Name(name, decor.WC{C: decor.DindentRight | decor.DextraSpace, W: 11})),
		mpb.AppendDecorators(decor.CountersNoUnit("%d / %d"), decor.Elapsed(decor.ET_STYLE_GO, decor.WC{W: 6})),
	)}
}

// finish leaves the bars as they are and gives the terminal back.
func (b *bars) finish() { b.p.Shutdown() }

type bar struct{ b *mpb.Bar }

func (b bar) set(done int) { b.b.SetCurrent(int64(done)) }

// total changes how many there will be.
func (b bar) total(n int) { b.b.SetTotal(int64(n), false) }
