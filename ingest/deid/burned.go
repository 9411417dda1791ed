package deid

import (
	"cmp"
	"context"
	"image"
	"runtime/debug"
	"slices"
	"strings"
	"unicode"

	"github.com/radstream/radstream/ingest/ocr"
	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
)

// ReasonBurnedIn is why a film is refused whose text could be found but not removed.
const ReasonBurnedIn fault.Reason = "burned_in_text"

// TextPolicy says what becomes of text that is part of a film's pixels.
type TextPolicy string

// The policies.
const (
	TextRemove    TextPolicy = "remove"              // all but laterality and position markers
	TextRemoveAll TextPolicy = "remove-with-markers" // markers too
	TextOff       TextPolicy = "off"                 // nobody looks: for films known to be clean
)

// TextPolicies lists the policies that can be asked for.
func TextPolicies() []TextPolicy { return []TextPolicy{TextRemove, TextRemoveAll, TextOff} }

// TextReader reads the text of an image; package ocr.
type TextReader interface {
	Read(ctx context.Context, src ocr.Source) ([]ocr.Line, error)
	ID() string // what a prepared byte depends on
}

// TextKind says what a piece of burned-in text is.
type TextKind string

// The kinds.
const (
	KindText   TextKind = "text"   // may say who or when
	KindMarker TextKind = "marker" // laterality or position: see [Markers]
)

// BurnedText is one piece of text in a film. Its words may name a person: they go nowhere but to
// the terminal of whoever holds the film.
type BurnedText struct {
	Box     ocr.Box  // in pixels of the film
	Kind    TextKind // what it is
	Matches string   // the attribute of the header that it repeats, or empty
	Text    string   // as it was read
	Removed bool
}

// Cleaned is a film without its burned-in text.
type Cleaned struct {
	Film    pixel.Film   // has the samples of the film that was given
	Found   []BurnedText // from top to bottom; then what was found when these were gone
	Removed []ocr.Box    // what was filled
	Markers []string     // in capitals, sorted, each once
}

// Burned removes burned-in text. It is safe for concurrent use.
//
//	stored values -> grey, as the model would see them -> lines of text (TextReader)
//	  -> marker | text, matched against the header     -> boxes, filled from around (pixel.Fill)
//	  -> once more; behind the second time nothing may be left, else the film is refused
//
// A piece of text is what has two characters or more: what reads as one is a marker, a letter
// of a figure or no text at all, says nothing about a person, and stays, unless it stands
// right beside a text.
type Burned struct {
	reader TextReader
	policy TextPolicy
}

// NewBurned returns nil for the policy [TextOff], which is a Burned that changes nothing.
//
// Errors: Usage for another policy than [TextPolicies], or without a reader.
func NewBurned(p TextPolicy, r TextReader) (*Burned, error) {
	const op = "deid.NewBurned"
	if !slices.Contains(TextPolicies(), p) {
		return nil, fault.Errorf(op, fault.Usage, "the policy for burned-in text must be one of %v", TextPolicies())
	}
	if p == TextOff {
		return nil, nil
	}
	if r == nil {
		return nil, fault.Errorf(op, fault.Usage, "removing burned-in text takes a reader")
	}
	return &Burned{reader: r, policy: p}, nil
}

// Version identifies what b does to pixels; empty when it does nothing.
func (b *Burned) Version() string {
	if b == nil {
		return ""
	}
	return string(b.policy) + "-" + b.reader.ID()
}

// Clean removes the text of f, in f's own samples: a copy of a large film is what there is no
// memory for. known are the identifiers of its header; p is the policy under which f will be
// rendered.
//
// Errors: Invalid burned_in_text when text is left after removing; those of [pixel.Shade]; those
// of the reader and of ctx. Found is told with burned_in_text too.
func (b *Burned) Clean(ctx context.Context, f pixel.Film, p pixel.Policy, known Identifiers) (Cleaned, error) {
	const op = "deid.Clean"
	c := Cleaned{Film: f}
	if b == nil {
		return c, nil
	}
	if len(f.Samples) > large {
		debug.FreeOSMemory() // what decoding left behind, which the networks cannot use
	}
	for pass := 0; ; pass++ {
		found, err := b.find(ctx, c.Film, p, known)
		if err != nil {
			return c, fault.Wrap(op, err)
		}
		if pass == 0 {
			c.Found = found
			for _, t := range found {
				if t.Kind == KindMarker {
					c.Markers = append(c.Markers, words(t.Text)...)
				}
			}
			slices.Sort(c.Markers)
			c.Markers = slices.Compact(c.Markers)
		}
		found = slices.DeleteFunc(slices.Clone(found), func(t BurnedText) bool { return !t.Removed })
		if len(found) == 0 {
			return c, nil
		}
		if pass == passes {
			return c, fault.Reject(op, fault.Invalid, ReasonBurnedIn, "text in the image could not be removed: a pass after %d still found some", passes)
		}
		if pass > 0 {
			c.Found = append(c.Found, found...)
		}
		c.fill(found)
	}
}

