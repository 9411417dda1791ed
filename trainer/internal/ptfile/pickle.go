package ptfile

import (
	"bytes"
	"slices"
)

// The opcodes of a state dict: torch.save writes protocol 2 unless told otherwise.
const (
	opMark            = '('
	opStop            = '.'
	opNone            = 'N'
	opNewTrue         = 0x88
	opNewFalse        = 0x89
	opBinInt          = 'J'
	opBinInt1         = 'K'
	opBinInt2         = 'M'
	opLong1           = 0x8a
	opLong4           = 0x8b
	opBinFloat        = 'G'
	opBinUnicode      = 'X'
	opEmptyDict       = '}'
	opSetItem         = 's'
	opSetItems        = 'u'
	opEmptyList       = ']'
	opAppend          = 'a'
	opAppends         = 'e'
	opEmptyTuple      = ')'
	opTuple           = 't'
	opTuple1          = 0x85
	opTuple2          = 0x86
	opTuple3          = 0x87
	opBinGet          = 'h'
	opLongBinGet      = 'j'
	opBinPut          = 'q'
	opLongBinPut      = 'r'
	opGlobal          = 'c'
	opBinPersID       = 'Q'
	opReduce          = 'R'
	opBuild           = 'b'
	opProto           = 0x80
	opBinBytes        = 'B' // protocol 3
	opShortBinBytes   = 'C'
	opShortBinUnicode = 0x8c // protocol 4
	opBinUnicode8     = 0x8d
	opBinBytes8       = 0x8e
	opStackGlobal     = 0x93
	opMemoize         = 0x94
	opFrame           = 0x95
)

// What lies on the stack, besides string, int64, bool, nil, [storage] and [tensor].
type (
	dict   map[any]any // by string or int64
	tuple  []any
	opaque struct{} // a list, or another leaf that no tensor is made of
	list   struct{} // what is in it is left out
	global string   // the name of one of Python's functions and classes
)

// machine runs a pickle.
type machine struct {
	text  []byte // what is left of it
	stack []any
	marks []int // heights of the stack
	memo  map[uint64]any
	err   error // the first
}

// unpickle returns what a pickle makes. Memory stays within some 100 bytes for each opcode, and
// the pickle's own size.
func unpickle(text []byte) (any, error) {
	m := &machine{text: text, memo: map[uint64]any{}}
	for range maxSteps {
		code := byte(m.uint(1))
		if m.err == nil && code == opStop {
			v := m.pop()
			return v, m.err
		}
		if m.err == nil {
			m.step(code)
		}
		if m.err != nil {
			return nil, m.err
		}
	}
	return nil, refuse("takes more than %d steps to read: %s", maxSteps, advice)
}

