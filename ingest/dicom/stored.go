package dicom

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math"
)

// stored are the values of one frame as they are stored, row-major, the samples of a pixel
// together, sign-extended from Bits Stored.
type stored struct {
	values []uint16
	long   []uint32 // in place of values, when 32 bits are allocated
	signed bool
	color  string // of a codestream that says its own Photometric Interpretation: RGB or YBR_FULL
}

// Stats are figures over all stored values of all frames.
type Stats struct {
	Min, Max int
	Mean     float64
	// SHA256 is over the values little endian, frame after frame, the samples of a pixel
	// together: of one byte, of two when more than 8 bits are allocated, of four when more
	// than 16 are. Single bits are packed, the first in the lowest bit (PS3.5 section 8.1.1).
	SHA256 [32]byte
}

// tally makes Stats of one frame after another.
type tally struct {
	hash     hash.Hash
	bits     int // allocated
	min, max int64
	sum, n   int64
	buffer   []byte
	packed   byte // bits that do not make a byte yet
	used     int  // their number
}

func newTally(bits int) *tally {
	return &tally{hash: sha256.New(), bits: bits, min: math.MaxInt64, max: math.MinInt64, buffer: make([]byte, 0, 1<<14)}
}

func (t *tally) add(s stored) {
	for _, raw := range s.values {
		v := int64(raw)
		if s.signed {
			v = int64(int16(raw))
		}
		t.see(v)
		switch {
		case t.bits == 1:
			t.bit(byte(raw & 1))
		case t.bits <= 8:
			t.buffer = append(t.buffer, byte(raw))
		default:
			t.buffer = append(t.buffer, byte(raw), byte(raw>>8))
		}
		t.flush(1<<14 - 8)
	}
	for _, raw := range s.long {
		v := int64(raw)
		if s.signed {
			v = int64(int32(raw))
		}
		t.see(v)
		t.buffer = binary.LittleEndian.AppendUint32(t.buffer, raw)
		t.flush(1<<14 - 8)
	}
}

func (t *tally) see(v int64) {
	t.min, t.max = min(t.min, v), max(t.max, v)
	t.sum += v
	t.n++
}

func (t *tally) bit(b byte) {
	t.packed |= b << t.used
	if t.used++; t.used == 8 {
		t.buffer = append(t.buffer, t.packed)
		t.packed, t.used = 0, 0
	}
}

// flush hashes the buffer when it holds more than n bytes.
func (t *tally) flush(n int) {
	if len(t.buffer) > n {
		t.hash.Write(t.buffer)
		t.buffer = t.buffer[:0]
	}
}

func (t *tally) stats() Stats {
	if t.used != 0 {
		t.buffer = append(t.buffer, t.packed)
	}
	t.flush(0)
	s := Stats{Min: int(t.min), Max: int(t.max), Mean: float64(t.sum) / float64(t.n)}
	t.hash.Sum(s.SHA256[:0])
	return s
}
