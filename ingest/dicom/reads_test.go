package dicom

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/radstream/radstream/ingest/deid"
)

// TestReadsOnlyTheAllowList puts every attribute of the dictionary and of the Basic Profile
// into a file, one at a time, and sees which of them change what is read. Those are the
// rows of ingest/deid/data/attributes.tsv, no more and no fewer: an attribute that somebody
// begins to read must be entered there with what becomes of it.
func TestReadsOnlyTheAllowList(t *testing.T) {
	rules, err := deid.LoadRules()
	if err != nil {
		t.Fatal(err)
	}
	tags := everyTag(rules)
	if len(tags) < 3000 {
		t.Fatalf("only %d tags are known", len(tags))
	}
	read := map[[2]deid.Tag]bool{}
	seen := func(tag, in uint32) {
		id := [2]deid.Tag{deid.Tag(in), deid.Tag(tag)}
		if !read[id] && rules.Treatment(id[1], id[0]) == "" {
			t.Errorf("%s in %s is read, and is not on the allow-list", id[1], id[0])
		}
		read[id] = true
	}
	plain := observe(t, nil, nil)
	for _, tag := range tags {
		for _, value := range candidates(tag) {
			e := rawElement(tag, value)
			changed := false
			if tag>>16 == 2 {
				changed = !reflect.DeepEqual(plain, observe(t, e, nil))
			} else {
				changed = !reflect.DeepEqual(plain, observe(t, nil, e))
			}
			if !changed {
				continue
			}
			seen(tag, 0)
			if !isOf(tag, "SQ") {
				break
			}
			table := append(rawElement(tagLUTDescriptor, []byte{1, 0, 0, 0, 16, 0}), rawElement(tagLUTData, []byte{9, 0})...)
			without := observe(t, nil, rawElement(tag, item(table)))
			for _, inner := range tags {
				for _, v := range candidates(inner)[:1] { // all that counts inside is text as it is, and numbers
					if !reflect.DeepEqual(without, observe(t, nil, rawElement(tag, item(slices.Concat(table, rawElement(inner, v)))))) {
						seen(inner, tag)
					}
				}
			}
		}
	}
	for _, a := range rules.Allowed() {
		if !read[[2]deid.Tag{a.In, a.Tag}] {
			t.Errorf("%s %s is on the allow-list, and is not read", a.Tag, a.Keyword)
		}
	}
}

// everyTag lists the attributes of the groups in which the profile has any.
func everyTag(rules *deid.Rules) (tags []uint32) {
	groups := map[uint32]bool{2: true, 0x28: true, 0x54: true, 0x7FE0: true}
	for g := uint32(0); g < 0x10000; g += 2 {
		for e := range uint32(0x40) {
			if e != 0 && dictionary(g<<16|e).Keyword != "" {
				groups[g] = true
			}
		}
	}
	for g := range groups {
		for e := range uint32(0x10000) {
			tag := g<<16 | e
			_, _, marked := rules.Profile(deid.Tag(tag))
			if (marked && g>>8 != 0x50 || dictionary(tag).Keyword != "") && e != 0 {
				tags = append(tags, tag)
			}
		}
	}
	return tags
}

// observe parses a small file with more elements in its meta information and its data set,
// in front of its own, and tells all that was read: once for each date of the pixels, without
// which their time is not looked at.
func observe(t *testing.T, meta, more []byte) []any {
	t.Helper()
	return append(observeDated(t, tagCreationDate, meta, more), observeDated(t, tagContentDate, meta, more)...)
}

func observeDated(t *testing.T, date uint32, meta, more []byte) []any {
	t.Helper()
	file := append(make([]byte, 128), "DICM"...)
	file = append(file, rawElement(0x00020001, []byte{0, 1})...)
	file = append(append(file, meta...), more...)
	file = append(file, rawElement(tagStudyDate, []byte("20240101"))...)
	file = append(file, rawElement(date, []byte("20240101"))...)
	file = append(file, rawElement(tagPatientID, []byte("P\xe9"))...)
	file = append(file, rawElement(tagPadding, []byte{1, 0})...)
	file = append(file, rawElement(tagWindowCenter, []byte("10"))...)
	file = append(file, rawElement(tagWindowWidth, []byte("20"))...)
	f, err := Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	seen := []any{f.Header, f.pixels.tag, f.offsets.tag, f.lengths.tag}
	for i := range f.palettes.table {
		seen = append(seen, f.palettes.descriptor[i].tag, f.palettes.table[i].tag)
	}
	return seen
}