func (m *machine) step(code byte) {
	switch code {
	case opProto:
		if v := m.uint(1); v > 5 {
			m.fail(refuse("is a pickle of protocol %d, which is not known", v))
		}
	case opFrame: // says how much to read at once
		m.uint(8)
	case opNone:
		m.push(nil)
	case opNewTrue, opNewFalse:
		m.push(code == opNewTrue)
	case opBinInt:
		m.push(int64(int32(m.uint(4))))
	case opBinInt1:
		m.push(int64(m.uint(1)))
	case opBinInt2:
		m.push(int64(m.uint(2)))
	case opLong1:
		m.push(m.long(m.uint(1)))
	case opLong4:
		m.push(m.long(m.uint(4)))
	case opBinFloat:
		m.skip(8)
	case opBinUnicode:
		m.push(string(m.bytes(m.uint(4))))
	case opShortBinUnicode:
		m.push(string(m.bytes(m.uint(1))))
	case opBinUnicode8:
		m.push(string(m.bytes(m.uint(8))))
	case opBinBytes:
		m.skip(m.uint(4))
	case opShortBinBytes:
		m.skip(m.uint(1))
	case opBinBytes8:
		m.skip(m.uint(8))
	case opEmptyDict:
		m.push(dict{})
	case opEmptyList:
		m.push(list{})
	case opEmptyTuple:
		m.push(tuple{})
	case opMark:
		m.marks = append(m.marks, len(m.stack))
	case opTuple:
		m.push(tuple(m.popMark()))
	case opTuple1, opTuple2, opTuple3:
		m.push(tuple(m.popN(int(code) - opTuple1 + 1)))
	case opSetItem:
		m.set(m.popN(2))
	case opSetItems:
		m.set(m.popMark())
	case opAppend:
		m.pop()
		m.want(list{})
	case opAppends:
		m.popMark()
		m.want(list{})
	case opBinPut:
		m.memo[m.uint(1)] = m.top()
	case opLongBinPut:
		m.memo[m.uint(4)] = m.top()
	case opMemoize:
		m.memo[uint64(len(m.memo))] = m.top()
	case opBinGet:
		m.get(m.uint(1))
	case opLongBinGet:
		m.get(m.uint(4))
	case opGlobal:
		m.global(m.line(), m.line())
	case opStackGlobal:
		names := m.popN(2)
		if m.err != nil {
			return
		}
		module, ok1 := names[0].(string)
		name, ok2 := names[1].(string)
		if !ok1 || !ok2 {
			m.damaged("a name that is none")
			return
		}
		m.global(module, name)
	case opBinPersID:
		m.persistent(m.pop())
	case opReduce:
		args, function := m.pop(), m.pop()
		m.reduce(function, args)
	case opBuild: // the attributes of an OrderedDict: versions of modules
		m.pop()
		if _, ok := m.top().(dict); !ok {
			m.damaged("attributes of what can have none")
		}
	default:
		m.fail(refuse("is a pickle with opcode %#02x, which no state dict has: %s", code, advice))
	}
}

// global pushes a name that may be used; nothing stands behind it but the cases of reduce.
func (m *machine) global(module, name string) {
	if m.err != nil {
		return
	}
	g := global(module + "." + name)
	_, width := decoder(string(g))
	switch {
	case width > 0:
	case g == "collections.OrderedDict", g == "torch.Size", g == "torch._utils._rebuild_tensor_v2", g == "torch._utils._rebuild_parameter":
	default:
		m.fail(refuse("is refused: the file wants to run %.128q: %s", string(g), advice))
		return
	}
	m.push(g)
}

// persistent pushes the storage that torch.save wrote beside the pickle.
func (m *machine) persistent(id any) {
	t, _ := id.(tuple)
	if len(t) != 5 || t[0] != "storage" {
		m.damaged("a storage of an unknown form")
		return
	}
	class, ok1 := t[1].(global)
	key, ok2 := t[2].(string)
	count, ok3 := t[4].(int64) // t[3] is the device
	if _, width := decoder(string(class)); !ok1 || !ok2 || !ok3 || width == 0 || count < 0 {
		m.damaged("a storage of an unknown form")
		return
	}
	m.push(storage{string(class), key, int(count)})
}

// reduce pushes what function would make of args.
func (m *machine) reduce(function, args any) {
	if m.err != nil {
		return
	}
	g, ok := function.(global)
	in, is := args.(tuple)
	if !ok || !is {
		m.damaged("a call of nothing")
		return
	}
	switch {
	case g == "collections.OrderedDict" && len(in) == 0:
		m.push(dict{})
	case g == "torch.Size" && len(in) == 1:
		m.push(in[0])
	case g == "torch._utils._rebuild_parameter" && len(in) == 3: // a tensor that requires gradients
		t, ok := in[0].(tensor)
		if !ok {
			m.damaged("a parameter that is no tensor")
			return
		}
		m.push(t)
	case g == "torch._utils._rebuild_tensor_v2" && len(in) == 6: // a seventh says that all is negated
		s, ok1 := in[0].(storage)
		offset, ok2 := in[1].(int64)
		shape, ok3 := integers(in[2])
		stride, ok4 := integers(in[3])
		if !ok1 || !ok2 || !ok3 || !ok4 || offset < 0 || len(shape) != len(stride) || len(shape) > maxRank {
			m.damaged("a tensor of an impossible shape")
			return
		}
		m.push(tensor{s, int(offset), shape, stride})
	default:
		m.fail(refuse("is refused: the file wants to run %q with %d arguments: %s", string(g), len(in), advice))
	}
}

