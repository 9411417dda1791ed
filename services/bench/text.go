package bench

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/ocr"
	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
)

// TextConfig says what [Text] measures.
type TextConfig struct {
	Films     []string                                              // folders of JPEG and PNG films, searched to the bottom
	Strings   int                                                   // texts to plant, each in a film of its own
	Untouched int                                                   // films to look at as they are; 0 is none
	Skip      int                                                   // films and texts to pass over first, so that a long run can be cut in pieces
	Seed      uint64                                                // of everything random
	Clear     float64                                               // contrast from which a text must be found, in grey levels
	Progress  func(planted, untouched int)                          // may be nil
	Picture   func(name string, film pixel.Film, b []ocr.Box) error // is shown every miss and every changed film; may be nil
}

// TextFigures is what [Text] found out.
type TextFigures struct {
	Clear      Recall         `json:"clear"` // texts of the contrast that was asked for, or more
	Faint      Recall         `json:"faint"` // the others
	Missed     []Plant        `json:"missed"`
	Untouched  int            `json:"untouched"`         // films that were looked at as they are
	Changed    []ChangedFilm  `json:"changed"`           // of these
	Markers    map[string]int `json:"markers"`           // films of these by marker
	Seconds    float64        `json:"seconds"`           // of one film as it is, mean
	WithText   float64        `json:"seconds_with_text"` // of one film with a planted text, mean
	Recogniser string         `json:"recogniser"`
}

// Recall counts texts. One is found when at least 95 % of its ink (pixels that differ by 10 grey
// levels or more from the film beneath) lies in boxes that were filled, or when its film is
// refused for burned_in_text.
type Recall struct {
	Texts    int     `json:"texts"`
	Found    int     `json:"found"`
	Rejected int     `json:"rejected"` // of the found ones: by refusal
	Recall   float64 `json:"recall"`   // found / texts
}

// ChangedFilm is a film without a planted text of which something was removed.
type ChangedFilm struct {
	Film     string   `json:"film"`
	Texts    []string `json:"texts"` // as they were read
	Share    float64  `json:"share"` // of its pixels that were filled
	Rejected bool     `json:"rejected"`
}

// enough is the share of a text's pixels that must be removed.
const enough = 0.95

// Text plants texts in films, removes burned-in text as ingest does, and counts what is left;
// and it does the same with films as they are, of which only what is text may change.
//
// Errors: Usage without films; those of the reader and of ctx.
func Text(ctx context.Context, c TextConfig, b *deid.Burned) (TextFigures, error) {
	const op = "bench.Text"
	paths, err := films(c.Films, rand.New(rand.NewPCG(c.Seed, 0)))
	if err != nil {
		return TextFigures{}, err
	}
	faces, err := typefaces()
	if err != nil {
		return TextFigures{}, err
	}
	var figures TextFigures
	figures.Recogniser = b.Version()
	planted, err := each(ctx, c.Strings, func(ctx context.Context, i int) (Plant, error) {
		i += c.Skip
		return c.planted(ctx, paths, i, faces, b)
	}, func(n int) { c.report(n, 0) })
	if err != nil {
		return figures, fault.Wrap(op, err)
	}
	for _, p := range planted {
		r := &figures.Faint
		if p.value.Contrast >= c.Clear {
			r = &figures.Clear
		}
		r.Texts++
		if p.value.Rejected {
			r.Rejected++
		}
		if p.value.Rejected || p.value.Found >= enough {
			r.Found++
		} else {
			figures.Missed = append(figures.Missed, p.value)
		}
		figures.WithText += p.seconds / float64(len(planted))
	}
	for _, r := range []*Recall{&figures.Clear, &figures.Faint} {
		r.Recall = float64(r.Found) / float64(max(r.Texts, 1))
	}
	looked, err := each(ctx, min(c.Untouched, max(0, len(paths)-c.Skip)), func(ctx context.Context, i int) (look, error) {
		return c.untouched(ctx, paths[i+c.Skip], b)
	}, func(n int) { c.report(len(planted), n) })
	if err != nil {
		return figures, fault.Wrap(op, err)
	}
	figures.Untouched, figures.Markers = len(looked), map[string]int{}
	for _, l := range looked {
		figures.Seconds += l.seconds / float64(len(looked))
		if l.value.changed != nil {
			figures.Changed = append(figures.Changed, *l.value.changed)
		}
		for _, m := range l.value.markers {
			figures.Markers[m]++
		}
	}
	return figures, nil
}

func (c TextConfig) report(planted, untouched int) {
	if c.Progress != nil {
		c.Progress(planted, untouched)
	}
}

