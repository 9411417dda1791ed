package dicom

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/suyashkumar/dicom/pkg/tag"
)

// Bounds on what [Attributes] walks and lists.
const (
	maxWalked = 1 << 20 // data elements of one file
	maxListed = 4096    // different attributes
)

// Attribute is an attribute that a file has, without its value.
type Attribute struct {
	Tag     uint32
	In      uint32 // tag of the sequence it stands in, the innermost one; 0 at the top level
	Keyword string // of PS3.6; empty for a private tag, an unknown one and some retired ones
	Count   int    // how often, over all items of that sequence
}

// Attributes lists what a file holds, by tag, file meta information and the items of
// sequences with it: what somebody must know who wants to be sure that nothing is passed
// on. whole is false when the file is damaged, or holds more than can be listed (a million
// elements, 4,096 attributes): the list is then of what stands before. It reads no value.
//
// The error is that of [Parse], for bytes that are no DICOM file.
func Attributes(data []byte) (list []Attribute, whole bool, err error) {
	stream, _, damage, err := open(data)
	if err != nil {
		return nil, false, err
	}
	w := walk{found: map[[2]uint32]int{}, left: maxWalked}
	meta := &scanner{data: data, order: binary.LittleEndian}
	if startsMeta(data) {
		meta.pos = 132
	}
	whole = w.meta(meta) && w.elements(stream, 0, 0, false) && !w.damaged && damage == nil
	for id, n := range w.found {
		list = append(list, Attribute{Tag: id[1], In: id[0], Keyword: dictionary(id[1]).Keyword, Count: n})
	}
	slices.SortFunc(list, func(a, b Attribute) int { return cmp.Or(cmp.Compare(a.In, b.In), cmp.Compare(a.Tag, b.Tag)) })
	return list, whole, nil
}

// walk counts attributes. Its methods return false where they had to stop.
type walk struct {
	found map[[2]uint32]int // by sequence and tag
	left  int               // elements that may still be walked
	// damaged says that a value whose end is known could not be walked.
	damaged bool
}

func (w *walk) see(t, in uint32) bool {
	if w.left == 0 || len(w.found) == maxListed {
		return false
	}
	w.left--
	w.found[[2]uint32{in, t}]++
	return true
}

// meta walks the file meta information.
func (w *walk) meta(s *scanner) bool {
	for len(s.data)-s.pos >= 8 && s.order.Uint16(s.data[s.pos:]) == 2 {
		e, _, err := s.next()
		if err != nil || !w.see(e.tag, 0) {
			return false
		}
	}
	return true
}

// elements walks a data set, or an item: an open one, of undefined length, up to and with its
// delimiter. Every element is read once: a sequence is walked in place and not measured before.
//
// A delimiter ends only what is open (PS3.5 section 7.5). Anywhere else it is astray, and an
// element like others; one without a value is not listed.
func (w *walk) elements(s *scanner, in uint32, depth int, open bool) bool {
	for s.pos < len(s.data) {
		start := s.pos
		t, vr, length, err := s.header()
		if err != nil {
			return false
		}
		if t == tagItemEnd && open {
			return true
		}
		if (t != tagItemEnd || length > 0) && !w.see(t, in) {
			return false
		}
		switch {
		case length == undefinedLength && t == tagPixels: // fragments are no items
			s.pos = start
			_, err = s.element(depth)
		case length == undefinedLength:
			inner := *s
			if vr == "UN" { // see scanner.element
				inner.implicit, inner.order = true, binary.LittleEndian
			}
			if !w.items(&inner, t, depth+1, true) {
				return false
			}
			s.pos = inner.pos
		default:
			from := s.pos
			if err = s.skip(length); err == nil && isSequence(s, t, vr, s.data[from:s.pos]) {
				inner := &scanner{data: s.data[:s.pos], pos: from, implicit: s.implicit || vr == "UN", order: s.order}
				if vr == "UN" {
					inner.order = binary.LittleEndian
				}
				w.damaged = !w.items(inner, t, depth+1, false) || w.damaged
			}
		}
		if err != nil {
			return false
		}
	}
	return !open
}

// isSequence tells whether a value of a defined length holds items.
func isSequence(s *scanner, t uint32, vr string, value []byte) bool {
	switch vr {
	case "SQ":
		return true
	case "UN":
		return bytes.HasPrefix(value, []byte{0xFE, 0xFF, 0x00, 0xE0})
	case "": // implicit
		return slices.Contains(dictionary(t).VRs, "SQ") || len(value) >= 8 && s.order.Uint32(value) == 0xE000FFFE
	}
	return false
}

// items walks a sequence, an open one up to and with its delimiter; see elements.
func (w *walk) items(s *scanner, in uint32, depth int, open bool) bool {
	if depth > maxDepth {
		return false
	}
	for s.pos < len(s.data) {
		t, _, length, err := s.header()
		switch {
		case err != nil || t != tagItem && t != tagSequenceEnd:
			return false
		case t == tagSequenceEnd && open:
			return true
		case t == tagSequenceEnd:
			if length > 0 && !w.see(t, in) || s.skip(length) != nil {
				return false
			}
		case length == undefinedLength:
			if !w.elements(s, in, depth, true) {
				return false
			}
		default:
			from := s.pos
			if s.skip(length) != nil {
				return false
			}
			inner := &scanner{data: s.data[:s.pos], pos: from, implicit: s.implicit, order: s.order}
			w.damaged = !w.elements(inner, in, depth, false) || w.damaged
		}
	}
	return !open
}

// dictionary looks a tag up in PS3.6; a tag that is not there gives the zero value.
func dictionary(t uint32) tag.Info {
	info, err := tag.Find(tag.Tag{Group: uint16(t >> 16), Element: uint16(t)})
	if err != nil {
		return tag.Info{}
	}
	return info
}
