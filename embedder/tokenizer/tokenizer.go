// Package tokenizer turns report text into the token ids of a BERT: BasicTokenizer and
// WordPiece of google-research/bert (tokenization.py), to the letter but for the one Greek
// letter that [Uncased] names.
//
// Text flows through two steps, three for an uncased vocabulary, whose text is first put into
// lower case, without accents. Splitting removes control characters, turns every kind of space
// into a break, isolates each CJK character and each punctuation mark. WordPiece then covers
// each word greedily with the longest entries of the vocabulary; a word that cannot be covered,
// or is longer than 200 characters, becomes [UNK]. Special tokens written in running text, such
// as "[MASK]", are ordinary characters.
//
// The vocabulary of bert-base-cased (28,996 entries, Apache-2.0, vocab/LICENSE-Apache-2.0.txt),
// which BioBERT uses unchanged, is part of the program ([BERTBaseCased]); a model directory
// carries its own copy ([Read]).
//
// Ids mean something only together with the vocabulary that made them: [Tokenizer.ID] names it,
// is stored with tokens, and must equal the id in the manifest of the model that reads them.
package tokenizer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	_ "embed" // the vocabulary
	"encoding/hex"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/radstream/radstream/schemas/fault"
)

// ReasonVocabulary is the fault reason of a vocabulary that cannot be used.
const ReasonVocabulary fault.Reason = "vocabulary"

// The tokens that every vocabulary must hold.
const (
	Padding = "[PAD]"
	Unknown = "[UNK]"
	Start   = "[CLS]"
	End     = "[SEP]"
)

const (
	maxWord       = 200     // characters; longer words are [UNK] (max_input_chars_per_word)
	maxVocabulary = 8 << 20 // bytes of a vocabulary file
)

//go:embed vocab/bert-base-cased-vocab.txt
var bertBaseCased []byte

// Tokenizer is an immutable WordPiece tokenizer; any number of goroutines may use it at once.
type Tokenizer struct {
	id      string
	cased   Case
	raw     []byte
	tokens  []string         // by id
	words   map[string]int32 // entries that start a word
	pieces  map[string]int32 // entries that continue one, without "##"
	longest int              // bytes of the longest entry of either map

	padding, unknown, start, end int32
}

// Case says whether a vocabulary keeps case.
type Case bool

// The cases. Uncased follows do_lower_case, but that a sigma at the end of a word becomes the
// one inside a word, as in the tokenizers of Hugging Face.
const (
	Cased   Case = true
	Uncased Case = false
)

// BERTBaseCased returns the tokenizer of bert-base-cased and BioBERT.
func BERTBaseCased() (*Tokenizer, error) {
	return Read("bert-base-cased", Cased, bytes.NewReader(bertBaseCased))
}

// Read builds a tokenizer from a vocabulary, one entry a line, the line number being the id.
// name becomes part of the identity. A vocabulary without the special tokens, with doubled or
// empty lines or above 8 MiB is Invalid.
func Read(name string, c Case, vocabulary io.Reader) (*Tokenizer, error) {
	const op = "tokenizer.Read"
	raw, err := io.ReadAll(io.LimitReader(vocabulary, maxVocabulary+1))
	if err != nil {
		return nil, fault.E(op, fault.Internal, err)
	}
	if len(raw) > maxVocabulary {
		return nil, fault.Reject(op, fault.Invalid, ReasonVocabulary, "a vocabulary has at most %d bytes", maxVocabulary)
	}
	sum := sha256.Sum256(raw)
	kind := "wordpiece"
	if c == Uncased {
		kind = "wordpiece-uncased"
	}
	t := &Tokenizer{
		id:     kind + "/" + name + "/" + hex.EncodeToString(sum[:6]),
		cased:  c,
		raw:    raw,
		words:  make(map[string]int32, 32768),
		pieces: make(map[string]int32, 8192),
	}
	for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
		// bufio strips \r\n too; the reference strips all white space around a token.
		token := strings.TrimSpace(lines.Text())
		id := int32(len(t.tokens))
		entries, text := t.words, token
		if rest, ok := strings.CutPrefix(token, "##"); ok && rest != "" {
			entries, text = t.pieces, rest
		}
		if _, double := entries[text]; double || text == "" {
			return nil, fault.Reject(op, fault.Invalid, ReasonVocabulary, "line %d of the vocabulary is empty or doubled", id+1)
		}
		entries[text] = id
		t.tokens = append(t.tokens, token)
		t.longest = max(t.longest, len(text))
	}
	for token, id := range map[string]*int32{Padding: &t.padding, Unknown: &t.unknown, Start: &t.start, End: &t.end} {
		found, ok := t.words[token]
		if !ok {
			return nil, fault.Reject(op, fault.Invalid, ReasonVocabulary, "the vocabulary has no %s", token)
		}
		*id = found
	}
	return t, nil
}

// ID returns the identity wordpiece/NAME/HASH, HASH being the first 12 hex digits of the
// SHA-256 of the vocabulary file: wordpiece/bert-base-cased/eeaa9875b23b. That of an uncased
// one begins with wordpiece-uncased.
func (t *Tokenizer) ID() string { return t.id }

