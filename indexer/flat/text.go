package flat

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Tokenizer splits text for full-text conditions on an indexed field.
type Tokenizer uint8

// The tokenizers. Word splits at everything that is not a letter or digit.
const (
	Word Tokenizer = iota
	Whitespace
)

// TextParams says how a text index tokenizes. It changes what match conditions on the
// field mean: with an index they compare tokens, without one substrings.
type TextParams struct {
	Tokenizer        Tokenizer
	KeepCase         bool // true: tokens are not lowered
	MinToken         int  // shortest token kept, in runes; 0 keeps all
	MaxToken         int  // longest token kept, in runes; 0 keeps all
	PhrasesSupported bool // phrase conditions are allowed
}

func (p TextParams) tokens(s string) []string {
	if !p.KeepCase {
		s = strings.ToLower(s)
	}
	var toks []string
	if p.Tokenizer == Whitespace {
		toks = strings.Fields(s)
	} else {
		toks = strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) })
	}
	return slices.DeleteFunc(toks, func(t string) bool {
		n := utf8.RuneCountInString(t)
		return n < p.MinToken || p.MaxToken > 0 && n > p.MaxToken
	})
}

// containsAll reports whether doc has every token of query; an empty query matches nothing.
func containsAll(doc, query []string) bool {
	for _, q := range query {
		if !slices.Contains(doc, q) {
			return false
		}
	}
	return len(query) > 0
}

func containsAny(doc, query []string) bool {
	return slices.ContainsFunc(query, func(q string) bool { return slices.Contains(doc, q) })
}

func containsPhrase(doc, query []string) bool {
	for i := 0; len(query) > 0 && i+len(query) <= len(doc); i++ {
		if slices.Equal(doc[i:i+len(query)], query) {
			return true
		}
	}
	return false
}
