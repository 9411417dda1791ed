package report

import (
	"regexp"
	"strings"
	"unicode"
)

// What a heading does with the text under it; the words of data/headings.tsv.
const (
	findings   = "findings"
	impression = "impression"
	dropped    = "drop"
	title      = "title"  // dropped, and no heading behind other words of its line: "CHEST, 2 VIEWS: Clear."
	signOff    = "end"    // dropped to the next heading: nothing but signatures follows
	bodyPart   = "part"   // "Lungs:" begins findings only when nothing kept is open, and stays in the text
	region     = "region" // a body part that names an examination, too: "CHEST - 2 VIEWS" is a title
)

// sections cuts text at its headings and keeps findings and impressions, in order.
//
// A heading is a phrase of data/headings.tsv that stands
//   - at the start of a line, in any case, before a colon or alone on the line;
//   - at the start of a line, in capitals, before words that are not in capitals;
//   - behind the end of a sentence, capitalised, before a colon;
//   - anywhere, in capitals, before a colon.
//
// Behind a heading in capitals at the start of a line or behind a sentence a dash does as well as a
// colon, and an addendum may be numbered and dated before it. A body part is a heading before a colon
// or such a dash only, and before a dash only where no findings heading follows: "LUNGS - CANCER" is history, too.
//
// Without a findings heading, text under no heading is findings: what precedes the first
// heading, and paragraphs (behind a blank line) that follow the first paragraph of a
// dropped section. Hospitals that head only INDICATION and COMPARISON write so. With a
// findings heading such text is letterhead or more history, and is dropped.
func (l *lexicon) sections(text string) []Section {
	text = strings.ReplaceAll(LineEnds(text), "\u00a0", " ")
	type part struct {
		Section
		stray bool // under no heading of its own
	}
	var parts []part
	hasFindings := false
	open, start := "", 0 // the section that is being read
	ofPart := false      // it is findings by a body part
	dashed := false      // before a dash, and no findings came before it
	listed := ""         // the section whose list item is being dropped
	add := func(name, body string, stray bool) {
		if body = strings.TrimRight(strings.TrimSpace(body), "#*_= \t\n"); body != "" { // without the next heading's ornament
			if stray && strings.HasSuffix(body, ":") && !strings.ContainsAny(body, ".\n") {
				return // a heading that nobody knows, with nothing under it
			}
			parts = append(parts, part{Section{name, body}, stray})
			hasFindings = hasFindings || name == findings && !stray && !ofPart
		}
	}
	end := func(to int) {
		body := text[start:to]
		switch open {
		case "":
			add(findings, body, true)
		case signOff:
		case dropped, title:
			if next := nextItem.FindStringIndex(body); listed != "" && next != nil {
				add(listed, body[next[0]:], false)
			} else if _, rest, ok := cutParagraph(body); ok {
				add(findings, rest, true)
			}
		default:
			add(open, body, dashed)
		}
	}
	for _, h := range l.findHeadings(text) {
		if h.action == bodyPart {
			if open == findings || open == impression {
				continue
			}
			end(h.start)
			open, start, ofPart = findings, h.start, true
			dashed = !hasFindings && !strings.Contains(text[h.start:h.end], ":")
			continue
		}
		to, of := h.start, ""
		if item := openItem.FindStringSubmatchIndex(text[start:h.start]); item != nil {
			if to, of = start+item[2], listed; open == findings || open == impression {
				of = open
			}
		}
		end(to)
		open, start, ofPart, dashed, listed = h.action, h.end, false, false, of
	}
	end(len(text))

	var kept []Section
	for _, p := range parts {
		if !p.stray || !hasFindings {
			kept = append(kept, p.Section)
		}
	}
	return kept
}

// A list item that holds nothing yet, and the one behind an item.
var (
	openItem = regexp.MustCompile(`(?:^|[.;\n])\s*(\(?\d{1,2}[.)]|[-*•])[ \t]*$`)
	nextItem = regexp.MustCompile(`\s\(?\d{1,2}[.)]\s+[A-Z]|\n[ \t]*[-*•][ \t]`)
)

