package fhir

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"mime"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/fault"
)

// presented returns the text of the attachments: all of them say the same (R4,
// DiagnosticReport.presentedForm), so the first that is plain text, else the first that is
// HTML. With neither it returns why: an Unsupported fault with [ReasonDocument] that names
// the form, or nil when there is no attachment.
func presented(forms []attachment) (string, error) {
	const op = "fhir.presentedForm"
	var page string
	var refused error
	for _, a := range forms {
		if a.Data == "" {
			if a.URL != "" && refused == nil {
				refused = fault.Reject(op, fault.Unsupported, ReasonDocument, "presentedForm has data: what stands behind its url is not fetched")
			}
			continue
		}
		data, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.Join(strings.Fields(a.Data), ""), "="))
		if err != nil {
			refused = fault.Reject(op, fault.Invalid, ReasonMalformed, "presentedForm.data is base64")
			continue
		}
		kind, parameters, _ := mime.ParseMediaType(a.ContentType)
		data, known := decodeText(data, parameters["charset"])
		switch name := formName(kind, data); {
		case !known && (name == "plain" || name == "html"):
			refused = fault.Reject(op, fault.Unsupported, ReasonDocument, "the charset of presentedForm.contentType is UTF-8, UTF-16, ISO-8859-1 or windows-1252")
		case name == "plain":
			if text := strings.TrimSpace(report.LineEnds(string(data))); text != "" {
				return text, nil
			}
		case name == "html":
			if page == "" {
				page = htmlText(string(data))
			}
		default:
			refused = fault.Reject(op, fault.Unsupported, ReasonDocument, "presentedForm is %s, which is not read: send text/plain or text/html, or the text in conclusion", name)
		}
	}
	if page != "" {
		return page, nil
	}
	return "", refused
}

// formName says what data is. The first bytes count more than the type, which is often a
// habit.
func formName(kind string, data []byte) string {
	head := bytes.ToLower(bytes.TrimSpace(data[:min(len(data), 64)]))
	starts := func(magic string) bool { return bytes.HasPrefix(head, []byte(magic)) }
	switch {
	case starts("%pdf"), kind == "application/pdf":
		return "a PDF"
	case starts(`{\rtf`), kind == "application/rtf", kind == "text/rtf":
		return "an RTF file"
	case starts("<html"), starts("<!doctype html"), kind == "text/html", kind == "application/xhtml+xml":
		return "html"
	case starts("<?xml"), kind == "application/xml", kind == "text/xml", strings.HasSuffix(kind, "+xml"):
		return "an XML file"
	case bytes.IndexByte(data, 0) < 0 && (kind == "" || strings.HasPrefix(kind, "text/")):
		return "plain"
	}
	return "neither text nor HTML"
}

// decodeText makes data UTF-8: by its byte order mark, else as charset says, else as it is if it
// can be, else from Latin-1. A PDF is still one then. known is false where charset is another one and data not ASCII.
func decodeText(data []byte, charset string) (text []byte, known bool) {
	charset = strings.ToLower(charset)
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return data[3:], true
	case bytes.HasPrefix(data, []byte("\xff\xfe")):
		return utf16Text(data[2:], binary.LittleEndian), true
	case bytes.HasPrefix(data, []byte("\xfe\xff")):
		return utf16Text(data[2:], binary.BigEndian), true
	}
	switch charset {
	case "utf-16le":
		return utf16Text(data, binary.LittleEndian), true
	case "utf-16", "utf-16be": // big endian without a mark (RFC 2781, 4.3)
		return utf16Text(data, binary.BigEndian), true
	case "iso-8859-1", "latin1", "windows-1252":
		return []byte(report.Latin1(data)), true
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		if !utf8.Valid(data) {
			data = []byte(report.Latin1(data))
		}
		return data, true
	}
	return data, !bytes.ContainsFunc(data, func(r rune) bool { return r >= utf8.RuneSelf })
}

func utf16Text(data []byte, order binary.ByteOrder) []byte {
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = order.Uint16(data[2*i:])
	}
	return []byte(string(utf16.Decode(units)))
}