// Case says whether upper and lower case differ.
func (t *Tokenizer) Case() Case { return t.cased }

// Vocabulary returns the bytes of the vocabulary file. The caller must not change them.
func (t *Tokenizer) Vocabulary() []byte { return t.raw }

// Size returns the number of entries; every id is below it.
func (t *Tokenizer) Size() int { return len(t.tokens) }

// Mask returns the id of [MASK], which stands for a hidden word in training, or [UNK]'s in a
// vocabulary without it.
func (t *Tokenizer) Mask() int32 {
	if id, ok := t.words["[MASK]"]; ok {
		return id
	}
	return t.unknown
}

// Padding returns the id of [PAD], which fills a batch up.
func (t *Tokenizer) Padding() int32 { return t.padding }

// Encode returns [CLS], the ids of all of text, [SEP]. The result is as long as it needs to be:
// cutting at a sentence is the caller's business, cutting anywhere is [Tokenizer.EncodeMax].
func (t *Tokenizer) Encode(text string) []int32 {
	ids := append(make([]int32, 0, 2+len(text)/3), t.start)
	ids = t.appendIDs(ids, text)
	return append(ids, t.end)
}

// EncodeMax is [Tokenizer.Encode] cut off, wherever that falls, so that the result with [CLS]
// and [SEP] has at most limit ids (2 or more; less counts as 2). It says whether ids were lost.
func (t *Tokenizer) EncodeMax(text string, limit int) (ids []int32, cut bool) {
	ids = t.Encode(text)
	if limit = max(limit, 2); len(ids) <= limit {
		return ids, false
	}
	ids[limit-1] = t.end
	return ids[:limit], true
}

// Tokens returns the entries of the vocabulary that cover text, without [CLS] and [SEP].
func (t *Tokenizer) Tokens(text string) []string {
	ids := t.appendIDs(nil, text)
	tokens := make([]string, len(ids))
	for i, id := range ids {
		tokens[i] = t.tokens[id]
	}
	return tokens
}

func (t *Tokenizer) appendIDs(ids []int32, text string) []int32 {
	if t.cased == Uncased {
		text = lower(text)
	}
	splitWords(text, func(word string) { ids = t.appendWord(ids, word) })
	return ids
}

// appendWord covers one word greedily from the left (WordpieceTokenizer.tokenize).
func (t *Tokenizer) appendWord(ids []int32, word string) []int32 {
	if utf8.RuneCountInString(word) > maxWord {
		return append(ids, t.unknown)
	}
	before := len(ids)
	entries := t.words
	for start := 0; start < len(word); {
		end := min(len(word), start+t.longest)
		for ; end > start; end-- {
			// Entries are whole characters, so an end inside one cannot match.
			if id, ok := entries[word[start:end]]; ok {
				ids = append(ids, id)
				break
			}
		}
		if end == start {
			return append(ids[:before], t.unknown)
		}
		start, entries = end, t.pieces
	}
	return ids
}

// lower is do_lower_case: lower case, without accents (_run_strip_accents).
func lower(text string) string {
	text = norm.NFD.String(strings.ToLower(text))
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, text)
}

// splitWords calls yield for each word of text (BasicTokenizer.tokenize, do_lower_case=False).
func splitWords(text string, yield func(string)) {
	var word []byte
	flush := func() {
		if len(word) > 0 {
			yield(string(word))
			word = word[:0]
		}
	}
	for _, r := range text { // invalid bytes come as U+FFFD and are dropped, as by the reference
		switch {
		case isSpace(r):
			flush()
		case r == 0 || r == utf8.RuneError || isControl(r):
		case isPunctuation(r) || isCJK(r):
			flush()
			yield(string(r))
		default:
			word = utf8.AppendRune(word, r)
		}
	}
	flush()
}

// isSpace is _is_whitespace, and the line and paragraph separators at which Python's split
// breaks what _clean_text has left.
func isSpace(r rune) bool {
	switch r {
	case ' ', '\t', '\n', '\r', '\u2028', '\u2029':
		return true
	}
	return r >= 0x80 && unicode.Is(unicode.Zs, r)
}

func isControl(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf) }

// isPunctuation is _is_punctuation: all ASCII marks, "$" and "^" too, and category P.
func isPunctuation(r rune) bool {
	switch {
	case r >= '!' && r <= '/', r >= ':' && r <= '@', r >= '[' && r <= '`', r >= '{' && r <= '~':
		return true
	}
	return r >= 0x80 && unicode.IsPunct(r)
}

// isCJK is _is_chinese_char: the blocks of CJK ideographs, not kana or Hangul.
func isCJK(r rune) bool {
	switch {
	case r < 0x3400:
		return false
	case r >= 0x4E00 && r <= 0x9FFF, r <= 0x4DBF, r >= 0x20000 && r <= 0x2A6DF, r >= 0x2A700 && r <= 0x2B73F,
		r >= 0x2B740 && r <= 0x2B81F, r >= 0x2B820 && r <= 0x2CEAF, r >= 0xF900 && r <= 0xFAFF, r >= 0x2F800 && r <= 0x2FA1F:
		return true
	}
	return false
}
