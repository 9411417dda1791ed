package dicom_test

import (
	"encoding/binary"
	"testing"

	"github.com/radstream/radstream/ingest/dicom"
)

// TestCharacterSets: names are read in the sets that DICOM has, with the escape sequences that stand
// before them; those with J, K or H are the examples of these annexes of PS3.5.
func TestCharacterSets(t *testing.T) {
	element := func(tag, value string) string {
		return tag + string(binary.LittleEndian.AppendUint32(nil, uint32(len(value)))) + value
	}
	const kanji, back = "\x1b$B", "\x1b(B"
	for _, c := range []struct{ name, set, written, want string }{
		{"none", "", "Doe^J", "Doe^J"},
		{"none, UTF-8", "", "M\u00fcller^J", "M\u00fcller^J"},
		{"unknown", "NONE", "M\xfcller^J", "M\u00fcller^J"},
		{"none, Latin-1", "", "M\xfcller^J", "M\u00fcller^J"},
		{"ISO 646", "ISO_IR 6 ", "M\xfcller^J", "M\u00fcller^J"},
		{"Latin-1", "ISO_IR 100", "M\xfcller^J", "M\u00fcller^J"},
		{"Latin-1 behind its sequence", `ISO 2022 IR 6\ISO 2022 IR 100`, "\x1b-AM\xfcller^\x1b-AJ\xf6rg", "M\u00fcller^J\u00f6rg"},
		{"Latin-1 whose sequence is left out", `\ISO 2022 IR 100`, "M\xfcller^J", "M\u00fcller^J"},
		{"Latin-2 beside Latin-1", `ISO 2022 IR 100\ISO 2022 IR 101`, "\x1b-B\xa3ukasz^J\xfcrg", "\u0141ukasz^J\u00fcrg"},
		{"Cyrillic", "ISO_IR 144", "\xbb\xee\xdae^J", "\u041b\u044e\u043ae^J"},
		{"Greek beside Latin-1", `ISO 2022 IR 100\ISO 2022 IR 126`, "M\xfcller^J=\x1b-F\xc4\xe9", "M\u00fcller^J=\u0394\u03b9"},
		{"Thai", "ISO_IR 166", "\xca\xc1\xaa\xd2\xc2", "\u0e2a\u0e21\u0e0a\u0e32\u0e22"},
		{"Latin-9", "ISO_IR 203", "\xbduvre", "\u0153uvre"},
		{"H.3.1", `\ISO 2022 IR 87`, "Yamada^Tarou=" + kanji + ";3ED" + back + "^" + kanji + "B@O:" + back + "=" + kanji + "$d$^$@" + back + "^" + kanji + "$?$m$&" + back,
			"Yamada^Tarou=\u5c71\u7530^\u592a\u90ce=\u3084\u307e\u3060^\u305f\u308d\u3046"},
		{"H.3.2", `ISO 2022 IR 13\ISO 2022 IR 87`, "\xd4\xcf\xc0\xde^\xc0\xdb\xb3=" + kanji + ";3ED\x1b(J^" + kanji + "B@O:\x1b(J",
			"\uff94\uff8f\uff80\uff9e^\uff80\uff9b\uff73=\u5c71\u7530^\u592a\u90ce"},
		{"Katakana behind its sequence", `\ISO 2022 IR 13`, "\x1b)I\xd4\xcf^\x1b)I\xc0\xdb", "\uff94\uff8f^\uff80\uff9b"},
		{"JIS X 0212", `\ISO 2022 IR 159`, "Abc=\x1b$(D0!" + back + "^J", "Abc=\u4e02^J"},
		{"I.2", `\ISO 2022 IR 149`, "Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
			"Hong^Gildong=\u6d2a^\u5409\u6d1e=\ud64d^\uae38\ub3d9"},
		{"Korean beside Latin-1", `ISO 2022 IR 100\ISO 2022 IR 149`, "\x1b$)CHong \xc8\xab^J\xfcrg", "Hong \ud64d^J\u00fcrg"},
		{"K.2", `\ISO 2022 IR 58`, "Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=", "Zhang^XiaoDong=\u5f20^\u5c0f\u4e1c="},
		{"J.3", "GB18030", "Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang^XiaoDong=\u738b^\u5c0f\u4e1c="},
		{"GBK with a ^ in a character", "GBK", "\x81^^J", "\u4e5b^J"},
		{"UTF-8", "ISO_IR 192", "M\u00fcller^J", "M\u00fcller^J"},
		{"a sequence of no set", `\ISO 2022 IR 100`, "Doe\x1b%Z^J", "Doe\x1b%Z^J"},
		{"ends in a sequence", `\ISO 2022 IR 87`, "Doe\x1b$", "Doe\x1b$"},
	} {
		h, err := dicom.ParseHeader([]byte(element("\x08\x00\x05\x00", c.set) + element("\x08\x00\x60\x00", "CR") +
			element("\x10\x00\x10\x00", c.written) + element("\x20\x00\x0d\x00", "1.2.3\x00")))
		if err != nil || h.PatientName != c.want || h.Modality != "CR" || h.StudyUID != "1.2.3" {
			t.Errorf("%s: %q, %v, want %q", c.name, h.PatientName, err, c.want)
		}
	}
}
