package deid

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

//go:embed data/names.txt
var namesFile string

//go:embed data/words.txt
var wordsFile string

//go:embed data/rules.tsv
var rulesFile string

// loadLists parses the embedded files once; the result is read-only.
var loadLists = sync.OnceValues(func() (*lists, error) { return parseLists(namesFile, wordsFile, rulesFile) })

// The kinds of data/rules.tsv.
const (
	ruleTitle      = "title"
	rulePerson     = "person"
	ruleWeak       = "weak"
	ruleStop       = "stop"
	ruleHospital   = "hospital"
	ruleHouse      = "house"
	ruleNotHouse   = "not_house"
	rulePlace      = "place"
	ruleEponym     = "eponym"
	ruleEponymNoun = "eponym_noun"
	ruleWord       = "word"
)

// lists is the data that names are found by. All of it is in small letters.
type lists struct {
	names, words set
	rules        map[string]set
	phrases      map[string][]phrase // person, weak and hospital, by their first word
}

type set map[string]bool

// phrase is a rule of several tokens.
type phrase struct {
	kind   string
	tokens []string
}

func parseLists(names, words, rules string) (*lists, error) {
	l := &lists{names: set{}, words: set{}, rules: map[string]set{}, phrases: map[string][]phrase{}}
	for into, file := range map[*set]string{&l.names: names, &l.words: words} {
		for line := range strings.Lines(file) {
			if !strings.HasPrefix(line, "#") {
				for _, w := range strings.Fields(line) {
					(*into)[w] = true
				}
			}
		}
	}
	known := set{ruleTitle: true, rulePerson: true, ruleWeak: true, ruleStop: true, ruleHospital: true, ruleHouse: true,
		ruleNotHouse: true, rulePlace: true, ruleEponym: true, ruleEponymNoun: true, ruleWord: true}
	for kind := range known {
		l.rules[kind] = set{}
	}
	n := 0
	for line := range strings.Lines(rules) {
		n++
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		kind, text, ok := strings.Cut(line, "\t")
		if !ok || !known[kind] || text == "" || text != strings.ToLower(text) || l.rules[kind][text] {
			return nil, fmt.Errorf("deid: rules line %d: a row is a kind and words in small letters, once", n)
		}
		l.rules[kind][text] = true
		if kind == rulePerson || kind == ruleWeak || kind == ruleHospital {
			parts := tokenForm.FindAllString(text, -1)
			l.phrases[parts[0]] = append(l.phrases[parts[0]], phrase{kind, parts})
		}
	}
	if len(l.names) == 0 || len(l.words) == 0 || len(l.phrases) == 0 {
		return nil, fmt.Errorf("deid: the lists of names, words and rules must not be empty")
	}
	return l, nil
}

// token is a word, a number or a mark of a text.
type token struct {
	start, end int
	lower      string // small letters, without a possessive 's
	upper      bool   // begins with a capital
	shout      bool   // all of two or more letters are capitals
	capsLine   bool   // its line is written in capitals, so that they tell nothing
}

// tokenForm: words keep their apostrophes and hyphens.
var tokenForm = regexp.MustCompile(`\pL[\pL\pM]*(?:['’-][\pL\pM]+)*|\d+|\S`)

// reader finds names in one text.
type reader struct {
	*lists
	text   string
	tokens []token
}

func (l *lists) read(text string) *reader {
	r := &reader{lists: l, text: text}
	at := 0
	for line := range strings.Lines(text) {
		caps := inCapitals(line)
		for _, m := range tokenForm.FindAllStringIndex(line, -1) {
			word := line[m[0]:m[1]]
			first, _ := utf8.DecodeRuneInString(word)
			t := token{start: at + m[0], end: at + m[1], upper: unicode.IsUpper(first), capsLine: caps}
			t.shout = t.upper && len(word) > 1 && word == strings.ToUpper(word)
			t.lower = strings.ReplaceAll(strings.ToLower(word), "’", "'")
			t.lower = strings.TrimSuffix(strings.TrimSuffix(t.lower, "'s"), "'")
			if t.lower == "" {
				t.lower = word
			}
			r.tokens = append(r.tokens, t)
		}
		at += len(line)
	}
	return r
}

// inCapitals reports whether hardly any of five or more letters is small.
func inCapitals(line string) bool {
	small, all := 0, 0
	for _, c := range line {
		if unicode.IsLetter(c) {
			all++
			if unicode.IsLower(c) {
				small++
			}
		}
	}
	return all >= 5 && small*5 < all
}

// ordinary reports whether w means something beside a name. Words that are made of
// ordinary parts, and those with the endings of medicine, do.
func (l *lists) ordinary(w string) bool {
	if l.words[w] || l.rules[ruleWord][w] || l.rules[ruleStop][w] || l.rules[ruleEponymNoun][w] || len(l.phrases[w]) > 0 {
		return true
	}
	if parts := strings.Split(w, "-"); len(parts) > 1 {
		for _, p := range parts {
			if len(p) > 1 && !l.ordinary(p) && !l.rules[ruleEponym][p] {
				return false
			}
		}
		return true
	}
	if l.names[w] {
		return false
	}
	if stem, ok := strings.CutSuffix(w, "s"); ok && len(stem) > 3 && l.words[stem] {
		return true
	}
	for _, ending := range medicalEndings {
		if len(w) > len(ending)+2 && strings.HasSuffix(w, ending) {
			return true
		}
	}
	for _, start := range medicalStarts {
		if rest, ok := strings.CutPrefix(w, start); ok && len(rest) > 2 && (l.words[rest] || l.rules[ruleWord][rest]) {
			return true
		}
	}
	return false
}

var (
	medicalEndings = []string{"itis", "osis", "oses", "otic", "ectomy", "ostomy", "otomy", "otomies", "ectomies", "graphy", "graphic", "pathy",
		"gram", "grams", "scopy", "plasty", "emia", "aemia", "thorax", "thoraces", "megaly", "ization", "isation", "ality", "ically", "ectasis",
		"ectatic", "iform", "ular", "ation", "ations", "esis"}
	medicalStarts = []string{"non", "peri", "retro", "para", "sub", "supra", "infra", "inter", "intra", "hyper", "hypo", "post", "pre", "micro",
		"multi", "bi", "cardio", "pneumo", "pleuro", "broncho", "thoraco", "costo", "radio", "extra", "trans", "over", "under", "re", "un"}
)

// name tells how sure it is that w is a name: no ordinary word, and in the census lists.
// Of a hyphenated word one part suffices.
func (l *lists) name(w string) (listed, plain bool) {
	if l.names[w] {
		return true, !l.ordinary(w)
	}
	parts := strings.Split(w, "-")
	for _, p := range parts {
		if len(parts) > 1 && l.names[p] && !l.ordinary(w) {
			return true, true
		}
	}
	return false, false
}

// eponym reports whether w, or each of its parts, names a thing of medicine.
func (l *lists) eponym(w string) bool {
	if l.rules[ruleEponym][w] {
		return true
	}
	parts := strings.Split(w, "-")
	for _, p := range parts {
		if !l.rules[ruleEponym][p] && len(p) > 2 {
			return false
		}
	}
	return len(parts) > 1
}
