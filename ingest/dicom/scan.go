package dicom

import (
	"encoding/binary"

	"github.com/radstream/radstream/schemas/fault"
)

// Tags that the scanner acts on; the group is the upper half.
const (
	tagItem         = 0xFFFEE000
	tagItemEnd      = 0xFFFEE00D
	tagSequenceEnd  = 0xFFFEE0DD
	tagFrameOffsets = 0x7FE00001 // Extended Offset Table
	tagFrameLengths = 0x7FE00002
	tagFloatPixels  = 0x7FE00008
	tagDoublePixels = 0x7FE00009
	tagPixels       = 0x7FE00010
)

// undefinedLength says that a value ends at a delimiter (PS3.5 section 7.1.1).
const undefinedLength = 0xFFFFFFFF

// maxDepth bounds sequences within sequences.
const maxDepth = 32

// element is one data element. The value is a part of the file's bytes; for an undefined
// length it includes the closing delimiter.
type element struct {
	tag       uint32
	vr        string // empty where it is implicit
	value     []byte
	undefined bool
}

// scanner walks the data elements of one data set (PS3.5 section 7). It never allocates
// and never reads past data; every length is checked against what is there.
type scanner struct {
	data     []byte
	pos      int
	implicit bool
	order    binary.ByteOrder
}

// next returns the next element, or false at the end of the data. A sequence is one
// element.
func (s *scanner) next() (element, bool, error) {
	if s.pos == len(s.data) {
		return element{}, false, nil
	}
	e, err := s.element(0)
	return e, err == nil, err
}

func (s *scanner) element(depth int) (element, error) {
	tag, vr, length, err := s.header()
	if err != nil {
		return element{}, err
	}
	start := s.pos
	e := element{tag: tag, vr: vr, undefined: length == undefinedLength}
	if !e.undefined {
		if err := s.skip(length); err != nil {
			return element{}, err
		}
		e.value = s.data[start:s.pos]
		return e, nil
	}
	// The content of UN with an undefined length is implicit little endian whatever the
	// transfer syntax (PS3.5 section 6.2.2, note 4).
	implicit, order := s.implicit, s.order
	if vr == "UN" {
		s.implicit, s.order = true, binary.LittleEndian
	}
	err = s.items(depth + 1)
	s.implicit, s.order = implicit, order
	e.value = s.data[start:s.pos]
	return e, err
}

// items reads up to and with the sequence delimiter.
func (s *scanner) items(depth int) error {
	if depth > maxDepth {
		return fault.Reject("dicom.scan", fault.Invalid, ReasonMalformed, "sequences may be %d deep", maxDepth)
	}
	for {
		tag, _, length, err := s.header()
		switch {
		case err != nil:
			return err
		case tag == tagSequenceEnd:
			return nil
		case tag != tagItem:
			return malformed("a value of undefined length is made of items (FFFE,E000) and ends with (FFFE,E0DD) (PS3.5 7.5)")
		case length != undefinedLength:
			err = s.skip(length)
		default:
			err = s.itemElements(depth)
		}
		if err != nil {
			return err
		}
	}
}

// itemElements reads the elements of one item up to and with the item delimiter.
func (s *scanner) itemElements(depth int) error {
	for {
		before := s.pos
		tag, _, _, err := s.header()
		if err != nil {
			return err
		}
		if tag == tagItemEnd {
			return nil
		}
		s.pos = before
		if _, err := s.element(depth); err != nil {
			return err
		}
	}
}

// eachItem calls visit for the elements of the items of a sequence, with the scanner that
// read them, until visit returns false. It ends at the first damage, and not at a delimiter
// within what has a length; the zero element is a sequence without items.
func (s *scanner) eachItem(sequence element, visit func(item int, e element, s *scanner) bool) {
	outer := scanner{data: sequence.value, implicit: s.implicit, order: s.order}
	if sequence.vr == "UN" { // as in element; writers do the same with a defined length
		outer.implicit, outer.order = true, binary.LittleEndian
	}
	for item := 0; ; {
		tag, _, length, err := outer.header()
		if err == nil && tag == tagSequenceEnd && !sequence.undefined && outer.skip(length) == nil {
			continue
		}
		if err != nil || tag != tagItem {
			return
		}
		inner := outer
		if length != undefinedLength {
			if outer.skip(length) != nil {
				return
			}
			inner.data = outer.data[:outer.pos]
		}
		for {
			e, more, err := inner.next()
			if err != nil {
				return
			}
			if !more || e.tag == tagItemEnd && length == undefinedLength {
				break
			}
			if !visit(item, e, &inner) {
				return
			}
		}
		outer.pos = inner.pos
		item++
	}
}

// header reads tag, VR and length (PS3.5 section 7.1.2 and 7.1.3). Items and delimiters
// have no VR in any syntax.
func (s *scanner) header() (tag uint32, vr string, length uint32, err error) {
	b, err := s.take(8)
	if err != nil {
		return 0, "", 0, err
	}
	tag = uint32(s.order.Uint16(b))<<16 | uint32(s.order.Uint16(b[2:]))
	if s.implicit || tag>>16 == 0xFFFE {
		return tag, "", s.order.Uint32(b[4:]), nil
	}
	vr = string(b[4:6])
	switch {
	case shortVR(vr):
		return tag, vr, uint32(s.order.Uint16(b[6:])), nil
	case vr[0] < 'A' || vr[0] > 'Z' || vr[1] < 'A' || vr[1] > 'Z':
		return 0, "", 0, malformed("a value representation is two capital letters (PS3.5 6.2)")
	}
	if b, err = s.take(4); err != nil {
		return 0, "", 0, err
	}
	return tag, vr, s.order.Uint32(b), nil
}

func (s *scanner) skip(n uint32) error {
	_, err := s.take(int(n))
	return err
}

func (s *scanner) take(n int) ([]byte, error) {
	if n > len(s.data)-s.pos {
		return nil, fault.Reject("dicom.scan", fault.Invalid, ReasonTruncated, "the file ends inside a data element")
	}
	s.pos += n
	return s.data[s.pos-n : s.pos], nil
}

// shortVR tells whether the length behind an explicit VR has two bytes (PS3.5 table
// 7.1-2). VRs that a later edition adds have four.
func shortVR(vr string) bool {
	switch vr {
	case "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FL", "FD", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US":
		return true
	}
	return false
}

func malformed(format string, args ...any) error {
	return fault.Reject("dicom.Parse", fault.Invalid, ReasonMalformed, format, args...)
}
