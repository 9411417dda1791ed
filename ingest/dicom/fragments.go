package dicom

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/radstream/radstream/ingest/dicom/codec"
)

// maxFragments bounds the fragments, and so the frames, of encapsulated pixel data.
const maxFragments = 1 << 20

// fragment is one item of encapsulated pixel data.
type fragment struct {
	offset uint64 // of its item tag, from that of the first fragment
	data   []byte
}

// split assigns the fragments to frames (PS3.5 section A.4): an item that holds the offset
// table, which may be empty, then the fragments, then a delimiter. The scan has checked
// the items and that the delimiter is there.
func (f *File) split() ([][][]byte, error) {
	table, all, err := f.fragments()
	if err != nil {
		return nil, err
	}
	size := 0
	for _, g := range all {
		size += len(g.data)
	}
	if size == 0 {
		return nil, unsupported(ReasonNoPixels, "pixel data must hold a frame behind its offset table")
	}
	if len(f.offsets.value) > 0 { // the extended table stands in place of the basic one
		offsets := make([]uint64, len(f.offsets.value)/8)
		for i := range offsets {
			offsets[i] = binary.LittleEndian.Uint64(f.offsets.value[8*i:])
		}
		return f.splitAt(all, offsets, f.lengths.value)
	}
	if len(table) > 0 {
		offsets := make([]uint64, len(table)/4)
		for i := range offsets {
			offsets[i] = uint64(binary.LittleEndian.Uint32(table[4*i:]))
		}
		return f.splitAt(all, offsets, nil)
	}
	return f.splitByEnds(all)
}

func (f *File) fragments() (table []byte, all []fragment, err error) {
	s := &scanner{data: f.pixels.value, implicit: true, order: binary.LittleEndian}
	first := 0
	for i := 0; ; i++ {
		start := s.pos
		tag, _, length, err := s.header()
		if err != nil {
			return nil, nil, err
		}
		if tag == tagSequenceEnd {
			return table, all, nil
		}
		data, err := s.take(int(length))
		switch {
		case err != nil || length == undefinedLength:
			return nil, nil, malformed("a fragment has a defined length (PS3.5 A.4)")
		case i == 0:
			table, first = data, s.pos
		case i > maxFragments:
			return nil, nil, unsupported(ReasonTooLarge, "pixel data must have at most %d fragments", maxFragments)
		default:
			all = append(all, fragment{uint64(start - first), data})
		}
	}
}

// splitAt has a frame start at each offset. With lengths, which an extended offset table
// has, a frame is one fragment and may be padded (PS3.3 section C.7.6.3.1.8).
func (f *File) splitAt(all []fragment, offsets []uint64, lengths []byte) ([][][]byte, error) {
	frames := make([][][]byte, 0, min(len(offsets), len(all)))
	for _, g := range all {
		next := len(frames)
		switch {
		case next < len(offsets) && offsets[next] == g.offset:
			data := g.data
			if len(lengths) >= 8*next+8 {
				n := binary.LittleEndian.Uint64(lengths[8*next:])
				data = data[:min(n, uint64(len(data)))]
			}
			frames = append(frames, [][]byte{data})
		case next == 0:
			return nil, malformed("the first offset of the offset table is 0 (PS3.5 A.4)")
		default:
			frames[next-1] = append(frames[next-1], g.data)
		}
	}
	switch {
	case len(offsets) > f.Frames:
		return nil, malformed("the offset table must have an offset for each frame of Number of Frames (0028,0008) (PS3.5 A.4)")
	case len(frames) < len(offsets):
		return nil, malformed("each offset must be that of a fragment, and they must ascend (PS3.5 A.4)")
	case len(frames) < f.Frames:
		return nil, short("pixel data must hold as many frames as Number of Frames (0028,0008) says (PS3.5 A.4)")
	}
	return frames, nil
}

// splitByEnds finds the frames without a table: one frame has all fragments, several have
// one each, or else end with the end-of-image marker that JPEG, JPEG-LS and JPEG 2000
// share.
func (f *File) splitByEnds(all []fragment) ([][][]byte, error) {
	frames := make([][][]byte, 0, min(f.Frames, len(all)))
	ended := true
	for _, g := range all {
		if ended {
			frames = append(frames, nil)
		}
		last := len(frames) - 1
		frames[last] = append(frames[last], g.data)
		switch {
		case f.Frames == 1:
			ended = false
		case f.Frames == len(all) || !marked(f.TransferSyntax):
			ended = true
		default:
			ended = bytes.HasSuffix(bytes.TrimRight(g.data, "\x00"), []byte("\xff\xd9"))
		}
	}
	switch {
	case len(frames) < f.Frames:
		return nil, short("pixel data must hold as many frames as Number of Frames (0028,0008) says (PS3.5 A.4)")
	case len(frames) > f.Frames:
		return nil, malformed("pixel data must hold no more frames than Number of Frames (0028,0008) says (PS3.5 A.4)")
	}
	return frames, nil
}

// marked tells whether frames of a syntax end with a marker.
func marked(syntax string) bool { return syntax != codec.RLE && syntax != encapsulatedLE }

// join returns the bytes of a frame, copied only when it is in several fragments.
func join(pieces [][]byte) []byte {
	if len(pieces) == 1 {
		return pieces[0]
	}
	return slices.Concat(pieces...)
}
