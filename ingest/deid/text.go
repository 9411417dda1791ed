package deid

import (
	"cmp"
	"slices"
	"strings"
)

// Kind says what an identifier in text is.
type Kind string

// The kinds of identifiers (HIPAA Privacy Rule, 45 CFR 164.514(b)(2), as far as they occur
// in the text of a report). The time of day is no identifier there; next to a physician's
// name it is one.
const (
	KindName     Kind = "name"     // of a patient, relative, physician or other staff
	KindDate     Kind = "date"     // any part of one, a year included
	KindTime     Kind = "time"     // of day
	KindID       Kind = "id"       // numbers of records, accessions, accounts, licences, serials; UIDs
	KindPhone    Kind = "phone"    // telephone, fax and pager numbers
	KindEmail    Kind = "email"    // addresses
	KindURL      Kind = "url"      // addresses of the Web, IP addresses
	KindAddress  Kind = "address"  // streets, postal codes, rooms and beds
	KindHospital Kind = "hospital" // named hospitals and practices
	KindAge      Kind = "age"      // above 89 years
)

// Kinds lists every kind.
func Kinds() []Kind {
	return []Kind{KindName, KindDate, KindTime, KindID, KindPhone, KindEmail, KindURL, KindAddress, KindHospital, KindAge}
}

// Placeholder is what stands in the text in place of an identifier: "[name]". It is never
// taken for an identifier itself.
func (k Kind) Placeholder() string { return "[" + string(k) + "]" }

// Known holds what a header or message says about the people of a study. It is removed
// from text wherever it stands, in any case; but for names that are ordinary words (Brown), which
// stay where nothing tells them from the word: in lines of capitals, in small letters, and at
// the beginning of a sentence.
type Known struct {
	Names []string // "DOE^JANE", "Doe, Jane", "Dr. J. Smith": each part counts by itself
	IDs   []string // patient id, accession number, UIDs, as written; at least 3 characters count
}

// Removal is one identifier that was found in a text.
type Removal struct {
	Kind  Kind   `json:"kind"`
	Start int    `json:"start"` // byte offset into the text
	Text  string `json:"text"`  // as it stood there: never to be logged
}

// String returns the kind only: what was removed stays out of logs.
func (r Removal) String() string { return "deid.Removal(" + string(r.Kind) + ")" }

// GoString does what String does, for %#v.
func (r Removal) GoString() string { return r.String() }

// Text returns text with a placeholder in place of every identifier, and what was taken
// out, in order. It looks for
//
//   - what is known of the study's people (see [Known]);
//   - forms: dates, times, telephone numbers, addresses, numbers with a label or of six
//     digits and more, ages above 89;
//   - names behind a title ("Dr. Smith"), before a credential ("J. Doe, MD"), behind words
//     that introduce one ("discussed with", "DICTATED BY:"), and names of census lists
//     that are no ordinary words. Eponyms (Kerley lines, a Swan-Ganz catheter) are kept
//     unless a title makes them a person's.
//
// The rules and lists are files in data/. Text takes linear time, and what it returns is
// left as it is when it is put in again. An error is a defect of the files built in, of
// kind Internal.
func Text(text string, known Known) (string, []Removal, error) {
	lists, err := loadLists()
	if err != nil {
		return "", nil, err
	}
	spans := lists.find(text, known)
	var b strings.Builder
	var removed []Removal
	done := 0
	for _, s := range spans {
		b.WriteString(text[done:s.start])
		b.WriteString(s.kind.Placeholder())
		done = s.end
		removed = append(removed, Removal{s.kind, s.start, text[s.start:s.end]})
	}
	b.WriteString(text[done:])
	return b.String(), removed, nil
}

// Learn returns known with the names and numbers added that text itself introduces: a
// letterhead that says PATIENT NAME tells whom the findings speak of.
func Learn(text string, known Known) (Known, error) {
	lists, err := loadLists()
	if err != nil {
		return Known{}, err
	}
	out := Known{Names: slices.Clone(known.Names), IDs: slices.Clone(known.IDs)}
	for _, s := range lists.find(text, known) {
		switch s.kind {
		case KindName:
			out.Names = append(out.Names, text[s.start:s.end])
		case KindID:
			out.IDs = append(out.IDs, text[s.start:s.end])
		}
	}
	return out, nil
}

// span is an identifier at text[start:end].
type span struct {
	kind       Kind
	start, end int
}

// find returns the identifiers of text in order, without overlaps.
func (l *lists) find(text string, known Known) []span {
	spans := forms(text)
	w := l.read(text)
	spans = append(spans, w.names()...)
	spans = append(spans, w.hospitals()...)
	spans = append(spans, w.known(known)...)
	spans = append(spans, literals(text, known.IDs)...)
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.end, a.end), cmp.Compare(a.kind, b.kind))
	})
	var out []span
	for _, s := range spans {
		if s.kind == KindName { // what the name has stays: "Jane's film"
			s.end -= len(text[s.start:s.end]) - len(strings.TrimSuffix(strings.TrimSuffix(text[s.start:s.end], "'s"), "’s"))
		}
		if n := len(out); n > 0 && s.start < out[n-1].end {
			last := &out[n-1]
			if s.end > last.end { // both hold a part of it
				last.end = s.end
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// literals finds ids wherever they stand by themselves, in any case. An id with parts, as
// HL7 v2 writes them (4711^^^HOSP^MR), counts by its first too. A text may teach as many ids as
// it is long, so that they are looked up by the word that they begin with.
func literals(text string, ids []string) []span {
	byWord := map[string][]string{} // an id that begins with another byte is under ""
	seen := map[string]bool{}
	for _, id := range ids {
		first, _, _ := strings.Cut(id, "^")
		for _, part := range []string{id, first, strings.TrimLeft(first, "0")} {
			part = lowerASCII(strings.TrimSpace(part))
			if len(part) < 3 || seen[part] {
				continue
			}
			seen[part] = true
			word := part[:wordLength(part)]
			byWord[word] = append(byWord[word], part)
		}
	}
	if len(byWord) == 0 {
		return nil
	}
	var out []span
	lower := lowerASCII(text)
	at := func(i int, parts []string) {
		for _, part := range parts {
			if end := i + len(part); strings.HasPrefix(lower[i:], part) && (end == len(lower) || !wordByte(lower[end])) {
				out = append(out, span{KindID, i, end})
			}
		}
	}
	for i := 0; i < len(lower); {
		n := wordLength(lower[i:])
		if n == 0 {
			if i == 0 || !wordByte(lower[i-1]) {
				at(i, byWord[""])
			}
			i++
			continue
		}
		at(i, byWord[lower[i:i+n]])
		i += n
	}
	return out
}

// wordLength is the number of bytes of words that s begins with.
func wordLength(s string) int {
	n := 0
	for n < len(s) && wordByte(s[n]) {
		n++
	}
	return n
}

// lowerASCII makes capitals of ASCII small and keeps every offset.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func wordByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
