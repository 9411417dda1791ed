package hl7

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/fault"
)

// text joins the text of the OBX in their order under the headings that their OBX-3
// implies; see [report.JoinParts]. Notes on an OBX stand behind it. Notes on the whole are the
// text of a report that has no OBX.
//
// Errors: Unsupported with [ReasonDocument] when the only text is a file, or with
// [ReasonNoText].
func (o order) text() (string, error) {
	var parts []report.Part
	var file error
	some, values := false, false // whether there is text, and whether an OBX could have it
	add := func(heading string, nte []segment) {
		comments, err := notes(nte)
		if err != nil {
			file = err
		}
		for _, c := range comments {
			parts = append(parts, report.Part{Heading: heading, Text: c})
			some = true
		}
	}
	for _, s := range o.obx {
		if isStudyUID(s.segment) {
			continue
		}
		values = true
		if isWrong(s.segment) {
			continue
		}
		text, ok, err := value(s.segment)
		if err != nil {
			file = err
		}
		if ok { // what is noted on a number or a file is no report either
			heading := headingOf(s.segment)
			parts = append(parts, report.Part{Heading: heading, Text: text})
			some = some || strings.TrimSpace(text) != ""
			add(heading, s.notes)
		}
	}
	if !values { // beside a text they are as often about the order
		add("", o.notes)
	}
	switch {
	case some:
		return report.LineEnds(report.JoinParts(parts)), nil
	case file != nil:
		return "", file
	}
	return "", fault.Reject("hl7.text", fault.Unsupported, ReasonNoText, "OBX-5 holds text in an OBX whose OBX-2 is TX, FT, ST, CE, CWE, ED or empty, behind OBR or TXA")
}

// notes returns the comments of NTE that are of a report and not empty. What the orderer wrote
// (NTE-2 P of HL7 table 0105) is the request; of the types of table 0364 in NTE-4 only a remark
// is of the result, the others are reasons and instructions. Errors: Unsupported with
// [ReasonDocument], beside the others, when one is a file.
func notes(nte []segment) (comments []string, file error) {
	for _, s := range nte {
		if strings.EqualFold(s.part(2, 1), "P") {
			continue
		}
		switch strings.ToUpper(s.part(4, 1)) {
		case "PI", "AI", "GI", "1R", "2R", "GR", "DR":
			continue
		}
		text, err := typed(s, 3)
		if err != nil {
			file = err
		}
		if strings.TrimSpace(text) != "" {
			comments = append(comments, text)
		}
	}
	return comments, file
}

// typed returns field n as somebody typed it: TX and FT have no components, so a lone separator
// is a character, and repetitions are lines (HL7 v2 chapter 2A, TX). Errors: Unsupported with
// [ReasonDocument] for a file.
func typed(s segment, n int) (string, error) {
	raw := s.field(n)
	if raw == `""` {
		return "", nil
	}
	text := unescape(strings.ReplaceAll(raw, string(rune(s.sep.repetition)), "\n"), s.sep)
	if name := fileForm("", "", []byte(text)); name != "" {
		return "", refuseFile(fmt.Sprintf("%s-%d", s.name, n), name)
	}
	return text, nil
}

// value returns the text of OBX-5 by the type of OBX-2; ok is false for types without
// text. Of CE and CWE the words count, not the code; see [report.Answer]. Errors: Unsupported with
// [ReasonDocument].
func value(s segment) (text string, ok bool, err error) {
	if s.field(5) == `""` {
		return "", false, nil
	}
	switch strings.ToUpper(s.part(2, 1)) {
	case "TX", "FT", "ST", "": // what has no type is text that somebody wrote
		text, err = typed(s, 5)
		return text, err == nil, err
	case "CE", "CWE", "CNE":
		var lines []string
		name := s.text(s.part(3, 2))
		if headingOf(s) != "" {
			name = ""
		}
		for _, r := range s.repetitions(5) {
			for _, component := range []int{1, 8, 4} { // text, original text, alternate text
				if word := s.text(nth(r, s.sep.component, component)); word != "" {
					lines = append(lines, report.Answer(name, word))
					break
				}
			}
		}
		return strings.Join(lines, "\n"), len(lines) > 0, nil
	case "ED":
		var texts []string
		for _, r := range encapsulations(s) {
			one, some, refused := encapsulated(s, r)
			if some {
				texts, ok = append(texts, one), true
			} else if refused != nil {
				err = refused
			}
		}
		return strings.Join(texts, "\n"), ok, err
	}
	return "", false, nil
}

