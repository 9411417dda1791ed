package hl7

import (
	"bytes"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/fault"
)

// separators are the characters that MSH-1 and MSH-2 name.
type separators struct {
	field, component, repetition, escape, sub byte
}

// message is one message as segments.
type message struct {
	segments []segment // the first is MSH
	time     time.Time // MSH-7
	zone     string    // of MSH-7, as +0900: that of all times without one (HL7 v2 2.14.9.7)
}

// segment is one segment as sent; fields are cut out when asked for, so that a hostile
// line of separators costs no memory.
type segment struct {
	name string
	line string
	sep  separators
}

// readMessage cuts data, which begins with "MSH", into segments of UTF-8.
func readMessage(data []byte) (message, error) {
	const op = "hl7.message"
	sep, err := readSeparators(data)
	if err != nil {
		return message{}, err
	}
	first, _, _ := strings.Cut(strings.ReplaceAll(string(data[:min(len(data), 4096)]), "\n", "\r"), "\r")
	charset := segment{"MSH", first, sep}.field(18)
	charset, _, _ = strings.Cut(charset, string(rune(sep.repetition))) // the first is the default of the message
	text, err := decode(data, strings.ToUpper(strings.TrimSpace(charset)))
	if err != nil {
		return message{}, err
	}
	text = unglue(report.LineEnds(strings.ReplaceAll(strings.ReplaceAll(text, "\x0b", ""), "\x1c", "")), sep)
	if strings.Count(text, "\n") > 4*MaxSegments { // before they cost memory
		return message{}, tooMany(op)
	}
	var m message
	open := -1                              // the first line of the segment being read
	more := "ADD" + string(rune(sep.field)) // continues the last field of the one before (HL7 v2 chapter 2.10.2)
	lines := strings.Split(text, "\n")
	add := func(to int) {
		if open >= 0 {
			line := strings.TrimRight(strings.Join(lines[open:to], "\n"), "\n")
			m.segments = append(m.segments, segment{lines[open][:3], strings.ReplaceAll(line, "\n"+more, ""), sep})
		}
		open = to
	}
	for i, line := range lines {
		if name := segmentName(line); name != "" && !strings.HasPrefix(line, more) && (len(line) == 3 && bareSegments[name] || len(line) > 3 && line[3] == sep.field) {
			add(i)
		}
	}
	add(len(lines))
	if len(m.segments) > MaxSegments {
		return message{}, tooMany(op)
	}
	made := m.segments[0].part(7, 1)
	m.time = ParseTime(made)
	if i := strings.IndexAny(made, "+-"); i >= 0 && !m.time.IsZero() {
		m.zone = made[i:]
	}
	return m, nil
}

// bareSegments may stand on a line without any field. Other three capitals alone on a line are
// a word of a text that was wrapped by hand, such as CXR.
var bareSegments = map[string]bool{
	"MSH": true, "SFT": true, "EVN": true, "PID": true, "PD1": true, "NK1": true, "MRG": true, "PV1": true, "PV2": true, "ORC": true, "OBR": true,
	"OBX": true, "NTE": true, "TXA": true, "ZDS": true, "TQ1": true, "SPM": true, "DG1": true, "AL1": true, "IN1": true, "GT1": true, "ROL": true, "DSC": true,
}

func tooMany(op string) error {
	return fault.Reject(op, fault.Invalid, ReasonTooLarge, "an HL7 message has at most %d segments", MaxSegments)
}

// readSeparators reads MSH-1 and MSH-2 (HL7 v2 chapter 2.5.4). Version 2.1 allows MSH-2 to
// end early; version 2.7 adds a fifth, the truncation character, which is not used here.
func readSeparators(data []byte) (separators, error) {
	const op = "hl7.message"
	bad := fault.Reject(op, fault.Invalid, ReasonSeparators, `MSH-1 is one character and MSH-2 three to five different ones, usually | and ^~\&`)
	if len(data) < 5 {
		return separators{}, bad
	}
	field := data[3]
	var chars []byte
	for _, c := range data[4:min(len(data), 10)] {
		if c == field || c == '\r' || c == '\n' {
			break
		}
		chars = append(chars, c)
	}
	if len(chars) < 3 || len(chars) > 5 {
		return separators{}, bad
	}
	all := append([]byte{field}, chars...)
	for i, c := range all {
		if c <= ' ' || c >= 0x7f || alphanumeric(c) || bytes.IndexByte(all[:i], c) >= 0 {
			return separators{}, bad
		}
	}
	sep := separators{field: field, component: chars[0], repetition: chars[1], escape: chars[2]}
	if len(chars) > 3 {
		sep.sub = chars[3]
	}
	return sep, nil
}

