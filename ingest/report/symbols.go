package report

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

var (
	// mask is what de-identification left in place of words: XXXX (Open-i) or ___
	// (MIMIC), with what hangs on it by a hyphen or slash, as in x-XXXX and XXXX-year-old.
	// A title before it goes too: "Dr. XXXX was informed" must not become "Dr. was informed".
	mask       = regexp.MustCompile(`(?:\b(?:[Dd]rs?|DRS?|M(?:rs?|s)|Prof)\b\.?\s+)?(?:\w+-)?(?:X{3,}|_{2,})(?:[-/]\w+)*`)
	bullet     = regexp.MustCompile(`^(?:[-*>#~=+]+|[•‣◦▪●·–—]+)\s+`)
	glued      = regexp.MustCompile(`^(?:[-*+]|[•‣◦▪●·])([A-Z])`) // "-No effusion"
	numbered   = regexp.MustCompile(`^\(?(\d{1,2})[.)](?:\s+|([A-Z]))`)
	subheading = regexp.MustCompile(`^[A-Z][A-Za-z /]{1,40}:\s`)
	inlineItem = regexp.MustCompile(`\s\(?(\d{1,2})[.)]\s+[A-Z]`)

	emptyPairs  = regexp.MustCompile(`\(\s*\)|\[\s*\]`)
	spaceBefore = regexp.MustCompile(`\s+([.,;:])`)
	repeated    = regexp.MustCompile(`([.,;:])(?:\s*[.,;:])+`)
	spaces      = regexp.MustCompile(`\s+`)
	plain       = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u00a0", " ", "\u2018", "'", "\u2019", "'",
		"\u201c", `"`, "\u201d", `"`, "\u2010", "-", "\u2011", "-", "\u2012", "-", "\u2013", "-", "\u2014", " - ", "\u00d7", "x", "\ufeff", "")
)

// cleanSymbols removes what is layout and returns one line. List items and paragraphs
// end as sentences, so that the splitter sees them; hard-wrapped lines are joined.
func cleanSymbols(text string) string {
	text = strings.Map(printable, plain.Replace(text))
	var b strings.Builder
	item := 0 // the number of the open list item
	open := false
	end := func() { // closes the sentence that is open
		if open {
			b.WriteString(" . ")
		}
		open = false
	}
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			end()
			continue
		}
		if m := bullet.FindString(line); m != "" {
			end()
			line = line[len(m):]
		} else if m := glued.FindStringSubmatchIndex(line); m != nil {
			end()
			line = line[m[2]:]
		}
		if m := numbered.FindStringSubmatch(line); m != nil {
			end()
			item, _ = strconv.Atoi(m[1])
			line = line[len(m[0])-len(m[2]):]
		} else if subheading.MatchString(line) {
			end()
		}
		line, item = inlineItems(line, item)
		b.WriteString(line)
		b.WriteByte(' ')
		open = true
	}
	s := mask.ReplaceAllStringFunc(b.String(), func(m string) string {
		return strings.Join(negationCue.FindAllString(m, -1), " ") // non-XXXX: a denial is never removed
	})
	s = strings.NewReplacer("*", "", "_", " ", "|", " ", "^", " ", "~", " ").Replace(s)
	s = emptyPairs.ReplaceAllString(s, "")
	s = spaceBefore.ReplaceAllString(s, "$1")
	s = repeated.ReplaceAllStringFunc(s, func(run string) string {
		if strings.Contains(run, ".") {
			return "."
		}
		return run[:1]
	})
	s = spaces.ReplaceAllString(s, " ")
	return strings.TrimLeft(strings.TrimSpace(s), ".,;: ")
}

// inlineItems turns "1. A 2. B" on one line into sentences. item is the number of the
// item before; only its successor, before a capital, opens the next, so that "rib 5. The"
// stays a sentence end.
func inlineItems(line string, item int) (string, int) {
	var b strings.Builder
	for {
		m := inlineItem.FindStringSubmatchIndex(line)
		if m == nil {
			b.WriteString(line)
			return b.String(), item
		}
		n, _ := strconv.Atoi(line[m[2]:m[3]])
		before := strings.TrimSpace(line[:m[0]])
		if n == item+1 && (item > 0 || before == "" || strings.HasSuffix(before, ".") || strings.HasSuffix(before, ":")) {
			b.WriteString(before + " . ")
			item = n
		} else {
			b.WriteString(line[:m[1]-1])
		}
		line = line[m[1]-1:]
	}
}

// printable drops control and format characters and private glyphs; other white space
// becomes a space.
func printable(r rune) rune {
	switch {
	case r == '\n':
		return r
	case unicode.IsSpace(r):
		return ' '
	case unicode.IsControl(r), unicode.In(r, unicode.Cf, unicode.Co), r == unicode.ReplacementChar:
		return -1
	}
	return r
}