// encapsulations cuts OBX-5 of ED into its repetitions. Base64 and Hex hold no separator, but
// plain text holds those that its sender did not escape: what has too few components goes on
// with the text before it.
func encapsulations(s segment) []string {
	field := s.field(5)
	var all []string
	plain := false     // whether the one that is being read is plain text
	start, at := 0, -1 // of it, and of the separator behind what was read of it
	for _, r := range s.repetitions(5) {
		whole := strings.Count(r, string(rune(s.sep.component))) >= 4
		if at >= 0 && (whole || !plain) {
			all, start = append(all, field[start:at]), at+1
		}
		plain = plain && !whole || whole && isPlain(s, r)
		at += len(r) + 1
	}
	return append(all, field[start:])
}

// isPlain reports whether the encoding of ED (HL7 table 0299) is A, or none that is known.
func isPlain(s segment, ed string) bool {
	encoding := strings.ToUpper(s.text(nth(ed, s.sep.component, 3)))
	return encoding != "BASE64" && encoding != "HEX"
}

// encapsulated reads ED: source ^ type ^ subtype ^ encoding ^ data (HL7 v2 chapter 2A, ED).
func encapsulated(s segment, ed string) (string, bool, error) {
	const op = "hl7.text"
	parts := strings.SplitN(ed, string(rune(s.sep.component)), 5)
	if len(parts) < 5 {
		return "", false, nil
	}
	raw := parts[4]
	if isPlain(s, ed) { // a lone separator is a typed character, as in TX, but not one that ends the field
		raw = strings.TrimRight(raw, string(rune(s.sep.component)))
		raw = strings.ReplaceAll(raw, string(rune(s.sep.repetition)), "\n")
	} else {
		raw = nth(raw, s.sep.component, 0)
	}
	raw = s.text(raw)
	if raw == "" {
		return "", false, nil
	}
	data := []byte(raw)
	var err error
	switch strings.ToUpper(s.text(parts[3])) {
	case "BASE64":
		clean := strings.Join(strings.Fields(raw), "")
		data, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(clean, "="))
	case "HEX":
		data, err = hex.DecodeString(strings.Join(strings.Fields(raw), ""))
	}
	if err != nil {
		return "", false, fault.Reject(op, fault.Invalid, ReasonDocument, "OBX-5.5 is encoded as OBX-5.4 says: A, Hex or Base64")
	}
	if name := fileForm(s.text(parts[1]), s.text(parts[2]), data); name != "" {
		return "", false, refuseFile("OBX-5", name)
	}
	if !utf8.Valid(data) {
		return report.Latin1(data), true, nil
	}
	return string(data), true, nil
}

func refuseFile(field, name string) error {
	return fault.Reject("hl7.text", fault.Unsupported, ReasonDocument, "%s is %s, which is not read: send the text as OBX of type TX or FT, or as ED of text/plain", field, name)
}

// fileForm names what encapsulated data is if it is no plain text. The bytes are asked
// before the type, which senders fill by habit.
func fileForm(kind, subtype string, data []byte) string {
	kind, subtype = strings.ToLower(kind), strings.ToLower(subtype)
	// "JVBERi0" is how a PDF begins in base64, which some send as TX.
	head := bytes.ToLower(bytes.TrimSpace(data[:min(len(data), 64)]))
	is := func(subtypes string, magic ...string) bool {
		for _, m := range magic {
			if bytes.HasPrefix(head, []byte(m)) {
				return true
			}
		}
		return subtype != "" && slices.Contains(strings.Fields(subtypes), subtype)
	}
	switch {
	case is("pdf", "%pdf", "jvberi0"):
		return "a PDF"
	case is("rtf", `{\rtf`):
		return "an RTF file"
	case is("html xhtml", "<!doctype html", "<html"):
		return "an HTML file"
	case is("xml x-hl7-cda-level-one", "<?xml", "<clinicaldocument"):
		return "an XML file"
	case kind == "im" || kind == "image" || bytes.IndexByte(data, 0) >= 0:
		return "an image or another file"
	}
	return ""
}

// headingOf returns the heading that OBX-3 implies, or "". The suffix behind the
// sub-component separator (HL7 v2 chapter 7, as in 71020&IMP) goes first, then the codes,
// then the words of OBX-3.
func headingOf(s segment) string {
	raw := nth(s.field(3), s.sep.repetition, 0)
	names := []string{nth(nth(raw, s.sep.component, 0), s.sep.sub, 1)}
	for _, component := range []int{0, 3, 1, 4} {
		names = append(names, nth(nth(raw, s.sep.component, component), s.sep.sub, 0))
	}
	for _, name := range names {
		if heading := report.Heading(s.text(name)); heading != "" {
			return heading
		}
	}
	return ""
}