// heading is a heading found at text[start:end], colon included.
type heading struct {
	action     string
	start, end int
}

func (l *lexicon) findHeadings(text string) []heading {
	var found []heading
	l.headings.each(text, func(m match) {
		end, ok := headingEnd(text, m)
		if !ok {
			return
		}
		if n := len(found); n > 0 && m.start < found[n-1].end {
			return // in what stands between "addendum" and its text: "ADDENDUM 1 by RESIDENT: "
		}
		action := m.entry.action
		if action == region {
			action = bodyPart
		}
		found = append(found, heading{action, m.start, end})
	})
	return found
}

// numbering stands between "addendum" and its text: "#2 (3/4/2020 10:30 by Dr. Smith): ", "begins: ", "1 ***".
var numbering = regexp.MustCompile(`(?i)^(?:[#\d()/.,*=_ \t-]|\d:\d\d|no\.|(?:number|[ap]m|on|dated|begins?|starts?|created|dictated|entered)\b)+` +
	`(?:(?:by (?:[^:\n]|\d:\d){1,80}|dr\.?(?: [^ :\n]+){1,3})?:(?:[ \t\n]|$)|by:[^\n]{1,60}\n|\n)`)

// qualifier stands between a heading and its colon: "FINDINGS (PA and lateral):".
var qualifier = regexp.MustCompile(`^[ \t]*\([^()\n]{1,60}\)[ \t]*:`)

// headingEnd decides whether the phrase m is a heading and where its text begins.
func headingEnd(text string, m match) (end int, ok bool) {
	const ornament = " \t*#_>-•="
	phrase := text[m.start:m.end]
	capitals := phrase == strings.ToUpper(phrase)
	before := strings.TrimRight(text[:m.start], ornament)
	atLine := before == "" || strings.HasSuffix(before, "\n")
	atSentence := before != "" && strings.ContainsAny(before[len(before)-1:], ".;:!?)]")

	after := strings.TrimLeft(text[m.end:], " \t*_=")
	end = len(text) - len(after)
	if strings.HasPrefix(after, ":") {
		end = len(text) - len(strings.TrimLeft(after[1:], "*_"))
		return end, atLine || capitals && m.entry.action != title || atSentence && unicode.IsUpper(rune(phrase[0]))
	}
	if !atLine && !atSentence || m.entry.action == region {
		return 0, false
	}
	if words := qualifier.FindString(text[m.end:]); atLine && words != "" && m.entry.action != title {
		return m.end + len(words), true
	}
	if which := numbering.FindString(text[m.end:]); atLine && which != "" && strings.EqualFold(phrase, HeadingAddendum) {
		return m.end + len(which), true
	}
	if rest := strings.TrimLeft(after, "-–—"); capitals && rest != after && (rest == "" || rest[0] == ' ' || rest[0] == '\n') &&
		(atLine || end > m.end) { // behind a sentence with a blank before it, too: "PRIOR- none"
		return len(text) - len(rest), true
	}
	if !atLine {
		return 0, false
	}
	if m.entry.action == bodyPart {
		return 0, false
	}
	if after == "" || after[0] == '\n' {
		return end, true
	}
	word, _, _ := strings.Cut(after[:min(len(after), 32)], " ")
	return end, capitals && word != strings.ToUpper(word) && unicode.IsUpper(rune(word[0]))
}

// cutParagraph splits at the first blank line that has text before it.
func cutParagraph(s string) (first, rest string, ok bool) {
	seen := false
	for at := 0; at < len(s); {
		line, next := s[at:], len(s)
		if i := strings.IndexByte(line, '\n'); i >= 0 {
			line, next = line[:i], at+i+1
		}
		blank := strings.TrimSpace(line) == ""
		if blank && seen {
			return s[:at], s[next:], true
		}
		seen = seen || !blank
		at = next
	}
	return s, "", false
}
