package dicom

import (
	"bytes"
	"cmp"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
)

// characterSets are the values of Specific Character Set (0008,0005) without ISO_IR or ISO 2022 IR
// (PS3.3 section C.12.1.1.2). Nil are those that have no bytes above 127.
var characterSets = map[string]encoding.Encoding{
	"": nil, "6": nil, "87": nil, "159": nil,
	"100": charmap.ISO8859_1, "101": charmap.ISO8859_2, "109": charmap.ISO8859_3, "110": charmap.ISO8859_4,
	"144": charmap.ISO8859_5, "127": charmap.ISO8859_6, "126": charmap.ISO8859_7, "138": charmap.ISO8859_8,
	"148": charmap.ISO8859_9, "203": charmap.ISO8859_15, "166": charmap.Windows874,
	"13": japanese.ShiftJIS, "149": korean.EUCKR, "58": simplifiedchinese.GBK,
	"192": unicode.UTF8, "GB18030": simplifiedchinese.GB18030, "GBK": simplifiedchinese.GBK,
}

// escapes are the escape sequences that change the set of the bytes above 127 (PS3.3 tables C.12-3
// and C.12-4), without the escape character, and the set.
var escapes = map[string]string{
	"-A": "100", "-B": "101", "-C": "109", "-D": "110", "-L": "144", "-G": "127", "-F": "126", "-H": "138",
	"-M": "148", "-b": "203", "-T": "166", ")I": "13", "$)C": "149", "$)A": "58",
}

// charset is what the bytes of text above 127 are in without an escape sequence; nil is UTF-8, or
// Latin-1 where they cannot be UTF-8, as in HL7 messages that name no set.
type charset struct{ encoding.Encoding }

// charsetOf reads Specific Character Set. Of several sets the first with bytes above 127 counts, since
// writers leave escape sequences out; one that is not known is none.
func charsetOf(value []byte) charset {
	names := strings.Trim(string(value), " \x00")
	if names == "" {
		return charset{}
	}
	for name := range strings.SplitSeq(names, `\`) {
		name = strings.TrimSpace(name)
		name = strings.TrimPrefix(strings.TrimPrefix(name, "ISO_IR "), "ISO 2022 IR ")
		if e, known := characterSets[name]; !known || e != nil {
			return charset{e}
		}
	}
	return charset{charmap.ISO8859_1}
}

// utf8 returns text in UTF-8, without the escape sequences of ISO 2022 (PS3.5 section 6.1.2.5).
func (c charset) utf8(text []byte) []byte {
	var out []byte
	set, double := c, "" // double is the escape sequence of a set of two bytes below 128
	for i, piece := range bytes.Split(text, []byte{0x1B}) {
		if i > 0 {
			escape := escapeOf(piece)
			switch escape {
			case "":
				out = append(out, 0x1B)
			case "(B", "(J":
				double = ""
			case "$B", "$(D":
				double = escape
			default:
				set, double = charset{characterSets[escapes[escape]]}, ""
			}
			piece = piece[len(escape):]
		}
		if double != "" {
			out = append(out, charset{japanese.ISO2022JP}.plain([]byte("\x1B"+double+string(piece)))...)
			continue
		}
		// What a sequence chose ends with the line, the value and the component of a name.
		if at := bytes.IndexAny(piece, "\\^=\t\n\f\r"); at >= 0 && set != c {
			out, piece = append(out, set.plain(piece[:at])...), piece[at:]
			set = c
		}
		out = append(out, set.plain(piece)...)
	}
	return out
}

// escapeOf returns the escape sequence that a piece of text begins with.
func escapeOf(piece []byte) string {
	for n := 2; n <= min(3, len(piece)); n++ {
		switch escape := string(piece[:n]); escape {
		case "(B", "(J", "$B", "$(D":
			return escape
		default:
			if escapes[escape] != "" {
				return escape
			}
		}
	}
	return ""
}

// plain decodes text without escape sequences. What the set does not have becomes U+FFFD.
func (c charset) plain(text []byte) []byte {
	if c.Encoding == nil && utf8.Valid(text) {
		return text
	}
	out, err := cmp.Or[encoding.Encoding](c.Encoding, charmap.ISO8859_1).NewDecoder().Bytes(text)
	if err != nil {
		return bytes.ToValidUTF8(text, nil)
	}
	return out
}
