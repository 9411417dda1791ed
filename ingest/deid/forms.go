package deid

import (
	"regexp"
	"strconv"
	"strings"
)

// form is a pattern of one kind. What is removed is its group "x", else the whole; check
// may refuse it.
type form struct {
	kind  Kind
	re    *regexp.Regexp
	check func(text string, s span) bool
	digit bool // no match without a digit
}

const (
	month   = `(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?`
	day     = `(?:3[01]|[12]\d|0?[1-9])(?:st|nd|rd|th)?`
	year    = `(?:(?:19|20)\d\d|'\d\d)`
	number  = `(?:\s*(?:numbers?|nos?\.?|num\.?|nbr|id|ids|#))*`
	isLabel = `\s*(?:[:=#]|is\b|was\b)*\s*`
	code    = `(?P<x>[A-Za-z]{0,6}[-/ ]?\d[A-Za-z0-9]*(?:[-./]?[A-Za-z0-9]+)*)`
	half    = `(?:[ap]\s?m\b|[ap]\.\s?m\b\.?)`
	zone    = `(?:\s*\(?(?:est|edt|cst|cdt|mst|mdt|pst|pdt|et|ct|utc|gmt)\b\)?)?`
	state   = `(?:A[LKZR]|C[AOT]|D[CE]|FL|GA|HI|I[DLNA]|K[SY]|LA|M[EDAINSOT]|N[EVHJMYCD]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[TA]|W[AVIY])`
	phone   = `(?:\+?1[-. ]{0,2})?(?:\(\d{3}\)|\b\d{3})[-. ]{0,2}\d{3}[-. ]\d{4}`
)