// planted plants text number i and removes it. A film that is too small for the text gives
// way to the next.
func (c TextConfig) planted(ctx context.Context, paths []string, i int, faces []typeface, b *deid.Burned) (Plant, error) {
	rng := rand.New(rand.NewPCG(c.Seed, uint64(i)+1))
	for try := 0; ; try++ {
		path := paths[(i+try*7919)%len(paths)]
		film, err := read(path)
		if err != nil {
			return Plant{}, err
		}
		grey, err := pixel.Grey(film, pixel.Auto)
		if err != nil {
			return Plant{}, err
		}
		p, ok, err := plant(grey, film.Columns, film.Rows, faces, rng)
		if err != nil {
			return p, err
		}
		if !ok {
			if try == 20 {
				return p, fault.Errorf("bench.planted", fault.Usage, "the films are too small to plant texts in")
			}
			continue
		}
		p.Film = path
		cleaned, err := b.Clean(ctx, shown(grey, film), pixel.Auto, deid.Identifiers{})
		if p.Rejected = fault.ReasonOf(err) == deid.ReasonBurnedIn; err != nil && !p.Rejected {
			return p, err
		}
		p.Found = p.covered(cleaned.Removed)
		if c.Picture != nil && p.Found < enough && !p.Rejected {
			return p, c.Picture("missed-"+filepath.Base(path), shown(grey, film), cleaned.Removed)
		}
		return p, nil
	}
}

// covered returns the share of p's ink in boxes.
func (p Plant) covered(boxes []ocr.Box) float64 {
	in, all := 0, 0
	for y := range p.ink.Rect.Dy() {
		for x := range p.ink.Rect.Dx() {
			if p.ink.Pix[y*p.ink.Stride+x] < inked {
				continue
			}
			all++
			if slices.ContainsFunc(boxes, func(b ocr.Box) bool {
				return p.X+x >= b.X0 && p.X+x < b.X1 && p.Y+y >= b.Y0 && p.Y+y < b.Y1
			}) {
				in++
			}
		}
	}
	return float64(in) / float64(max(all, 1))
}

type look struct {
	changed *ChangedFilm
	markers []string
}

func (c TextConfig) untouched(ctx context.Context, path string, b *deid.Burned) (look, error) {
	film, err := read(path)
	if err != nil {
		return look{}, err
	}
	cleaned, err := b.Clean(ctx, film, pixel.Auto, deid.Identifiers{})
	rejected := fault.ReasonOf(err) == deid.ReasonBurnedIn
	if err != nil && !rejected {
		return look{}, err
	}
	l := look{markers: cleaned.Markers}
	if len(cleaned.Removed) == 0 {
		return l, nil
	}
	l.changed = &ChangedFilm{Film: path, Rejected: rejected}
	area := 0
	for _, r := range cleaned.Removed {
		area += (r.X1 - r.X0) * (r.Y1 - r.Y0)
	}
	l.changed.Share = float64(area) / float64(len(film.Samples))
	for _, t := range cleaned.Found {
		if t.Removed {
			l.changed.Texts = append(l.changed.Texts, t.Text)
		}
	}
	if c.Picture != nil {
		if film, err = read(path); err != nil { // as it was
			return l, err
		}
		err = c.Picture("changed-"+filepath.Base(path), film, cleaned.Removed)
		return l, err
	}
	return l, nil
}

// films lists the JPEG and PNG files below dirs in an order that rng decides.
func films(dirs []string, rng *rand.Rand) ([]string, error) {
	const op = "bench.films"
	var paths []string
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && slices.Contains([]string{".jpg", ".jpeg", ".png"}, strings.ToLower(filepath.Ext(path))) {
				paths = append(paths, path)
			}
			return err
		})
		if err != nil {
			return nil, fault.E(op, fault.Usage, err)
		}
	}
	if len(paths) == 0 {
		return nil, fault.Errorf(op, fault.Usage, "there are no JPEG or PNG films in %s", strings.Join(dirs, ", "))
	}
	slices.Sort(paths)
	rng.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
	return paths, nil
}

func read(path string) (pixel.Film, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return pixel.Film{}, fault.E("bench.read", fault.Usage, err)
	}
	plain, err := pixel.DecodePlain(data)
	return plain.Film, err
}

// shown returns a film of grey values in the place of f.
func shown(grey []byte, f pixel.Film) pixel.Film {
	g := pixel.Film{Rows: f.Rows, Columns: f.Columns, Samples: make([]uint16, len(grey)), Display: true, Slope: 1}
	for i, v := range grey {
		g.Samples[i] = uint16(v)
	}
	return g
}

// timed is a value and how long it took to make.
type timed[T any] struct {
	value   T
	seconds float64
}

// each calls f for 0 to n-1 on all cores and returns its values in order.
func each[T any](ctx context.Context, n int, f func(context.Context, int) (T, error), done func(int)) ([]timed[T], error) {
	results := make([]timed[T], n)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	finished := make(chan struct{}, n)
	for i := range n {
		group.Go(func() (err error) {
			start := time.Now()
			results[i].value, err = f(ctx, i)
			results[i].seconds = time.Since(start).Seconds()
			finished <- struct{}{}
			done(len(finished))
			return err
		})
	}
	return results, group.Wait()
}
