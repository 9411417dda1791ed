package hl7

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/fault"
)

// orderText joins the text of the OBX in their order under the headings that their OBX-3
// implies; see [report.JoinParts].
//
// Errors: Unsupported with [ReasonDocument] when the only text is a file, or with
// [ReasonNoText].
func orderText(obx []segment) (string, error) {
	var parts []report.Part
	var file error
	some := false
	for _, s := range obx {
		if isStudyUID(s) || isWrong(s) {
			continue
		}
		text, ok, err := value(s)
		if err != nil {
			file = err
		}
		if ok {
			parts = append(parts, report.Part{Heading: headingOf(s), Text: text})
			some = some || strings.TrimSpace(text) != ""
		}
	}
	switch {
	case some:
		return report.LineEnds(report.JoinParts(parts)), nil
	case file != nil:
		return "", file
	}
	return "", fault.Reject("hl7.text", fault.Unsupported, ReasonNoText, "OBX-5 holds text in an OBX whose OBX-2 is TX, FT, ST, CE, CWE, ED or empty, behind OBR or TXA")
}

// value returns the text of OBX-5 by the type of OBX-2; ok is false for types without
// text. Repetitions are lines (HL7 v2 chapter 2A, TX). Of CE and CWE the words count, not the
// code. Errors: Unsupported with [ReasonDocument].
func value(s segment) (text string, ok bool, err error) {
	raw := s.field(5)
	if raw == `""` {
		return "", false, nil
	}
	switch strings.ToUpper(s.part(2, 1)) {
	case "TX", "FT", "ST", "": // what has no type is text that somebody wrote
		// These have no components: a lone separator is a typed character.
		raw = strings.ReplaceAll(raw, string(rune(s.sep.repetition)), "\n")
		text = unescape(raw, s.sep)
		if name := fileForm("", "", []byte(text)); name != "" {
			return "", false, refuseFile(name)
		}
		return text, true, nil
	case "CE", "CWE", "CNE":
		var lines []string
		for _, r := range s.repetitions(5) {
			for _, component := range []int{1, 8, 4} { // text, original text, alternate text
				if word := s.text(nth(r, s.sep.component, component)); word != "" {
					lines = append(lines, word)
					break
				}
			}
		}
		return strings.Join(lines, "\n"), len(lines) > 0, nil
	case "ED":
		var texts []string
		for _, r := range s.repetitions(5) {
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

// encapsulated reads ED: source ^ type ^ subtype ^ encoding ^ data (HL7 v2 chapter 2A, ED).
func encapsulated(s segment, ed string) (string, bool, error) {
	const op = "hl7.text"
	component := func(n int) string { return s.text(nth(ed, s.sep.component, n-1)) }
	raw := component(5)
	if raw == "" {
		return "", false, nil
	}
	data := []byte(raw)
	var err error
	switch strings.ToUpper(component(4)) {
	case "BASE64":
		clean := strings.Join(strings.Fields(raw), "")
		data, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(clean, "="))
	case "HEX":
		data, err = hex.DecodeString(strings.Join(strings.Fields(raw), ""))
	}
	if err != nil {
		return "", false, fault.Reject(op, fault.Invalid, ReasonDocument, "OBX-5.5 is encoded as OBX-5.4 says: A, Hex or Base64")
	}
	if name := fileForm(component(2), component(3), data); name != "" {
		return "", false, refuseFile(name)
	}
	if !utf8.Valid(data) {
		return report.Latin1(data), true, nil
	}
	return string(data), true, nil
}

func refuseFile(name string) error {
	return fault.Reject("hl7.text", fault.Unsupported, ReasonDocument, "OBX-5 is %s, which is not read: send the text as OBX of type TX or FT, or as ED of text/plain", name)
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
