package report

import (
	"strings"
	"unicode"
)

// closing marks belong to the sentence before them.
const closing = `)]"'`

// Sentences cuts one line of text behind the ".", "?" and "!" that end a
// sentence. A point does not end a sentence inside a number, behind an abbreviation
// ("Dr.", "e.g."), or inside a word, unless a capitalised word follows without a space
// ("apex.There", a common slip of dictation). The next sentence may begin small: reports
// are typed in small letters too, and "possible" is written small. Pieces without a
// letter or digit are dropped; a sentence without an end mark gets a point.
func Sentences(text string) []string {
	var out []string
	start := 0
	add := func(end int) {
		s := strings.TrimSpace(text[start:end])
		start = end
		if strings.IndexFunc(s, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) < 0 {
			return
		}
		if mark := strings.TrimRight(s, closing); !strings.ContainsAny(mark[len(mark)-1:], ".?!") {
			s += "."
		}
		out = append(out, s)
	}
	for i := 0; i < len(text); i++ {
		if strings.IndexByte(".?!", text[i]) >= 0 && endsSentence(text, i) {
			end := i + 1
			for end < len(text) && strings.IndexByte(closing, text[end]) >= 0 {
				end++
			}
			add(end)
			i = end - 1
		}
	}
	add(len(text))
	return out
}

// endsSentence decides about the mark at text[i].
func endsSentence(text string, i int) bool {
	word := lastWord(text[:i])
	rest := strings.TrimLeft(text[i+1:], closing)
	if rest == "" {
		return true
	}
	if rest[0] != ' ' {
		return len(word) > 1 && smallLetter(text[i-1]) && capital(rest[0]) && len(rest) > 1 && smallLetter(rest[1])
	}
	if text[i] != '.' {
		return true
	}
	next := strings.TrimLeft(rest, " ")
	switch {
	case titles(word):
		return false
	case abbreviations(strings.ToLower(word)):
		return next != "" && capital(next[0])
	case strings.EqualFold(word, "no") && next != "" && next[0] >= '0' && next[0] <= '9':
		return false // No. 5
	case len(word) == 1 && capital(word[0]) && next != "" && capital(next[0]):
		// An initial ("read by T. Smith"), unless it is a letter that ends sentences:
		// "hepatitis C."
		last := lastWord(strings.TrimRight(text[:i-1], " "))
		return strings.EqualFold(last, "vitamin") || strings.EqualFold(last, "hepatitis") ||
			last != "" && smallLetter(last[0]) && !introduces(last)
	}
	return true
}

// lastWord returns what stands behind the last space or bracket of s; of a longer word
// than any abbreviation only the end, so that a text without spaces costs no more.
func lastWord(s string) string {
	s = s[max(0, len(s)-16):]
	return s[strings.LastIndexAny(s, " (")+1:]
}

// titles stand before a name, so a capital follows inside the sentence.
func titles(word string) bool {
	switch word {
	case "Dr", "Drs", "Mr", "Mrs", "Ms", "Prof", "St", "DR", "MR", "MRS", "MS", "PROF", "dr":
		return true
	}
	return false
}

// abbreviations end a sentence only before a capital.
func abbreviations(word string) bool {
	switch word {
	case "e.g", "i.e", "eg", "ie", "etc", "cf", "al", "ca", "approx", "vs", "resp", "a.m", "p.m", "m.d", "d.o", "ph.d", "r.n", "u.s", "i.v", "jr", "sr", "viz", "dept", "ext", "rt", "lt", "fig", "incl", "max", "min", "st":
		return true
	}
	return false
}

// introduces reports whether a name follows word.
func introduces(word string) bool {
	switch word {
	case "by", "with", "to", "from", "per", "and", "or", "via", "notified", "informed", "called", "paged", "told":
		return true
	}
	return false
}

func capital(c byte) bool     { return c >= 'A' && c <= 'Z' }
func smallLetter(c byte) bool { return c >= 'a' && c <= 'z' }