// allForms are the patterns that need no list. They are written for text of any case.
var allForms = []form{
	{KindURL, regexp.MustCompile(`(?i)\b(?:https?://|ftp://|www\.)[^\s<>"]*[^\s<>".,;:)\]]`), nil, false},
	{KindURL, regexp.MustCompile(`(?i)\b[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:com|org|net|edu|gov|info|io|health)(?:/[^\s<>"]*[^\s<>".,;:)\]])?\b`), nil, false},
	{KindURL, regexp.MustCompile(`\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b`), nil, true},
	{KindEmail, regexp.MustCompile(`(?i)\b[a-z0-9._%+'-]+\s?(?:@|\(at\)|\[at\])\s?[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}\b`), nil, false},

	{KindPhone, regexp.MustCompile(`(?i)` + phone + `(?:\s*(?:x|ext\.?|extension)\s*\d{1,6})?\b`), nil, true},
	{KindPhone, regexp.MustCompile(`\b\d{3}[-.]\d{4}\b`), nil, true},
	{KindPhone, regexp.MustCompile(`\+\d{1,3}[ .\-(]*\d[\d .\-()]{5,16}\d\b`), nil, true},
	{KindPhone, regexp.MustCompile(`(?i)\b(?:tel|telephone|phone|cell|mobile|fax|facsimile|pager|beeper|ext|extension|page|paged|call|voalte|vocera)` + number + `(?:\s+at)?\.?` + isLabel + `(?P<x>[(+]?\d[\d .\-()]{0,18}\d(?:\s*(?:x|ext\.?)\s*\d{1,6})?)\b`), nil, true},

	{KindID, regexp.MustCompile(`\b\d{3}[- ]\d{2}[- ]\d{4}\b`), nil, true},
	{KindID, regexp.MustCompile(`\b\d+(?:\.\d+){5,}\b`), nil, true},
	{KindID, regexp.MustCompile(`[^\s^]*\d{3,}[^\s^]*\^\S*`), nil, true},
	{KindID, regexp.MustCompile(`(?i)\b(?:mrn?|mr\s?#|medical record|med rec|record|chart|acc|accn|acsn|accession|patient|pt|acct|account|acct\.|visit|encounter|csn|fin|har|case|order|placer|filler|requisition|specimen|ssn|social security|soc sec|policy|member|insurance|medicare|medicaid|health plan|beneficiary|group|licen[cs]e|lic|npi|dea|upin|serial|sn|s/n|lot|device|udi|model|certificate|badge|employee|badge|vin|plate|job|dictation|document|doc|report|exam|study|film|cassette|confirmation|reference|ref|read-?back|id|identifier|uid|hospital|unit|jacket)\.?` + number + isLabel + code), labelled, true},
	{KindID, regexp.MustCompile(`\b[A-Z]{1,4}-?\d{5,}(?:-?[A-Z0-9]+)*\b`), nil, true},
	{KindID, regexp.MustCompile(`\b[A-Z]{1,4}(?:-\d{2,})+-?\d{3,}\b`), nil, true},
	{KindID, regexp.MustCompile(`\b\d{6,}(?:[-/]\d+)*\b`), nil, true},
	{KindID, regexp.MustCompile(`\b(?:[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12})\b`), nil, true},
	{KindID, regexp.MustCompile(`\b(?:[0-9A-F]{2,}[A-F][0-9A-F]*\d[0-9A-F]{8,}|\d+[A-F][0-9A-F]{12,})\b`), nil, true},
	{KindID, regexp.MustCompile(`(?m)^\s*(?P<x>[A-Z]{2,4}\s?[/:]\s?[a-z]{2,4}(?:\s?[/:]\s?\d+)?)\s*$`), nil, false}, // initials of dictation and typing: JRS/mm
	{KindID, regexp.MustCompile(`(?i)\bfile:?\s*(?P<x>\S+\.(?:wav|mp3|docx?|pdf|dcm|txt))\b`), nil, false},

	{KindDate, regexp.MustCompile(`(?i)\b\d{4}[-/.](?:1[0-2]|0?[1-9])[-/.]` + day + `(?:T\d{2}:?\d{2}(?::?\d{2})?(?:\.\d+)?(?:Z|[+-]\d{2}:?\d{2})?)?\b`), nil, true},
	{KindDate, regexp.MustCompile(`\b(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[0-5]\d[0-5]\d(?:[0-5]\d)?)?(?:[+-]\d{4})?\b`), nil, true},
	{KindDate, regexp.MustCompile(`\b\d{1,2}([-/.])\d{1,2}[-/.](?:(?:19|20)\d{2}|\d{2})\b`), calendar, true},
	{KindDate, regexp.MustCompile(`(?i)\b(?:\d{1,2}[-/ ]?` + month + `[-/, ]*` + year + `|` + day + `[-\s]+(?:of\s+)?` + month + `[-,\s]*` + year + `)`), nil, true},
	{KindDate, regexp.MustCompile(`(?i)\b` + month + `[\s-]*` + day + `(?:\s*(?:,|-|of)?\s*` + year + `)?\b`), monthDay, true},
	{KindDate, regexp.MustCompile(`(?i)\b` + day + `(?:\s+of)?[\s-]+` + month + `\b`), monthDay, true},
	{KindDate, regexp.MustCompile(`(?i)\b` + month + `(?:[,\s]|\s+of\s+|-|/)\s*` + year + `\b`), nil, true},
	{KindDate, regexp.MustCompile(`(?i)\b(?:in|since|last|this|from|until|early|late|mid|of)\s+(?P<x>(?:early |late |mid-?)?(?:january|february|march|april|june|july|august|september|october|november|december))\b`), nil, false},
	{KindDate, regexp.MustCompile(`(?i)\b(?:on|dated|date|since|from|performed|obtained|taken|acquired|exam(?:ination)? of|study of|radiographs? of|x-?rays? of|films? of|cxr of|ct of|compared (?:to|with)|comparison:?|dos:?|dob:?|d:|t:)\s+(?P<x>(?:1[0-2]|0?[1-9])/(?:3[01]|[12]\d|0?[1-9]))\b`), shortDate, true},
	{KindDate, regexp.MustCompile(`\b(?:0[1-9]|1[0-2]|[1-9])/(?:19|20)\d{2}\b`), nil, true},
	{KindDate, regexp.MustCompile(`\b(?:19[3-9]\d|20[0-4]\d)s?\b`), plainYear, true},
	{KindDate, regexp.MustCompile(`(?i)\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b`), nil, false},

	{KindTime, regexp.MustCompile(`(?i)\b(?:[01]?\d|2[0-4])[:.][0-5]\d(?::[0-5]\d)?\s*` + half + zone), nil, true},
	{KindTime, regexp.MustCompile(`(?i)\b(?:[01]?\d|2[0-4]):[0-5]\d(?::[0-5]\d)?(?:\s*(?:hours|hrs?|h|o'?clock)\b)?` + zone), nil, true},
	{KindTime, regexp.MustCompile(`(?i)\b(?:1[0-2]|0?[1-9])(?:[0-5]\d)?\s?` + half + zone), nil, true},
	{KindTime, regexp.MustCompile(`(?i)\b(?:[01]\d|2[0-4])[0-5]\d\s*(?:hours|hrs?|h)\b`), nil, true},
	{KindTime, regexp.MustCompile(`(?i)\b(?:at|time|@)(?:\s+approximately|\s+about|\s+around)?\s*:?\s*(?P<x>(?:[01]\d|2[0-3])[0-5]\d)\b`), nil, true},

	{KindAge, regexp.MustCompile(`(?i)\b(?P<x>(?:9\d|1[0-2]\d)(?:\s*[- ]?\s*(?:years?|yrs?|y)\b)?(?:[\s-]*(?:old\b|of age\b|/?o\b)))`), nil, true},
	{KindAge, regexp.MustCompile(`(?i)\b(?:aged?|age of)\s*:?\s*(?P<x>(?:9\d|1[0-2]\d)(?:\s*(?:years?|yrs?|y)\b)?)\b`), nil, true},
	{KindAge, regexp.MustCompile(`(?i)\b(?P<x>(?:9\d|1[0-2]\d)\s?-?\s?(?:years?|yrs?|yo|y\.o\.|y/o))\b`), nil, true},
	{KindAge, regexp.MustCompile(`\b(?:9\d|1[0-2]\d)(?:M|F)\b`), nil, true},
	{KindName, regexp.MustCompile(`[\pL][\pL'-]+\^[\pL^.'-]*`), nil, false}, // HL7 v2 and DICOM: DOE^JANE^Q

	{KindAddress, regexp.MustCompile(`(?i)\bp\.?\s?o\.?\s*box\s*\d+`), nil, true},
	{KindAddress, regexp.MustCompile(`\b[A-Z][A-Za-z.'-]+(?: [A-Z][A-Za-z.'-]+){0,2},?\s+` + state + `\.?,?\s+\d{5}(?:-\d{4})?\b`), nil, true},
	{KindAddress, regexp.MustCompile(`(?i)\b(?:zip|zip code|postal code|postcode)\s*:?\s*(?P<x>\d{5}(?:-\d{4})?)\b`), nil, true},
	{KindAddress, regexp.MustCompile(`\b(?:[BEGLMNSW]|[A-PR-UWYZ][A-HK-Y])\d[\dA-HJKMNPR-Y]? \d[ABD-HJLNP-UW-Z]{2}\b`), postcode, true}, // of the United Kingdom
	{KindAddress, regexp.MustCompile(`(?i)\b(?:room|rm|bed|apt|apartment|suite|ste)\b\.?\s*(?:no\.?|number|#)?\s*:?\s*(?P<x>\d+[A-Z]?(?:-?[A-Z0-9]{1,3})?|[A-Z]\d+[A-Z]?)\b`), nil, true},
	{KindAddress, street, streetName, true},
}

