package jpeg2000

import "math/bits"

// mqState is a row of T.800 table C.2: the probability of the less probable symbol, the next
// states, and whether that symbol becomes the more probable one.
type mqState struct {
	qe         uint16
	nmps, nlps uint8
	flip       uint8
}

var mqStates = [47]mqState{
	{0x5601, 1, 1, 1}, {0x3401, 2, 6, 0}, {0x1801, 3, 9, 0}, {0x0ac1, 4, 12, 0},
	{0x0521, 5, 29, 0}, {0x0221, 38, 33, 0}, {0x5601, 7, 6, 1}, {0x5401, 8, 14, 0},
	{0x4801, 9, 14, 0}, {0x3801, 10, 14, 0}, {0x3001, 11, 17, 0}, {0x2401, 12, 18, 0},
	{0x1c01, 13, 20, 0}, {0x1601, 29, 21, 0}, {0x5601, 15, 14, 1}, {0x5401, 16, 14, 0},
	{0x5101, 17, 15, 0}, {0x4801, 18, 16, 0}, {0x3801, 19, 17, 0}, {0x3401, 20, 18, 0},
	{0x3001, 21, 19, 0}, {0x2801, 22, 19, 0}, {0x2401, 23, 20, 0}, {0x2201, 24, 21, 0},
	{0x1c01, 25, 22, 0}, {0x1801, 26, 23, 0}, {0x1601, 27, 24, 0}, {0x1401, 28, 25, 0},
	{0x1201, 29, 26, 0}, {0x1101, 30, 27, 0}, {0x0ac1, 31, 28, 0}, {0x09c1, 32, 29, 0},
	{0x08a1, 33, 30, 0}, {0x0521, 34, 31, 0}, {0x0441, 35, 32, 0}, {0x02a1, 36, 33, 0},
	{0x0221, 37, 34, 0}, {0x0141, 38, 35, 0}, {0x0111, 39, 36, 0}, {0x0085, 40, 37, 0},
	{0x0049, 41, 38, 0}, {0x0025, 42, 39, 0}, {0x0015, 43, 40, 0}, {0x0009, 44, 41, 0},
	{0x0005, 45, 42, 0}, {0x0001, 45, 43, 0}, {0x5601, 46, 46, 0},
}

// mqContext is a context: Qe at bit mqShift, and its index in mqNext in the low byte, which
// is twice the row of mqStates plus the more probable symbol.
type mqContext int64

// mqShift is how many bits of the code the decoder reads ahead of the 16 that Annex C
// compares, so that bytes come in several at a time.
const mqShift = 32

func newMQContext(state int, mps uint8) mqContext {
	return mqContext(mqStates[state].qe)<<mqShift | mqContext(2*state) | mqContext(mps)
}

// mqNext holds, for each context, what follows its more and its less probable symbol.
type mqNext [128][2]mqContext

func newMQNext() (t mqNext) {
	for i, s := range mqStates {
		for mps := range uint8(2) {
			t[2*i+int(mps)] = [2]mqContext{newMQContext(int(s.nmps), mps), newMQContext(int(s.nlps), mps^s.flip)}
		}
	}
	return t
}

// Contexts of tier-1, T.800 table D.7; the first nine are those of zero coding.
const (
	ctxSign      = 9
	ctxMagnitude = 14
	ctxRun       = 17
	ctxUniform   = 18
)

// mq is the arithmetic decoder of T.800 Annex C. Annex C subtracts Qe from both the interval
// A and the code C and looks whether C went below zero or A below 0x8000. Here both are kept
// less their common part d = min(A-0x8000, C), so that the usual decision, a more probable
// symbol without renormalization, is one subtraction and one comparison:
//
//	d -= Qe; if d >= 0 the symbol is the more probable one, else see [mq.exchange]
//
// The passes of tier-1 hold d in a local variable.
type mq struct {
	next     mqNext
	contexts [32]mqContext // 19 in use
	a, c, d  int64
	data     []byte // ends with two 0xFF bytes, which stand for all that follow (C.3.4)
	pos      int
	previous byte
	ahead    int // bits of c below mqShift that are read
}

const mqHalf = 0x8000 << mqShift

// resetContexts sets the initial states of T.800 table D.7.
func (m *mq) resetContexts() {
	for i := range m.contexts {
		m.contexts[i] = newMQContext(0, 0)
	}
	m.contexts[0] = newMQContext(4, 0)
	m.contexts[ctxRun] = newMQContext(3, 0)
	m.contexts[ctxUniform] = newMQContext(46, 0)
}

// start begins a codeword segment (INITDEC, T.800 C.3.5). data must end with 0xFF, 0xFF.
func (m *mq) start(data []byte) {
	m.data, m.pos, m.previous = data, 1, data[0]
	c := int64(data[0]) << mqShift
	m.ahead = 0
	c = m.fill(c) << 7
	m.ahead -= 7
	m.a, m.c, m.d = mqHalf, c, 0 // min(A-0x8000, C)
}

// fill adds bytes to c (BYTEIN, T.800 C.3.4): seven bits after an 0xFF, whose next byte may
// carry into it, and ones for ever where a marker would begin.
func (m *mq) fill(c int64) int64 {
	for m.ahead <= mqShift-8 {
		b := m.data[m.pos]
		if m.previous != 0xff {
			m.ahead += 8
		} else if b <= 0x8f {
			m.ahead += 7
		} else {
			c += 0xff << (mqShift - 8 - m.ahead)
			m.ahead += 8
			continue
		}
		c += int64(b) << (mqShift - m.ahead)
		m.previous = b
		m.pos++
	}
	return c
}

// exchange ends the decision of context k, which is cx, for which d, less Qe already, went below zero
// (T.800 C.3.2, C.3.3): it renormalizes, and returns the symbol and the new d.
func (m *mq) exchange(k uint32, cx mqContext, d int64) (uint32, int64) {
	qe := int64(cx &^ 0xff)
	a, c := m.a+d, m.c+d
	// The symbol is the less probable one if the code lies below zero, but the other way round
	// if a has become smaller than qe. Noise decides: a branch would be guessed wrongly.
	below := c >> 63
	less := uint32(below^(a-qe)>>63) & 1
	c += qe & below
	a ^= (a ^ qe) & below
	m.contexts[k&31] = m.next[cx&127][less]
	n := bits.LeadingZeros64(uint64(a)) - (63 - 15 - mqShift)
	if m.ahead < n {
		c = m.fill(c)
	}
	m.ahead -= n
	a, c = a<<n, c<<n
	d = min(a-mqHalf, c)
	m.a, m.c = a-d, c-d
	return uint32(cx)&1 ^ less, d
}

// bit decodes one symbol of context k.
func (m *mq) bit(k uint32) uint32 {
	cx := m.contexts[k&31]
	m.d -= int64(cx &^ 0xff)
	if m.d >= 0 {
		return uint32(cx) & 1
	}
	var bit uint32
	bit, m.d = m.exchange(k, cx, m.d)
	return bit
}

// rawBits reads the uncoded segments of selective bypass (T.800 D.6): most significant bit
// first, seven bits after an 0xFF. data ends like that of mq, and never runs out.
type rawBits struct {
	data  []byte
	pos   int
	value uint32
	left  uint
}

func (r *rawBits) bit() uint32 {
	if r.left == 0 {
		r.left = 8
		if r.value == 0xff {
			r.left = 7
		}
		r.value = 0xff
		if r.pos < len(r.data) {
			r.value = uint32(r.data[r.pos])
			r.pos++
		}
	}
	r.left--
	return r.value >> r.left & 1
}