// candidates are values of which one should show that the attribute is read.
func candidates(tag uint32) [][]byte {
	number := binary.LittleEndian.AppendUint64(nil, 7)
	switch vr := vrOf(tag); vr {
	case "US", "SS":
		return [][]byte{number[:2], {1, 0}}
	case "UL", "SL", "FL", "AT", "OB", "OW", "FD", "OF", "OD", "OL", "OV", "UV", "SV":
		return [][]byte{number}
	case "DA":
		return [][]byte{[]byte("20250607")}
	case "TM":
		return [][]byte{[]byte("010203")}
	case "SQ":
		return [][]byte{item(rawElement(tagCodeMeaning, []byte("lateral ")))}
	default:
		return [][]byte{[]byte("7 "), []byte("+0100 "), []byte("ISO_IR 144"), []byte(`2\1 `)}
	}
}

func vrOf(tag uint32) string {
	vr := "LO"
	if all := dictionary(tag).VRs; len(all) > 0 && len(all[0]) == 2 {
		vr = all[0]
	}
	return vr
}

func isOf(tag uint32, vr string) bool { return vrOf(tag) == vr }

// rawElement is an element in explicit VR little endian.
func rawElement(tag uint32, value []byte) []byte {
	le := binary.LittleEndian
	vr := vrOf(tag)
	b := le.AppendUint16(le.AppendUint16(nil, uint16(tag>>16)), uint16(tag))
	if b = append(b, vr...); shortVR(vr) {
		b = le.AppendUint16(b, uint16(len(value)))
	} else {
		b = le.AppendUint32(append(b, 0, 0), uint32(len(value)))
	}
	return append(b, value...)
}

// item wraps elements as one item of a sequence, with its length.
func item(elements []byte) []byte {
	b := []byte("\xFE\xFF\x00\xE0")
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(elements))), elements...)
}

func TestAttributes(t *testing.T) {
	nested := rawElement(0x00100020, []byte("CANARY"))
	undefined := func(open, content, end string) []byte {
		return []byte(open + "\xff\xff\xff\xff" + content + end + "\x00\x00\x00\x00")
	}
	unItem := string(undefined("\xFE\xFF\x00\xE0", "\x10\x00\x20\x00\x02\x00\x00\x00P1", "\xFE\xFF\x0D\xE0")) // implicit VR
	for name, tc := range map[string]struct {
		data string
		want string
	}{
		"flat":                  {string(nested), "(0010,0020)x1"},
		"private":               {"\x09\x00\x01\x10LO\x02\x00ab", "(0009,1001)x1"},
		"two items of a length": {string(rawElement(0x00081120, append(item(nested), item(nested)...))), "(0008,1120)x1 (0008,1120)/(0010,0020)x2"},
		"undefined lengths": {string(undefined("\x08\x00\x20\x11SQ\x00\x00", string(undefined("\xFE\xFF\x00\xE0", string(nested), "\xFE\xFF\x0D\xE0")), "\xFE\xFF\xDD\xE0")),
			"(0008,1120)x1 (0008,1120)/(0010,0020)x1"},
		"UN of undefined length": {string(undefined("\x09\x00\x02\x10UN\x00\x00", unItem, "\xFE\xFF\xDD\xE0")) + string(nested), "(0009,1002)x1 (0010,0020)x1 (0009,1002)/(0010,0020)x1"},
		"three deep": {string(rawElement(0x00400275, item(rawElement(0x00081120, item(nested))))),
			"(0040,0275)x1 (0008,1120)/(0010,0020)x1 (0040,0275)/(0008,1120)x1"},
		"behind the pixels":    {string(undefined("\xE0\x7F\x10\x00OB\x00\x00", "\xFE\xFF\x00\xE0\x00\x00\x00\x00", "\xFE\xFF\xDD\xE0")) + string(rawElement(0x00100010, nil)), "(0010,0010)x1 (7FE0,0010)x1"},
		"damage in an item":    {string(rawElement(0x00081120, []byte("\xFE\xFF\x00\xE0\x06\x00\x00\x00\x10\x00\x20\x00LO"))) + string(nested), "(0008,1120)x1 (0010,0020)x1 cut"},
		"no items":             {string(rawElement(0x00081120, []byte("nonsense"))) + string(nested), "(0008,1120)x1 (0010,0020)x1 cut"},
		"truncated":            {string(nested) + string(nested[:9]), "(0010,0020)x2 cut"},
		"no end of an item":    {string(rawElement(0x00081120, []byte("\xFE\xFF\x00\xE0\xff\xff\xff\xff"+string(nested)))) + string(nested), "(0008,1120)x1 (0010,0020)x1 (0008,1120)/(0010,0020)x1 cut"},
		"no end of a sequence": {"\x08\x00\x20\x11SQ\x00\x00\xff\xff\xff\xff" + string(item(nested)), "(0008,1120)x1 (0008,1120)/(0010,0020)x1 cut"},
		"an end between items": {string(rawElement(0x00081120, slices.Concat(item(nested), []byte("\xFE\xFF\x0D\xE0\x00\x00\x00\x00"), item(nested)))), "(0008,1120)x1 (0008,1120)/(0010,0020)x1 cut"},
		"bottomless":           {strings.Repeat("\x08\x00\x20\x11SQ\x00\x00\xff\xff\xff\xff\xFE\xFF\x00\xE0\xff\xff\xff\xff", 100), "(0008,1120)x1 (0008,1120)/(0008,1120)x32 cut"},
	} {
		if got := listed(t, []byte(tc.data)); got != tc.want {
			t.Errorf("%s: %s\nwant %s", name, got, tc.want)
		}
	}
	if _, _, err := Attributes([]byte("text")); err == nil {
		t.Error("text was taken for DICOM")
	}
}