var street = regexp.MustCompile(`\b\d{1,5}[A-Z]?\s+(?:[NSEWnsew]\.?\s+|(?:[Nn]orth|[Ss]outh|[Ee]ast|[Ww]est|NORTH|SOUTH|EAST|WEST)\s+)?(?:[A-Z0-9][A-Za-z0-9.'-]*\s+){1,3}(?:Street|STREET|St|ST|Avenue|AVENUE|Ave|AVE|Road|ROAD|Rd|RD|Boulevard|BOULEVARD|Blvd|BLVD|Drive|DRIVE|Dr|Lane|LANE|Ln|LN|Way|Court|COURT|Ct|Place|Pl|Parkway|PARKWAY|Pkwy|PKWY|Highway|HIGHWAY|Hwy|HWY|Terrace|TERRACE|Circle|CIRCLE|Cir|Square|Trail|TRAIL|Pike|PIKE)\b\.?` +
	`(?:,?\s+(?:Apt|APT|Suite|SUITE|Ste|STE|Unit|UNIT|#)\.?\s*#?\w{1,5})?` +
	`(?:,?\s+[A-Z][A-Za-z.'-]+(?: [A-Z][A-Za-z.'-]+){0,2},?\s+` + state + `(?:,?\s+\d{5}(?:-\d{4})?)?)?`)

