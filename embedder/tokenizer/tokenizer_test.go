package tokenizer_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/ingest/realdata"
	"github.com/radstream/radstream/schemas/fault"
)

func bert(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	k, err := tokenizer.BERTBaseCased()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestVocabularyIsTheOriginal(t *testing.T) {
	k := bert(t)
	sum := sha256.Sum256(k.Vocabulary())
	// As in google-research/bert's cased_L-12_H-768_A-12.zip.
	const want = "eeaa9875b23b04b4c54ef759d03db9d1ba1554838f8fb26c5d96fa551df93d02"
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("SHA-256 of the vocabulary is %s, want %s", got, want)
	}
	if k.Size() != 28996 || k.ID() != "wordpiece/bert-base-cased/eeaa9875b23b" || k.Padding() != 0 {
		t.Errorf("size %d, id %s, padding %d", k.Size(), k.ID(), k.Padding())
	}
}

type golden struct {
	Text   string   `json:"text"`
	Tokens []string `json:"tokens"`
	IDs    []int32  `json:"ids"`
}

func TestReferenceTokens(t *testing.T) {
	var cases []golden
	if path := realdata.Path(t, "vocab/golden_hf_bert_base_cased.json"); path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &cases); err != nil {
			t.Fatal(err)
		}
		if len(cases) != 8 {
			t.Fatalf("%d cases, want 8", len(cases))
		}
	}
	if path := realdata.Path(t, "vocab/golden_google_reference.jsonl"); path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
			var g golden
			if err := json.Unmarshal(lines.Bytes(), &g); err != nil {
				t.Fatal(err)
			}
			cases = append(cases, g)
		}
		if len(cases) != 8+173 {
			t.Fatalf("%d cases, want 181", len(cases))
		}
	}
	k := bert(t)
	for _, g := range cases {
		if d := cmp.Diff(g.Tokens, append([]string{}, k.Tokens(g.Text)...)); d != "" {
			t.Errorf("tokens of %q (-reference +got)\n%s", g.Text, d)
		}
		if d := cmp.Diff(g.IDs, k.Encode(g.Text)); d != "" {
			t.Errorf("ids of %q (-reference +got)\n%s", g.Text, d)
		}
	}
}

// TestTokens needs no data: the rules of the reference, one by one.
func TestTokens(t *testing.T) {
	k := bert(t)
	for _, c := range []struct{ why, text, want string }{
		{"nothing", "", ""},
		{"case is kept", "No pleural effusion.", "No p ##le ##ural e ##ff ##usion ."},
		{"special tokens are characters", "[MASK]", "[ MA ##S ##K ]"},
		{"every space breaks", "a\u00a0b\tc\u3000d\u2028e", "a b c d e"},
		{"control and format characters vanish", "a\u200bb\x00\x07\u00adc \ufffd\xff", "a ##b ##c"},
		{"ASCII symbols are punctuation", "3^4=$5", "3 ^ 4 = $ 5"},
		{"CJK characters stand alone", "ah博生zz", "ah [UNK] 生 z ##z"},
		{"accents stay", "té", "t ##é"},
		{"200 characters are tokenised", strings.Repeat("a", 200), strings.TrimSpace(strings.Join(k.Tokens(strings.Repeat("a", 200)), " "))},
		{"201 are not", strings.Repeat("a", 201), "[UNK]"},
		{"one unknown character spoils the word", "chest\U0001f600", "[UNK]"},
	} {
		if got := strings.Join(k.Tokens(c.text), " "); got != c.want {
			t.Errorf("%s: %q gives %q, want %q", c.why, c.text, got, c.want)
		}
	}
	if long := k.Tokens(strings.Repeat("a", 200)); len(long) < 2 {
		t.Errorf("200 characters give %v", long)
	}
}