func written(a Attribute) string {
	s := deid.Tag(a.Tag).String()
	if a.In != 0 {
		s = deid.Tag(a.In).String() + "/" + s
	}
	return fmt.Sprintf("%sx%d", s, a.Count)
}

// TestStrayDelimiters: a delimiter ends only what has no length (PS3.5 section 7.5). What lies
// behind one that is astray is listed, and read by the parser too.
func TestStrayDelimiters(t *testing.T) {
	const itemEnd, sequenceEnd = "\xFE\xFF\x0D\xE0\x00\x00\x00\x00", "\xFE\xFF\xDD\xE0\x00\x00\x00\x00"
	const openItem, openSequence = "\xFE\xFF\x00\xE0\xff\xff\xff\xff", "\x08\x00\x20\x11SQ\x00\x00\xff\xff\xff\xff"
	const id, name = "\x10\x00\x20\x00LO\x02\x00P1", "\x10\x00\x10\x00PN\x02\x00A "
	sized := func(elements string) string { return string(item([]byte(elements))) }
	sequence := func(items string) string { return string(rawElement(0x00081120, []byte(items))) }
	const both = "(0008,1120)x1 (0008,1120)/(0010,0010)x1 (0008,1120)/(0010,0020)x1"
	for what, tc := range map[string]struct{ data, want string }{
		"none, without lengths":              {openSequence + openItem + id + name + itemEnd + sequenceEnd, both},
		"none, with lengths":                 {sequence(sized(id) + sized(name)), both},
		"none, an open item in a length":     {sequence(openItem + id + itemEnd + sized(name)), both},
		"of an item, in the data set":        {id + itemEnd, "(0010,0020)x1"},
		"of an item, in a length":            {sequence(sized(id + itemEnd + name)), both},
		"of an item, ends a length":          {sequence(sized(id+itemEnd) + sized(name)), both},
		"of an item, in an open sequence":    {openSequence + sized(id+itemEnd+name) + sequenceEnd, both},
		"of an item, with a value":           {sequence(sized(id + "\xFE\xFF\x0D\xE0\x02\x00\x00\x00P2" + name)), both + " (0008,1120)/(FFFE,E00D)x1"},
		"of a sequence, in the data set":     {id + sequenceEnd, "(0010,0020)x1 (FFFE,E0DD)x1"},
		"of a sequence, in a length":         {sequence(sized(id) + sequenceEnd + sized(name)), both},
		"of a sequence, ends a length":       {sequence(sized(id) + sized(name) + sequenceEnd), both},
		"of a sequence, in an item's length": {sequence(sized(id + sequenceEnd + name)), both + " (0008,1120)/(FFFE,E0DD)x1"},
		"of a sequence, in an open item":     {openSequence + openItem + id + sequenceEnd + name + itemEnd + sequenceEnd, both + " (0008,1120)/(FFFE,E0DD)x1"},
	} {
		file := []byte(tc.data + "\x08\x00\x60\x00CS\x02\x00CR")
		want := "(0008,0060)x1 " + tc.want
		if got := listed(t, file); got != want {
			t.Errorf("%s: %s\nwant %s", what, got, want)
		}
		if got := parsed(t, file); got != want {
			t.Errorf("%s: the parser reads %s\nwant %s", what, got, want)
		}
	}
}