// decode makes data UTF-8 as MSH-18 says (HL7 table 0211). Without a word, or with ASCII,
// it is UTF-8 if it can be, else Latin-1: much of what says ASCII is not.
func decode(data []byte, charset string) (string, error) {
	const op = "hl7.message"
	switch charset {
	case "", "ASCII", "US-ASCII":
		if utf8.Valid(data) {
			return string(data), nil
		}
		return report.Latin1(data), nil
	case "UNICODE UTF-8", "UTF-8", "UTF8", "UNICODE":
		if !utf8.Valid(data) {
			return "", fault.Reject(op, fault.Invalid, ReasonCharacters, "MSH-18 says UNICODE UTF-8, and so the message must be UTF-8")
		}
		return string(data), nil
	case "8859/1", "ISO-8859-1", "ISO8859-1", "ISO IR100", "ISO_IR 100":
		return report.Latin1(data), nil
	}
	return "", fault.Reject(op, fault.Unsupported, ReasonCharacters, "MSH-18 is ASCII, UNICODE UTF-8, 8859/1 or empty")
}

// unglue ends lines before segments that begin behind a separator and blanks: a field that
// holds only the name of a segment is no field of any segment.
func unglue(text string, sep separators) string {
	var b strings.Builder
	done := 0
	for i := 0; i+5 < len(text); i++ {
		if text[i] != ' ' || text[i+4] != sep.field {
			continue
		}
		switch text[i+1 : i+4] {
		case "EVN", "PID", "PV1", "ORC", "OBR", "OBX", "NTE", "TXA", "ZDS", "MRG":
		default:
			continue
		}
		before := strings.TrimRight(text[done:i], " ")
		if before == "" {
			continue
		}
		if last := before[len(before)-1]; last == sep.field || last == sep.repetition || last == '\n' {
			b.WriteString(before)
			b.WriteByte('\n')
			done = i + 1
		}
	}
	b.WriteString(text[done:])
	return b.String()
}

// segmentName returns the name that line begins with: a capital letter, two capitals or
// digits, and the end or a character that is neither. Else it returns "".
func segmentName(line string) string {
	if len(line) < 3 || line[0] < 'A' || line[0] > 'Z' {
		return ""
	}
	capital := func(c byte) bool { return c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }
	if !capital(line[1]) || !capital(line[2]) {
		return ""
	}
	if len(line) > 3 && (alphanumeric(line[3]) || line[3] <= ' ') {
		return ""
	}
	return line[:3]
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// first returns the first segment called name, or one without fields.
func (m message) first(name string) segment {
	for _, s := range m.segments {
		if s.name == name {
			return s
		}
	}
	return segment{}
}

// field returns field n, counted from 1, as sent: with its separators and escapes.
func (s segment) field(n int) string {
	if s.name == "MSH" {
		n-- // MSH-1 is the separator itself
	}
	return nth(s.line, s.sep.field, n)
}

// part returns component c, counted from 1, of the first repetition of field n, without
// its sub-components but the first, and without escapes and blanks around it.
func (s segment) part(n, c int) string {
	return s.text(nth(nth(nth(s.field(n), s.sep.repetition, 0), s.sep.component, c-1), s.sep.sub, 0))
}

// repetitions returns the repetitions of field n as sent. Behind MaxPeople of them the rest is one.
func (s segment) repetitions(n int) []string {
	return strings.SplitN(s.field(n), string(rune(s.sep.repetition)), MaxPeople+1)
}

// text returns raw unescaped and trimmed; HL7's "" (delete the value) is empty.
func (s segment) text(raw string) string {
	if raw == `""` {
		return ""
	}
	return strings.TrimSpace(unescape(raw, s.sep))
}

// nth returns the nth part of s, counted from 0. A separator of 0 separates nothing.
func nth(s string, sep byte, n int) string {
	if sep == 0 {
		if n > 0 {
			return ""
		}
		return s
	}
	for ; n > 0; n-- {
		i := strings.IndexByte(s, sep)
		if i < 0 {
			return ""
		}
		s = s[i+1:]
	}
	if i := strings.IndexByte(s, sep); i >= 0 {
		s = s[:i]
	}
	return s
}

// timeOf reads field n of s with [ParseTime], in the zone of the message where it has none.
func (m message) timeOf(s segment, n int) time.Time {
	value := s.part(n, 1)
	if value != "" && !strings.ContainsAny(value, "+-") {
		value += m.zone
	}
	return ParseTime(value)
}

// ParseTime reads a TS or DTM (HL7 v2 chapter 2A, and CDA): YYYY[MM[DD[HHMM[SS[.SSSS]]]]]
// and perhaps +ZZZZ; without a zone it is UTC. What cannot be read is the zero time: a
// report is worth having without it.
func ParseTime(value string) time.Time {
	zone := ""
	if i := strings.IndexAny(value, "+-"); i >= 0 {
		value, zone = value[:i], value[i:]
	}
	value, _, _ = strings.Cut(value, ".")
	layout := "20060102150405"
	value = value[:min(len(value), len(layout))] // some write hundredths without a point
	if len(value)%2 == 1 {
		return time.Time{}
	}
	layout = layout[:len(value)]
	if zone != "" {
		layout += "-0700"
	}
	t, err := time.Parse(layout, value+zone)
	if err != nil || t.Year() < 1900 {
		return time.Time{}
	}
	return t.UTC()
}

// firstTime returns the first of times that is not zero.
func firstTime(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}