func TestEncodeMax(t *testing.T) {
	k := bert(t)
	const text = "The heart is normal."
	all := k.Encode(text)
	for limit := range 10 {
		ids, cut := k.EncodeMax(text, limit)
		if want := min(max(limit, 2), len(all)); len(ids) != want || cut != (want < len(all)) {
			t.Errorf("limit %d: %d ids, cut %t", limit, len(ids), cut)
		}
		if ids[0] != 101 || ids[len(ids)-1] != 102 {
			t.Errorf("limit %d: %v does not run from [CLS] to [SEP]", limit, ids)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":      "",
		"no [SEP]":   "[PAD]\n[UNK]\n[CLS]\n",
		"doubled":    "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\na\n",
		"empty line": "[PAD]\n[UNK]\n[CLS]\n\n[SEP]\n",
		"huge":       strings.Repeat("x", 9<<20),
	} {
		_, err := tokenizer.Read("x", tokenizer.Cased, strings.NewReader(text))
		if fault.KindOf(err) != fault.Invalid || fault.ReasonOf(err) != tokenizer.ReasonVocabulary {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzEncode(f *testing.F) {
	for _, s := range []string{"", "No acute disease.", "[MASK] ##s", "\xff\xfe", "生活的真谛是", "a\u0301\u200d", strings.Repeat("x", 300)} {
		f.Add(s)
	}
	k := bert(f)
	f.Fuzz(func(t *testing.T, text string) {
		ids := k.Encode(text)
		if len(ids) > utf8.RuneCountInString(text)+2 {
			t.Fatalf("%d ids for %d characters", len(ids), utf8.RuneCountInString(text))
		}
		for _, id := range ids {
			if id < 0 || int(id) >= k.Size() {
				t.Fatalf("id %d is not in the vocabulary", id)
			}
		}
		// What was understood reads back: without spaces and [UNK], tokens are substrings in order.
		rest := strings.ToValidUTF8(text, "")
		for _, token := range k.Tokens(text) {
			if token == tokenizer.Unknown {
				return
			}
			piece := strings.TrimPrefix(token, "##")
			for _, r := range piece {
				i := strings.IndexRune(rest, r)
				if i < 0 {
					t.Fatalf("token %q is not in what is left of the text", token)
				}
				rest = rest[i+utf8.RuneLen(r):]
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	k := bert(b)
	const text = "The cardiomediastinal silhouette is within normal limits. Small left pleural effusion with adjacent " +
		"atelectasis, possible early consolidation in the left lower lobe. No pneumothorax. No acute osseous abnormality."
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		k.Encode(text)
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{"", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##b\r\n##\n", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n\xff\n", "a\na"} {
		f.Add(s, "ab \xff##")
	}
	f.Fuzz(func(t *testing.T, vocabulary, text string) {
		k, err := tokenizer.Read("fuzz", tokenizer.Cased, strings.NewReader(vocabulary))
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatal(err)
			}
			return
		}
		for _, id := range k.Encode(text) {
			if id < 0 || int(id) >= k.Size() {
				t.Fatalf("id %d of %d", id, k.Size())
			}
		}
	})
}

// TestUncased: lower case without accents, as do_lower_case has it; trainer/backbone holds the
// vocabulary of bert-base-uncased to the tokens of another program.
func TestUncased(t *testing.T) {
	vocabulary := strings.NewReader("[PAD]\n[UNK]\n[CLS]\n[SEP]\netat\n##s\n5\nmm\n,\nistanbul\n")
	k, err := tokenizer.Read("small", tokenizer.Uncased, vocabulary)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"etat", "5", "mm", ",", "etat", "##s", "istanbul", "[UNK]"}
	if d := cmp.Diff(want, k.Tokens("\u00c9TAT 5 MM, e\u0301tats \u0130stanbul \u6c17")); d != "" {
		t.Errorf("tokens (-want +got)\n%s", d)
	}
	if !strings.HasPrefix(k.ID(), "wordpiece-uncased/small/") {
		t.Errorf("its id is %s", k.ID())
	}
}