// integers returns a tuple of sizes.
func integers(v any) ([]int, bool) {
	t, ok := v.(tuple)
	out := make([]int, 0, min(len(t), maxRank))
	for _, v := range t {
		n, is := v.(int64)
		if !is || n < 0 {
			return nil, false
		}
		out = append(out, int(n))
	}
	return out, ok
}

// set puts keys and values into the dict below them.
func (m *machine) set(items []any) {
	d, ok := m.top().(dict)
	if !ok || len(items)%2 != 0 {
		m.damaged("entries of what is no dict")
		return
	}
	for i := 0; i < len(items); i += 2 {
		switch key := items[i].(type) {
		case string, int64:
			d[key] = items[i+1]
		} // a state dict has strings; what has other keys is none
	}
}

func (m *machine) want(v any) {
	if m.top() != v {
		m.damaged("members of what is no list")
	}
}

func (m *machine) get(at uint64) {
	v, ok := m.memo[at]
	if !ok {
		m.damaged("a reference to nothing")
		return
	}
	m.push(v)
}

// skip pushes what n bytes stand for without looking at it.
func (m *machine) skip(n uint64) {
	m.bytes(n)
	m.push(opaque{})
}

// long returns an integer of n bytes; larger ones (a generator's seed) are no sizes.
func (m *machine) long(n uint64) any {
	b := m.bytes(n)
	if len(b) > 8 {
		return opaque{}
	}
	var v int64
	for i, x := range slices.Backward(b) {
		if i == len(b)-1 {
			v = int64(int8(x))
			continue
		}
		v = v<<8 | int64(x)
	}
	return v
}

// uint returns an unsigned number of up to 8 bytes.
func (m *machine) uint(n uint64) uint64 {
	var v uint64
	for _, x := range slices.Backward(m.bytes(n)) {
		v = v<<8 | uint64(x)
	}
	return v
}

// bytes takes n bytes off the text; none once anything has failed.
func (m *machine) bytes(n uint64) []byte {
	if m.err == nil && n > uint64(len(m.text)) {
		m.damaged("its end too early")
	}
	if m.err != nil {
		return nil
	}
	b := m.text[:n]
	m.text = m.text[n:]
	return b
}

// line takes a line off the text.
func (m *machine) line() string {
	n := bytes.IndexByte(m.text, '\n')
	if n < 0 {
		m.damaged("its end too early")
		return ""
	}
	b := m.bytes(uint64(n) + 1)
	return string(bytes.TrimSuffix(b, []byte("\n")))
}

func (m *machine) push(v any) { m.stack = append(m.stack, v) }

// floor is below which nothing may be taken: what is under a mark belongs to what comes after.
func (m *machine) floor() int {
	if len(m.marks) == 0 {
		return 0
	}
	return m.marks[len(m.marks)-1]
}

func (m *machine) top() any {
	if len(m.stack) <= m.floor() {
		m.damaged("too little on its stack")
		return nil
	}
	return m.stack[len(m.stack)-1]
}

func (m *machine) pop() any {
	v := m.top()
	if m.err == nil {
		m.stack = m.stack[:len(m.stack)-1]
	}
	return v
}

func (m *machine) popN(n int) []any {
	if len(m.stack)-n < m.floor() {
		m.damaged("too little on its stack")
		return nil
	}
	v := slices.Clone(m.stack[len(m.stack)-n:])
	m.stack = m.stack[:len(m.stack)-n]
	return v
}

// popMark takes all down to the last mark.
func (m *machine) popMark() []any {
	if len(m.marks) == 0 {
		m.damaged("too little on its stack")
		return nil
	}
	n := len(m.stack) - m.floor()
	v := m.popN(n)
	m.marks = m.marks[:len(m.marks)-1]
	return v
}

func (m *machine) damaged(what string) {
	m.fail(corrupt("is damaged: its pickle has %s", what))
}

func (m *machine) fail(err error) {
	if m.err == nil {
		m.err = err
	}
}