// withSyntax puts data behind file meta information, in explicit VR little endian.
func withSyntax(data []byte) []byte {
	file := append(make([]byte, 128), "DICM"...)
	return slices.Concat(file, rawElement(tagSyntax, []byte(explicitLE+"\x00")), data)
}

// listed writes the attributes of a data set, and cut if it is not whole.
func listed(t *testing.T, data []byte) string {
	t.Helper()
	list, whole, err := Attributes(withSyntax(data))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range list[1:] { // the transfer syntax comes first
		got = append(got, written(a))
	}
	if !whole {
		got = append(got, "cut")
	}
	return strings.Join(got, " ")
}

// parsed writes what the parser reads of a data set, as listed does.
func parsed(t *testing.T, data []byte) string {
	t.Helper()
	s, _, _, err := open(withSyntax(data))
	if err != nil {
		t.Fatal(err)
	}
	count := map[Attribute]int{}
	see := func(e element, in uint32) {
		if e.tag != tagItemEnd || len(e.value) > 0 {
			count[Attribute{Tag: e.tag, In: in}]++
		}
	}
	for {
		e, more, err := s.next()
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
		see(e, 0)
		s.eachItem(e, func(_ int, inner element, _ *scanner) bool { see(inner, e.tag); return true })
	}
	var list []Attribute
	for a, n := range count {
		a.Count = n
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b Attribute) int { return cmp.Or(cmp.Compare(a.In, b.In), cmp.Compare(a.Tag, b.Tag)) })
	var got []string
	for _, a := range list {
		got = append(got, written(a))
	}
	return strings.Join(got, " ")
}

// TestAttributesAreBounded: a file of a million elements costs a bounded list.
func TestAttributesAreBounded(t *testing.T) {
	var data []byte
	for i := range uint32(maxListed + 10) {
		data = append(data, rawElement(0x00090000|i, nil)...)
	}
	list, whole, err := Attributes(append(rawElement(0x00080005, nil), data...))
	if err != nil || whole || len(list) != maxListed {
		t.Errorf("%d attributes, whole %v, %v", len(list), whole, err)
	}
	same := rawElement(0x00080005, nil)
	list, whole, err = Attributes([]byte(strings.Repeat(string(same), maxWalked+1)))
	if err != nil || whole || len(list) != 1 || list[0].Count != maxWalked {
		t.Errorf("%d attributes, whole %v, %v", len(list), whole, err)
	}
}

// FuzzAttributes: the walk ends, within its bounds, on whatever it is given, and misses nothing
// that the parser reads.
func FuzzAttributes(f *testing.F) {
	start := string(rawElement(0x00080005, nil))
	f.Add([]byte(start))
	f.Add(append(rawElement(0x00080005, nil), rawElement(0x00081120, item(rawElement(0x00100020, []byte("P1"))))...))
	f.Add([]byte(start + "\x08\x00\x20\x11SQ\x00\x00\xff\xff\xff\xff\xFE\xFF\x00\xE0\xff\xff\xff\xff\x08\x00\x20\x00UN\x00\x00\xff\xff\xff\xff"))
	f.Add([]byte("\x08\x00\x05\x00\x00\x00\x00\x00\x08\x00\x20\x11\x08\x00\x00\x00\xFE\xFF\x00\xE0\x00\x00\x00\x00"))
	f.Add([]byte(start + string(rawElement(0x00081120, item([]byte("\xFE\xFF\x0D\xE0\x00\x00\x00\x00"+start)))) + "\xFE\xFF\xDD\xE0\x00\x00\x00\x00" + start))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, whole, err := Attributes(data)
		if err != nil {
			return
		}
		total, top := 0, map[uint32]int{}
		for _, a := range list {
			if total += a.Count; a.In == 0 {
				top[a.Tag] = a.Count
			}
		}
		if len(list) > maxListed || total > maxWalked {
			t.Errorf("%d attributes, %d elements", len(list), total)
		}
		if len(list) == maxListed || total == maxWalked {
			return
		}
		s, _, damage, err := open(data)
		if err != nil {
			t.Fatal(err)
		}
		for {
			e, more, err := s.next()
			if err != nil && whole {
				t.Errorf("a file that is damaged is whole: %v", err)
			}
			if !more {
				break
			}
			if top[e.tag]--; top[e.tag] < 0 && (e.tag != tagItemEnd || len(e.value) > 0) {
				t.Errorf("%08X is read and not listed", e.tag)
			}
		}
		if whole && damage != nil {
			t.Errorf("a file that is damaged is whole: %v", damage)
		}
	})
}
