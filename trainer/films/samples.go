package films

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash/fnv"
	"math/rand/v2"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
)

// folds is how many parts patients, and kinds of other pictures, are dealt into.
const folds = 5

// Options say what is read.
type Options struct {
	Data     string // folder of the collections
	Every    int    // every so many-th frontal film of the collections; 1 is all
	Phantoms int    // phantom studies beside them
}

// DefaultOptions returns what the shipped classifier is made with.
func DefaultOptions() Options { return Options{Data: "../shared/data", Every: 1, Phantoms: 160} }

// sample is one rendered picture.
type sample struct {
	set, name string
	fold      int
	lateral   bool
	fault     *Fault // what was done to the film; nil: nothing
	extra     bool   // to learn from only: it is not counted
	other     string // the kind of a picture that is no chest film; "": it is one
	features  []float32
	measures  pixel.Measures
	sum       [sha256.Size]byte // of the pixels
}

// Collection is what [Read] read.
type Collection struct {
	samples []sample
	// Refused are films and objects that could not be read or rendered, by set.
	Refused map[string]int
}

// Read reads the films and makes their faults: for each film each reason once, its grades in
// turn (parts of it in all grades, which is the hardest to learn), and for every second one a
// picture that is no chest film. Errors: Usage, the folder holds no films; Canceled.
func Read(ctx context.Context, o Options, progress func(done, total int)) (*Collection, error) {
	films, err := collections(o.Data)
	if err != nil {
		return nil, err
	}
	kept := films[:0]
	for i, f := range films {
		if f.lateral || i%max(1, o.Every) == 0 {
			kept = append(kept, f)
		}
	}
	chests := append(kept, phantoms(o.Phantoms)...)
	others, err := others(o.Data)
	if err != nil {
		return nil, err
	}
	all := append(chests[:len(chests):len(chests)], others...)
	results := make([][]sample, len(all))
	var mu sync.Mutex
	done := 0
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, s := range all {
		group.Go(func() error {
			if ctx.Err() != nil {
				return fault.Wrap("films.Read", ctx.Err())
			}
			if f, err := s.film(); err == nil {
				results[i] = expand(s, f, i, i >= len(chests))
			}
			mu.Lock()
			defer mu.Unlock()
			done++
			progress(done, len(all))
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	c := &Collection{Refused: map[string]int{}}
	seen := map[[sha256.Size]byte]bool{}
	for i, r := range results {
		if len(r) == 0 {
			c.Refused[all[i].set]++
		}
		for _, s := range r {
			if s.set == "dicom" && seen[s.sum] { // the same image in another syntax
				continue
			}
			seen[s.sum] = true
			c.samples = append(c.samples, s)
		}
	}
	return c, nil
}

// expand renders film i as it is and with its faults.
func expand(s source, f pixel.Film, i int, other bool) []sample {
	var all []sample
	add := func(f pixel.Film, change func(*sample)) {
		r, err := pixel.Render(f, pixel.Auto)
		if err != nil {
			return
		}
		one := sample{set: s.set, name: s.name, lateral: s.lateral, fold: foldOf(s.patient), features: pixel.Features(r), measures: pixel.Measure(r), sum: sha256.Sum256(r.Pixels)}
		change(&one)
		all = append(all, one)
	}
	if other {
		for range 2 {
			add(f, func(one *sample) { one.other = s.patient })
			f.Invert = !f.Invert
		}
		return all
	}
	add(f, func(*sample) {})
	if len(all) == 0 {
		return nil
	}
	faults := Faults()
	grades, at := map[fault.Reason]int{}, map[fault.Reason]int{}
	for _, kind := range faults {
		grades[kind.Reason]++
	}
	for k := range faults {
		kind := &faults[k]
		n := at[kind.Reason]
		at[kind.Reason]++
		turn := n == i%grades[kind.Reason]
		if !f.Display && kind.Reason != pixel.ReasonInverted || !turn && kind.Reason != pixel.ReasonCropped {
			continue
		}
		r := rand.New(rand.NewPCG(uint64(i), uint64(k)))
		add(kind.apply(f, r), func(s *sample) { s.fault, s.extra = kind, !turn })
	}
	if i%2 == 0 && f.Display {
		kind := fakeKinds[i/2%len(fakeKinds)]
		add(kind.make(f, rand.New(rand.NewPCG(uint64(i), 1000))), func(s *sample) { s.other, s.fold = kind.name, foldOf(kind.name) })
	}
	return all
}

// foldOf deals names into the folds.
func foldOf(name string) int {
	h := fnv.New32a()
	h.Write([]byte(name))
	return int(h.Sum32() % folds)
}

// whole tells whether s is a chest film as it was read.
func (s *sample) whole() bool { return s.fault == nil && s.other == "" }

// inputs are the films by set and a hash over them.
func (c *Collection) inputs() (map[string]int, string) {
	sets, h := map[string]int{}, sha256.New()
	for _, s := range c.samples {
		if s.fault == nil && (s.other == "" || s.set == "dicom") {
			sets[s.set]++
			h.Write(s.sum[:])
		}
	}
	return sets, hex.EncodeToString(h.Sum(nil))
}
