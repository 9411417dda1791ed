package fhir

import (
	"bytes"
	"encoding/base64"
	"mime"
	"strings"
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
		switch name := formName(kind, data); {
		case name == "plain":
			if text := strings.TrimSpace(lines(decodeText(data, parameters["charset"]))); text != "" {
				return text, nil
			}
		case name == "html":
			if page == "" {
				page = htmlText(decodeText(data, parameters["charset"]))
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

// decodeText makes data UTF-8: as it is if it can be and nothing else was said, else
// Latin-1.
func decodeText(data []byte, charset string) string {
	switch strings.ToLower(charset) {
	case "iso-8859-1", "latin1", "windows-1252":
		return report.Latin1(data)
	}
	if utf8.Valid(data) {
		return strings.TrimPrefix(string(data), "\ufeff")
	}
	return report.Latin1(data)
}

// lines makes all line ends \n.
func lines(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}
