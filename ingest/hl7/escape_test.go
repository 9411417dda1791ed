package hl7

import (
	"encoding/hex"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/fault"
)

func usual() separators { return separators{'|', '^', '~', '\\', '&'} }

// escape is the inverse of unescape, as a sender does it.
func escape(s string, sep separators, bytesToo bool) string {
	var b strings.Builder
	for _, r := range s {
		e := string(rune(sep.escape))
		switch {
		case r == rune(sep.field):
			b.WriteString(e + "F" + e)
		case r == rune(sep.component):
			b.WriteString(e + "S" + e)
		case r == rune(sep.sub):
			b.WriteString(e + "T" + e)
		case r == rune(sep.repetition):
			b.WriteString(e + "R" + e)
		case r == rune(sep.escape):
			b.WriteString(e + "E" + e)
		case r == '\n':
			b.WriteString(e + ".br" + e)
		case r < ' ', bytesToo && r > 0x7f:
			b.WriteString(e + "X" + hex.EncodeToString([]byte(string(r))) + e)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func TestEscapeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chars := rapid.Permutation([]byte(`|^~\&!*%/+`)).Draw(t, "separators")
		sep := separators{chars[0], chars[1], chars[2], chars[3], chars[4]}
		alphabet := rapid.RuneFrom([]rune("abcFSTREXHNZ.br |^~\\&!*%/+\n\té€“0123"))
		text := rapid.StringOf(alphabet).Draw(t, "text")
		sent := escape(text, sep, rapid.Bool().Draw(t, "bytes"))
		if strings.ContainsAny(sent, string([]byte{sep.field, sep.component, sep.repetition, sep.sub})) {
			t.Fatalf("%q still has separators", sent)
		}
		if got := unescape(sent, sep); got != text {
			t.Fatalf("%q came back as %q by %q", text, got, sent)
		}
	})
}

func TestUnescape(t *testing.T) {
	for _, c := range []struct{ sent, want string }{
		{`a\F\b\S\c\T\d\R\e\E\f`, `a|b^c&d~e\f`},
		{`one\.br\two\.sp2\three\.sp\four`, "one\ntwo\n\nthree\nfour"},
		{`a\.sk3\b\.in+4\c\.ti-2\d\.fi\e\.nf\f\.ce\g`, "a   bcdef\ng"},
		{`\H\bold\N\ \Z01\x`, "bold x"},
		{`\X48690D0A\`, "Hi\r\n"},
		{`\Xe9\ \XC3A9\`, "é é"},
		{`\C2842\a\M246442\b`, "\ufffda\ufffdb"},
		{`C:\temp\new`, `C:\temp\new`},
		{`lone \`, `lone \`},
		{`\\`, `\\`},
		{`\X4\ \XZZ\ \.xx\`, `\X4\ \XZZ\ \.xx\`},
		{`a\b\F\c`, `a\b|c`},
		{`\P\`, `#`},
	} {
		if got := unescape(c.sent, usual()); got != c.want {
			t.Errorf("%q: %q, want %q", c.sent, got, c.want)
		}
	}
}

func TestParseTime(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{"2024", "2024-01-01T00:00:00Z"},
		{"20240203", "2024-02-03T00:00:00Z"},
		{"202402030405", "2024-02-03T04:05:00Z"},
		{"20240203040506.789-0500", "2024-02-03T09:05:06Z"},
		{"1994050216163360", "1994-05-02T16:16:33Z"}, // a sender of 1994 with hundredths
		{"", ""}, {"yesterday", ""}, {"2024020", ""}, {"20241301", ""}, {"20240203+1", ""}, {"00000000", ""},
	} {
		got := ""
		if at := ParseTime(c.value); !at.IsZero() {
			got = at.Format("2006-01-02T15:04:05Z07:00")
		}
		if got != c.want {
			t.Errorf("%q: %q, want %q", c.value, got, c.want)
		}
	}
}

// FuzzParse: whatever comes, there is a message or an error with a reason, and text is
// UTF-8 with \n line ends.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"MSH|^~\\&|A||B||20240101||ORU^R01|1|P|2.5\rPID|||1^^^H^MR~2\rORC|RE|1|2\rOBR|1|1|2||||20240101\rZDS|1.2.3\rOBX|1|TX|1&IMP^x||a\\.br\\b~c\\XE9\\||||||F\r",
		"\x0bMSH|^~\\&|A||B||20240101||MDM^T02|1|P|2.3\rTXA|1\rOBX|1|ED|||^TEXT^plain^Base64^aGVsbG8=\r\x1c\r",
		"FHS|^~\\&\rBHS|^~\\&\rMSH|^~\\&|A||B||20240101||ADT^A40|1|P|2.3\rPID|||1\rMRG|2\rBTS|1\rFTS|1\r",
		"MSH|^~\\&|A||B||||ORU|1|P|2.1||||||8859/1\nOBR|1| OBX|1|ST|||x\ny\xe9",
		"MSH!*%/+!!!!!!!ORM*O01",
		"MSH|^~\\&|A||B||20240101||ORU^R01|1|P|2.6\rOBR|1|1\rNTE|1|L|a~b\rOBX|1|ED|||^TEXT^^A^c~d^e\rPRT|1\rNTE|1||f|RE|1^g^h\r",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		messages, err := Parse(data)
		if len(messages) == 0 && err == nil {
			t.Error("neither a message nor an error")
		}
		if err != nil && (fault.ReasonOf(err) == "" || fault.KindOf(err) != fault.Invalid && fault.KindOf(err) != fault.Unsupported) {
			t.Errorf("%s %q: %v", fault.KindOf(err), fault.ReasonOf(err), err)
		}
		for _, m := range messages {
			if !utf8.ValidString(m.Text) || strings.Contains(m.Text, "\r") {
				t.Errorf("the text is not UTF-8 with \\n line ends: %q", m.Text)
			}
			if m.Kind == report.KindReport && m.Text == "" && m.Status != report.StatusRetracted {
				t.Error("a report without text")
			}
		}
	})
}
