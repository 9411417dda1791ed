package flat

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
)

// The kinds of a record. The numbers are stored; append only.
//
//	create   collection id, name, vectors{name, size, distance}
//	drop     collection id
//	aliases  the whole map {alias, collection id}
//	index    collection id, field, type, tenant, text parameters
//	unindex  collection id, field
//	points   collection id, changes
//	delete   collection id, point ids
//	settings collection id, bytes
//	end      number of points in the snapshot, last sequence number it covers
//
// Numbers are uvarints, strings and lists carry their length first, floats are their bits
// in 4 or 8 bytes.
const (
	recCreate  = 1
	recDrop    = 2
	recAliases = 3
	recIndex   = 4
	recUnindex = 5
	recPoints  = 6
	recDelete  = 7
	recEnd     = 8
	recSetting = 9
)

// record is one decoded body; which fields count depends on kind.
type record struct {
	kind       byte
	collection uint64
	name       string // create: collection, index and unindex: field, settings: the bytes
	config     Config
	aliases    map[string]uint64
	index      Index
	changes    []change
	ids        []PointID
	points     uint64
	lsn        uint64
}

// change is the effect of a write on one point. With replace the point becomes exactly
// this; otherwise only what is named changes.
type change struct {
	id         PointID
	replace    bool
	hasPayload bool
	payload    Object
	vectors    []namedVector // as stored: already normalised
	removed    []string      // vector names
}

type namedVector struct {
	name string
	data []float32
}

var errBody = errors.New("record body is malformed")

func (r record) encode() []byte {
	b := binary.AppendUvarint([]byte{r.kind}, r.collection)
	switch r.kind {
	case recCreate:
		b = appendString(b, r.name)
		b = binary.AppendUvarint(b, uint64(len(r.config.Vectors)))
		for name, v := range r.config.Vectors {
			b = append(binary.AppendUvarint(appendString(b, name), uint64(v.Size)), byte(v.Distance))
		}
	case recAliases:
		b = binary.AppendUvarint(b, uint64(len(r.aliases)))
		for name, id := range r.aliases {
			b = binary.AppendUvarint(appendString(b, name), id)
		}
	case recIndex:
		t := r.index.Text
		b = append(appendString(b, r.name), byte(r.index.Type), boolByte(r.index.Tenant), byte(t.Tokenizer), boolByte(t.KeepCase), boolByte(t.PhrasesSupported))
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(t.MinToken)), uint64(t.MaxToken))
	case recUnindex, recSetting:
		b = appendString(b, r.name)
	case recPoints:
		b = slices.Grow(b, sizeHint(r.changes))
		b = binary.AppendUvarint(b, uint64(len(r.changes)))
		for _, c := range r.changes {
			b = c.append(b)
		}
	case recDelete:
		b = binary.AppendUvarint(b, uint64(len(r.ids)))
		for _, id := range r.ids {
			b = appendID(b, id)
		}
	case recEnd:
		b = binary.AppendUvarint(binary.AppendUvarint(b, r.points), r.lsn)
	}
	return b
}

// decodeRecord is the inverse of encode. Every count is checked against the bytes left
// before anything is allocated.
func decodeRecord(body []byte) (record, error) {
	d := decoder{b: body}
	r := record{kind: d.byte(), collection: d.uvarint()}
	switch r.kind {
	case recCreate:
		r.name = d.string()
		n := d.count(3)
		r.config.Vectors = make(map[string]VectorConfig, n)
		for range n {
			name := d.string()
			r.config.Vectors[name] = VectorConfig{Size: d.int(maxWidth), Distance: Distance(d.byte())}
		}
		if checkName(r.name) != nil || r.config.validate() != nil {
			return record{}, errBody
		}
	case recDrop:
	case recAliases:
		n := d.count(2)
		r.aliases = make(map[string]uint64, n)
		for range n {
			name := d.string()
			r.aliases[name] = d.uvarint()
		}
	case recIndex:
		r.name = d.string()
		r.index = Index{Type: IndexType(d.byte()), Tenant: d.bool()}
		r.index.Text = TextParams{Tokenizer: Tokenizer(d.byte()), KeepCase: d.bool(), PhrasesSupported: d.bool(), MinToken: d.int(math.MaxInt32), MaxToken: d.int(math.MaxInt32)}
	case recUnindex, recSetting:
		r.name = d.string()
	case recPoints:
		n := d.count(10)
		r.changes = make([]change, 0, n)
		for range n {
			r.changes = append(r.changes, d.change())
		}
	case recDelete:
		n := d.count(9)
		r.ids = make([]PointID, 0, n)
		for range n {
			r.ids = append(r.ids, d.id())
		}
	case recEnd:
		r.points, r.lsn = d.uvarint(), d.uvarint()
	default:
		return record{}, errBody
	}
	if d.bad || len(d.b) != 0 {
		return record{}, errBody
	}
	return r, nil
}

