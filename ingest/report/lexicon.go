package report

import (
	_ "embed"
	"fmt"
	"regexp"
	"sort"
	"strings"
	"sync"
)

//go:embed data/headings.tsv
var headingsFile string

//go:embed data/hedges.tsv
var hedgesFile string

//go:embed data/terminology.tsv
var terminologyFile string

// loadLexicon parses the embedded files once; the result is read-only.
var loadLexicon = sync.OnceValues(func() (*lexicon, error) {
	return parseLexicon(headingsFile, hedgesFile, terminologyFile)
})

// lexicon is the data that the stages work by.
type lexicon struct {
	headings, hedges, terms phrases
}

// entry is one row of a file: a phrase and what to do with it.
type entry struct {
	phrase string // ASCII, words separated by one space
	// action is the word of the second column: what a heading opens, what happens to a
	// hedge, the case rule of a term.
	action string
	name   string // terms: the preferred name
	cui    string // terms: the UMLS concept id
}

var cuiForm = regexp.MustCompile(`^C\d{7}$`)

func parseLexicon(headings, hedges, terms string) (*lexicon, error) {
	h, err := parsePhrases("headings", headings, 2, findings, impression, dropped, title, signOff, bodyPart, region)
	if err != nil {
		return nil, err
	}
	v, err := parsePhrases("hedges", hedges, 2, hedgePossible, hedgeKeep)
	if err != nil {
		return nil, err
	}
	for _, list := range v {
		for _, e := range list {
			if e.action != hedgeKeep && len(findCues(e.phrase)) > 0 {
				return nil, fmt.Errorf("report: the hedge %q holds a negation cue, which must never be replaced", e.phrase)
			}
		}
	}
	t, err := parsePhrases("terminology", terms, 4, caseAny, caseExact, caseCaps)
	if err != nil {
		return nil, err
	}
	for _, list := range t {
		for _, e := range list {
			if e.name == "" || !cuiForm.MatchString(e.cui) {
				return nil, fmt.Errorf("report: the term %q needs a preferred name, and a CUI of C and seven digits", e.phrase)
			}
		}
	}
	return &lexicon{headings: h, hedges: v, terms: t}, nil
}

// parsePhrases reads rows of columns tab-separated fields; # starts a comment line.
func parsePhrases(name, file string, columns int, actions ...string) (phrases, error) {
	p := phrases{}
	seen := map[string]bool{}
	for i, line := range strings.Split(file, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, "\t")
		known := false
		for _, a := range actions {
			known = known || len(f) == columns && f[1] == a
		}
		if !known || firstWord(f[0]) == "" || seen[f[0]] {
			return nil, fmt.Errorf("report: %s line %d: a row is a phrase that no other row has and one of %v, %d columns in all", name, i+1, actions, columns)
		}
		seen[f[0]] = true
		e := entry{phrase: f[0], action: f[1]}
		if columns == 4 {
			e.name, e.cui = f[2], f[3]
		}
		key := strings.ToLower(firstWord(e.phrase))
		p[key] = append(p[key], e)
	}
	for _, list := range p {
		sort.SliceStable(list, func(i, j int) bool { return len(list[i].phrase) > len(list[j].phrase) })
	}
	return p, nil
}

// phrases finds whole-word phrases: entries by their first word in lower case, longest
// phrase first. Looking up costs one map access a word.
type phrases map[string][]entry

// match is a phrase found at text[start:end].
type match struct {
	entry      entry
	start, end int
}

// each calls f for every phrase in text from left to right, the longest one at a place,
// without overlaps.
func (p phrases) each(text string, f func(match)) {
	for i := 0; i < len(text); {
		if !wordByte(text[i]) {
			i++
			continue
		}
		word := firstWord(text[i:])
		m, ok := p.at(text, i, strings.ToLower(word))
		if !ok {
			i += len(word)
			continue
		}
		f(m)
		i = m.end
	}
}

func (p phrases) at(text string, i int, word string) (match, bool) {
	for _, e := range p[word] {
		end := i + len(e.phrase)
		if end > len(text) || !strings.EqualFold(text[i:end], e.phrase) {
			continue
		}
		if end < len(text) && wordByte(text[end-1]) && wordByte(text[end]) {
			continue // inside a longer word
		}
		if (e.action == caseExact || e.action == caseCaps) && text[i:end] != e.phrase {
			continue
		}
		return match{e, i, end}, true
	}
	return match{}, false
}

// replace returns text with f's answer in place of every phrase for which it says yes.
func (p phrases) replace(text string, f func(match) (string, bool)) string {
	var b strings.Builder
	done := 0
	p.each(text, func(m match) {
		if with, ok := f(m); ok {
			b.WriteString(text[done:m.start])
			b.WriteString(with)
			done = m.end
		}
	})
	b.WriteString(text[done:])
	return b.String()
}

// wordByte reports whether c belongs to a word: a letter or digit, and any byte of a
// letter outside ASCII, so that no phrase is found inside a foreign word.
func wordByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// firstWord returns the word that s begins with.
func firstWord(s string) string {
	n := 0
	for n < len(s) && wordByte(s[n]) {
		n++
	}
	return s[:n]
}