// large is the number of pixels from which the memory that a film was decoded in counts.
const large = 16 << 20

// passes is how often text is removed. What stood below or beside it may only be seen when it
// is gone; the pass after the last must find nothing.
const passes = 2

// fill removes texts from the film.
func (c *Cleaned) fill(texts []BurnedText) {
	holes := make([]image.Rectangle, len(texts))
	for i, t := range texts {
		box := t.widened().Intersect(ocr.Box{X1: c.Film.Columns, Y1: c.Film.Rows})
		c.Removed = append(c.Removed, box)
		holes[i] = image.Rect(box.X0, box.Y0, box.X1, box.Y1)
	}
	pixel.Fill(c.Film, holes)
}

// widened returns the box of t with what may belong to it: beyond its ends a height of the
// line, since a first or last letter that is fainter than the others is often cut off, and a
// fifth of it above and below, where ink fades into its surroundings.
func (t BurnedText) widened() ocr.Box {
	width, height := t.Box.X1-t.Box.X0, t.Box.Y1-t.Box.Y0
	least := min(width, height)
	along, across := least, max(2, least/5)
	if height > width {
		along, across = across, along
	}
	return ocr.Box{X0: t.Box.X0 - along, Y0: t.Box.Y0 - across, X1: t.Box.X1 + along, Y1: t.Box.Y1 + across}
}

// find returns the markers and texts of f and marks those that the policy removes.
func (b *Burned) find(ctx context.Context, f pixel.Film, p pixel.Policy, known Identifiers) ([]BurnedText, error) {
	shades, err := pixel.Shade(f, p)
	if err != nil {
		return nil, err
	}
	lines, err := b.reader.Read(ctx, shades)
	if err != nil {
		return nil, err
	}
	var found, lone []BurnedText
	for _, l := range lines {
		t := BurnedText{Box: l.Box, Text: l.Text, Matches: known.match(l.Text)}
		if t.Matches == "" && min(l.Box.X1-l.Box.X0, l.Box.Y1-l.Box.Y0) > min(f.Columns, f.Rows)/largest {
			continue
		}
		switch {
		case t.Matches != "":
			t.Kind, t.Removed = KindText, true
		case isMarker(l.Text):
			t.Kind, t.Removed = KindMarker, b.policy == TextRemoveAll
		case isText(l):
			t.Kind, t.Removed = KindText, true
		default:
			t.Kind, t.Removed = KindText, true
			lone = append(lone, t)
			continue
		}
		found = append(found, t)
	}
	// What stands beside a text belongs to it, as the rest of a name that was read in pieces.
	for again := true; again; {
		again = false
		for i := 0; i < len(lone); i++ {
			if !slices.ContainsFunc(found, func(t BurnedText) bool { return t.Kind == KindText && beside(t.Box, lone[i].Box) }) {
				continue
			}
			found, again = append(found, lone[i]), true
			lone = slices.Delete(lone, i, i+1)
			i--
		}
	}
	slices.SortStableFunc(found, func(a, b BurnedText) int {
		return cmp.Or(cmp.Compare(a.Box.Y0, b.Box.Y0), cmp.Compare(a.Box.X0, b.Box.X0))
	})
	return found, nil
}

// largest is the share of a film's shorter side from which a line is no text, unless it repeats
// the header: such boxes are ribs, spines and patterns of screens. Of text that runs diagonally
// the box is as large.
const largest = 5

// beside tells whether b is less than the height of the lower one away from text a, and not so
// much higher that it cannot be the rest of it.
func beside(a, b ocr.Box) bool {
	high, other := min(a.X1-a.X0, a.Y1-a.Y0), min(b.X1-b.X0, b.Y1-b.Y0)
	height := min(high, other)
	return other <= 2*high && !a.Grow(height).Intersect(b).Empty()
}

// isText tells whether a line counts as text. Detection takes some ribs and tubes for it; those
// read as nothing, as one character, or as few that recognition does not believe in, and where
// only an equal contrast shows them there are more of them. Detection that is sure makes up
// for the confidence of a long line.
func isText(l ocr.Line) bool {
	n := 0
	for _, w := range words(l.Text) {
		n += len([]rune(w))
	}
	least := 0.55
	switch {
	case n < 2:
		return false
	case n == 2:
		least = 0.8
	case n == 3:
		least = 0.65
	}
	if strings.ContainsFunc(l.Text, func(r rune) bool { return r > unicode.MaxLatin1 }) {
		least = max(least, 0.85) // patterns are often read as ideographs
	}
	if l.Faint {
		return l.Confidence >= max(least, 0.7)
	}
	return l.Confidence >= least || n >= 5 && l.Detection >= 0.75
}