func (c change) append(b []byte) []byte {
	b = appendID(b, c.id)
	b = append(b, boolByte(c.replace)|boolByte(c.hasPayload)<<1)
	if c.hasPayload {
		b = appendValue(b, c.payload)
	}
	b = binary.AppendUvarint(b, uint64(len(c.vectors)))
	for _, v := range c.vectors {
		b = binary.AppendUvarint(appendString(b, v.name), uint64(len(v.data)))
		for _, x := range v.data {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
	}
	b = binary.AppendUvarint(b, uint64(len(c.removed)))
	for _, name := range c.removed {
		b = appendString(b, name)
	}
	return b
}

func sizeHint(cs []change) int {
	n := 0
	for _, c := range cs {
		n += 64 + c.payload.Len()*32
		for _, v := range c.vectors {
			n += 16 + 4*len(v.data)
		}
	}
	return n
}

// The tags of a payload value. The numbers are stored; append only.
const (
	tagNull   = 0
	tagFalse  = 1
	tagTrue   = 2
	tagInt    = 3 // zigzag varint
	tagFloat  = 4 // 8 bytes
	tagString = 5
	tagList   = 6
	tagObject = 7
)

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case bool:
		return append(b, tagFalse+boolByte(v))
	case int64:
		return binary.AppendVarint(append(b, tagInt), v)
	case float64:
		return binary.LittleEndian.AppendUint64(append(b, tagFloat), math.Float64bits(v))
	case string:
		return appendString(append(b, tagString), v)
	case List:
		b = binary.AppendUvarint(append(b, tagList), uint64(len(v.items)))
		for _, x := range v.items {
			b = appendValue(b, x)
		}
		return b
	case Object:
		b = binary.AppendUvarint(append(b, tagObject), uint64(len(v.members)))
		for _, m := range v.members {
			b = appendValue(appendString(b, m.Key), m.Value)
		}
		return b
	}
	return append(b, tagNull)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendID writes 1 byte of sort, then 8 bytes of number or 16 of UUID.
func appendID(b []byte, id PointID) []byte {
	if id.isUUID {
		return append(append(b, 1), id.uuid[:]...)
	}
	return binary.LittleEndian.AppendUint64(append(b, 0), id.num)
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// decoder reads from b; after the first fault it stays bad and gives zeros.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || n < 0 || n > len(d.b) {
		d.bad, d.b = true, nil
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) bool() bool {
	v := d.byte()
	d.bad = d.bad || v > 1
	return v == 1
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.take(-1)
		return 0
	}
	d.take(n)
	return v
}

func (d *decoder) int(limit int) int {
	v := d.uvarint()
	if v > uint64(limit) {
		d.take(-1)
		return 0
	}
	return int(v)
}

// count reads the length of a list whose items take at least itemSize bytes.
func (d *decoder) count(itemSize int) int { return d.int(len(d.b) / itemSize) }

func (d *decoder) string() string { return string(d.take(d.count(1))) }

func (d *decoder) id() PointID {
	switch d.byte() {
	case 0:
		if b := d.take(8); b != nil {
			return NumID(binary.LittleEndian.Uint64(b))
		}
	case 1:
		if b := d.take(16); b != nil {
			return UUIDID([16]byte(b))
		}
	default:
		d.take(-1)
	}
	return PointID{}
}

func (d *decoder) change() change {
	c := change{id: d.id()}
	flags := d.byte()
	c.replace, c.hasPayload = flags&1 != 0, flags&2 != 0
	d.bad = d.bad || flags > 3
	if c.hasPayload {
		o, ok := d.value(maxDepth).(Object)
		d.bad = d.bad || !ok
		c.payload = o
	}
	for range d.count(2) {
		v := namedVector{name: d.string()}
		raw := d.take(4 * d.count(4))
		v.data = make([]float32, len(raw)/4)
		for i := range v.data {
			v.data[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
		c.vectors = append(c.vectors, v)
	}
	for range d.count(1) {
		c.removed = append(c.removed, d.string())
	}
	return c
}

func (d *decoder) value(depth int) any {
	if depth == 0 {
		d.take(-1)
		return nil
	}
	switch d.byte() {
	case tagNull:
	case tagFalse:
		return false
	case tagTrue:
		return true
	case tagInt:
		v, n := binary.Varint(d.b)
		if n <= 0 {
			n = -1
		}
		d.take(n)
		return v
	case tagFloat:
		if b := d.take(8); b != nil {
			f := math.Float64frombits(binary.LittleEndian.Uint64(b))
			d.bad = d.bad || math.IsNaN(f) || math.IsInf(f, 0)
			return f
		}
	case tagString:
		return d.string()
	case tagList:
		items := make([]any, d.count(1))
		for i := range items {
			items[i] = d.value(depth - 1)
		}
		return List{items}
	case tagObject:
		ms := make([]Member, d.count(2))
		for i := range ms {
			ms[i].Key = d.string()
			ms[i].Value = d.value(depth - 1)
		}
		return object(ms)
	default:
		d.take(-1)
	}
	return nil
}