// forms finds what can be told by its form. It goes line by line, and leaves out the
// patterns that need what a line does not have: most lines have no digit.
func forms(text string) []span {
	var out []span
	at := 0
	for line := range strings.Lines(text) {
		digit := strings.ContainsAny(line, "0123456789")
		for _, f := range allForms {
			if f.digit && !digit {
				continue
			}
			group := f.re.SubexpIndex("x")
			for _, m := range f.re.FindAllStringSubmatchIndex(line, -1) {
				s := span{f.kind, m[0], m[1]}
				if group > 0 && m[2*group] >= 0 {
					s.start, s.end = m[2*group], m[2*group+1]
				}
				if f.check == nil || f.check(line, s) {
					out = append(out, span{s.kind, at + s.start, at + s.end})
				}
			}
		}
		at += len(line)
	}
	return out
}

// labelled takes what stands behind a label for a number: three digits or more, and no
// word before them ("patient to 100 %").
func labelled(text string, s span) bool {
	x := text[s.start:s.end]
	digits := 0
	for _, c := range []byte(x) {
		if c >= '0' && c <= '9' {
			digits++
		}
	}
	word, _, two := strings.Cut(x, " ")
	return digits >= 3 && !(two && word != strings.ToUpper(word)) && !unitFollows(text, s.end)
}

// calendar takes three numbers for a date when two of them can be day and month.
func calendar(text string, s span) bool {
	parts := strings.FieldsFunc(text[s.start:s.end], func(r rune) bool { return r == '/' || r == '-' || r == '.' })
	a, _ := strconv.Atoi(parts[0])
	b, _ := strconv.Atoi(parts[1])
	return min(a, b) >= 1 && min(a, b) <= 12 && max(a, b) <= 31 && !unitFollows(text, s.end)
}

// monthDay refuses the verbs: "2 may represent", "march 3".
func monthDay(text string, s span) bool {
	x := text[s.start:s.end]
	for _, verb := range []string{"may", "march", "mar", "MAY"} {
		if strings.Contains(x, verb) && (verb != "MAY" || x[0] >= '0' && x[0] <= '9') {
			return false
		}
	}
	return !unitFollows(text, s.end)
}

// shortDate refuses common fractions.
func shortDate(text string, s span) bool {
	switch text[s.start:s.end] {
	case "1/2", "1/3", "2/3", "1/4", "3/4", "1/5":
		return false
	}
	return true
}

func plainYear(text string, s span) bool { return !unitFollows(text, s.end) }

// postcode refuses ordinals: "L4 5TH".
func postcode(text string, s span) bool {
	switch text[s.end-2 : s.end] {
	case "ST", "ND", "RD", "TH":
		return false
	}
	return true
}

// streetName refuses "2 Right Lateral Views Ct".
func streetName(text string, s span) bool {
	for _, w := range strings.Fields(text[s.start:s.end]) {
		switch strings.ToLower(strings.Trim(w, ".,")) {
		case "mm", "cm", "view", "views", "chest", "pa", "ap", "right", "left", "upper", "lower", "lung", "lobe", "rib", "stable", "no", "year", "day", "hour":
			return false
		}
	}
	return true
}

var unit = regexp.MustCompile(`(?i)^\s?(?:mm|cm|ml|cc|mg|kg|hu|hz|msv|%|degrees?|x\s?\d)(?:[^a-z]|$)`)

// unitFollows reports whether the number that ends at i is a quantity.
func unitFollows(text string, i int) bool { return unit.MatchString(text[i:min(len(text), i+12)]) }
