package inflate

import "math/bits"

// An entry of a table tells what a code stands for:
//
//	bits 0-4    length of the code, or of all its codes where more bits must be looked at
//	bits 5-8    bits of extra value behind the code; where long is set, bits to look at besides
//	bits 9-12   what it is; none of these for a literal
//	bits 16-31  the literal, the least length or distance, or where long looks further
const (
	match   = 1 << 9
	last    = 1 << 10 // of the block
	long    = 1 << 11 // the code is longer than mainBits
	invalid = 1 << 12
	special = match | last | long | invalid
)

const (
	mainBits = 11 // longer codes are rare
	mainSize = 1 << mainBits
	maxCode  = 15
)

// table finds codes by the bits that come next.
type table struct {
	main [mainSize]uint32
	more []uint32
}

// long follows an entry with that flag.
func (t *table) long(e uint32, bits uint64) uint32 {
	return t.more[e>>16+uint32(bits>>mainBits&(1<<(e>>5&15)-1))]
}

// build makes the table of a canonical code (RFC 1951 section 3.2.2) from the lengths of the
// symbols. It returns false for lengths that are no code. A code of a single symbol may lack its
// other half, and one of none is never met.
func (t *table) build(lengths []uint8, entry func(symbol int) uint32) bool {
	var count, next [maxCode + 1]int
	for _, n := range lengths {
		count[n]++
	}
	count[0] = 0
	code, used := 0, 0
	for n := 1; n <= maxCode; n++ {
		code = (code + count[n-1]) << 1
		next[n] = code
		used += count[n] << (maxCode - n)
	}
	single := used == 1<<(maxCode-1) && count[1] == 1
	if used != 1<<maxCode && used != 0 && !single {
		return false
	}
	for i := range t.main {
		t.main[i] = invalid
	}
	t.more = t.more[:0]
	var deepest [mainSize]uint8 // of the codes that begin with these bits
	codes := make([]uint16, len(lengths))
	for symbol, n := range lengths {
		if n == 0 {
			continue
		}
		codes[symbol] = bits.Reverse16(uint16(next[n])) >> (16 - n)
		next[n]++
		start := &deepest[codes[symbol]&(mainSize-1)]
		*start = max(*start, n)
	}
	for symbol, n := range lengths {
		if n == 0 {
			continue
		}
		e, c := entry(symbol)|uint32(n), codes[symbol]
		if n <= mainBits {
			for i := int(c); i < mainSize; i += 1 << n {
				t.main[i] = e
			}
			continue
		}
		start := &t.main[c&(mainSize-1)]
		deep := deepest[c&(mainSize-1)] - mainBits
		if *start&long == 0 {
			*start = long | uint32(deep)<<5 | uint32(len(t.more))<<16
			for range 1 << deep {
				t.more = append(t.more, invalid)
			}
		}
		for i := int(c >> mainBits); i < 1<<deep; i += 1 << (n - mainBits) {
			t.more[int(*start>>16)+i] = e
		}
	}
	return true
}

// plain is the entry of a symbol that stands for itself.
func plain(symbol int) uint32 { return uint32(symbol) << 16 }

// literal is that of the literal and length alphabet (RFC 1951 section 3.2.5).
func literal(symbol int) uint32 {
	switch {
	case symbol < 256:
		return plain(symbol)
	case symbol == 256:
		return last
	case symbol < 265:
		return match | plain(symbol-257+3)
	case symbol < 285:
		extra := (symbol - 261) / 4
		return match | uint32(extra)<<5 | plain((4+(symbol-261)%4)<<extra+3)
	case symbol == 285:
		return match | plain(258)
	}
	return invalid
}

// distance is that of the distance alphabet.
func distance(symbol int) uint32 {
	switch {
	case symbol < 4:
		return match | plain(symbol+1)
	case symbol < 30:
		extra := (symbol - 2) / 2
		return match | uint32(extra)<<5 | plain((2+symbol%2)<<extra+1)
	}
	return invalid
}
