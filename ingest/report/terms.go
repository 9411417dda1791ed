package report

import "unicode"

// The case rules of data/terminology.tsv.
const (
	caseAny   = "any"   // in any case
	caseExact = "exact" // as written in the file
	caseCaps  = "caps"  // as written, unless the whole report is in capitals, where it may be a word
)

// expandTerms replaces abbreviations and colloquialisms by preferred names, as the
// file writes them wherever they stand: one form for one concept.
func (l *lexicon) expandTerms(text string) string {
	capitals := inCapitals(text)
	return l.terms.replace(text, func(m match) (string, bool) {
		if m.entry.action == caseCaps && capitals {
			return "", false
		}
		name := m.entry.name
		if m.end < len(text) && !wordByte(text[m.end-1]) && wordByte(text[m.end]) {
			name += " " // w/contrast
		}
		return name, true
	})
}

// inCapitals reports whether hardly any letter is small: such reports are typed in
// capitals throughout.
func inCapitals(text string) bool {
	small, all := 0, 0
	for _, r := range text {
		if unicode.IsLetter(r) {
			all++
			if unicode.IsLower(r) {
				small++
			}
		}
	}
	return all > 0 && small*5 < all
}
