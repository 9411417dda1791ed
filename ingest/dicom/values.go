package dicom

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	lib "github.com/suyashkumar/dicom"
)

// maxValue bounds the values that are read from a header, in bytes. The longest that is
// legal among them is a handful of UIDs.
const maxValue = 4096

// values holds the decoded attributes of a header by tag.
type values map[uint32]lib.Value

// decode has the library decode the values of elements.
//
// The library panics on an unknown transfer syntax, allocates what a length claims and
// stops at the first element it cannot read. So it is never given the file: it gets a
// small implicit little-endian file that is built here from elements whose lengths were
// checked. Implicit, because then the library goes by its dictionary and not by the VR
// that a sender wrote, which may be UN or wrong. An element that it fails on is left out
// and the rest is decoded again.
//
// Text is decoded before, since the library knows no escape sequences.
func decode(elements []element, order binary.ByteOrder) values {
	out := values{}
	var c charset
	if i := slices.IndexFunc(elements, func(e element) bool { return e.tag == tagCharacterSet }); i >= 0 {
		c = charsetOf(elements[i].value)
		elements = slices.Delete(elements, i, i+1)
	}
	for len(elements) > 0 {
		n := decodeUntilError(elements, c, order, out)
		elements = elements[min(n+1, len(elements)):]
	}
	return out
}

// decodeUntilError adds the decoded elements to out and returns how many there were
// before the first that the library failed on.
func decodeUntilError(elements []element, c charset, order binary.ByteOrder, out values) (n int) {
	file := smallFile(elements, c, order)
	defer func() { _ = recover() }() // the library panics on what it does not expect
	p, err := lib.NewParser(bytes.NewReader(file), int64(len(file)), nil)
	if err != nil {
		return 0
	}
	for {
		e, err := p.Next()
		if err != nil { // also the end
			return n
		}
		out[uint32(e.Tag.Group)<<16|uint32(e.Tag.Element)] = e.Value
		n++
	}
}

// smallFile writes elements as an implicit little-endian file.
func smallFile(elements []element, c charset, order binary.ByteOrder) []byte {
	le := binary.LittleEndian
	b := append(make([]byte, 128, 2048), "DICM"...)
	b = append(b, 2, 0, 0, 0, 'U', 'L', 4, 0, 26, 0, 0, 0) // group length
	b = append(b, 2, 0, 0x10, 0, 'U', 'I', 18, 0)
	b = append(b, implicitLE+"\x00"...)
	for _, e := range elements {
		value := c.utf8(e.value)
		if isShort(e.tag) {
			value = shorts(e, order)
		}
		b = le.AppendUint16(b, uint16(e.tag>>16))
		b = le.AppendUint16(b, uint16(e.tag))
		b = le.AppendUint32(b, uint32(len(value)))
		b = append(b, value...)
	}
	return b
}

// shorts returns the value of an element of 16-bit numbers in little endian. Some senders write
// a number of another VR there; one that does not fit is none.
func shorts(e element, order binary.ByteOrder) (value []byte) {
	le := binary.LittleEndian
	n := -1
	switch {
	case e.vr == "IS" || e.vr == "DS":
		if v, ok := decimal(strings.Trim(string(e.value), " \x00")); ok && v == float64(uint16(v)) {
			n = int(v)
		}
	case (e.vr == "UL" || e.vr == "SL") && len(e.value) == 4:
		n = int(order.Uint32(e.value))
	default:
		for i := 0; i+1 < len(e.value); i += 2 {
			value = le.AppendUint16(value, order.Uint16(e.value[i:]))
		}
		return value
	}
	if n < 0 || n > 1<<16-1 {
		return nil
	}
	return le.AppendUint16(nil, uint16(n))
}

// isShort tells whether a wanted element holds 16-bit numbers.
func isShort(tag uint32) bool {
	switch tag {
	case tagSamples, tagPlanar, tagRows, tagColumns, tagBitsAllocated, tagBitsStored, tagHighBit, tagPixelRepresentation,
		tagPadding, tagPaddingLimit:
		return true
	}
	return false
}

// text returns the first value of a text attribute, without padding.
func (v values) text(tag uint32) string {
	if all := v.texts(tag); len(all) > 0 {
		return all[0]
	}
	return ""
}

func (v values) texts(tag uint32) []string {
	value := v[tag]
	if value == nil || value.ValueType() != lib.Strings {
		return nil
	}
	all := lib.MustGetStrings(value)
	for i := range all {
		all[i] = strings.Trim(all[i], " \x00\t\r\n")
	}
	return all
}

// short returns the first value of an attribute of 16-bit numbers.
func (v values) short(tag uint32) (int, bool) {
	value := v[tag]
	if value == nil || value.ValueType() != lib.Ints {
		return 0, false
	}
	if all := lib.MustGetInts(value); len(all) > 0 {
		return all[0], true
	}
	return 0, false
}

// number returns the first value of a decimal string.
func (v values) number(tag uint32) (float64, bool) {
	return decimal(v.text(tag))
}
