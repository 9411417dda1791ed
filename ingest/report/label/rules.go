package label

import (
	_ "embed"
	"slices"
	"strconv"
	"strings"

	"github.com/radstream/radstream/schemas/fault"
)

//go:embed data/mentions.tsv
var mentionsFile string

//go:embed data/chexpert.tsv
var chexpertFile string

//go:embed data/cues.tsv
var cuesFile string

//go:embed data/scopes.tsv
var scopesFile string

// kind is what a phrase is.
type kind string

const (
	finding   kind = "finding"   // mention: affirmed unless a cue says otherwise
	hint      kind = "hint"      // mention: points to the label and does not prove it; uncertain unless denied
	structure kind = "structure" // mention: silent unless a cue says something
	ignored   kind = "ignore"    // mention: hides the shorter mentions of the label inside it
	misread   kind = "misread"   // mention: the CheXpert labeller calls it positive, whatever it says

	denies      kind = "negative"    // cue
	hedges      kind = "uncertain"   // cue
	affirms     kind = "positive"    // cue; of findings, it outweighs the denial of another clause
	alternative kind = "alternative" // cue: "or", a hedge that yields to every other cue
	keep        kind = "keep"        // cue: hides the shorter cues inside it

	ends   kind = "end"    // scope: nothing reaches across
	clause kind = "clause" // scope: a state looks across only when its own clause says nothing
	item   kind = "item"   // scope: begins something new behind a joint, which no denial reaches
	joint  kind = "joint"  // scope: what stands before an item
)

// rule is one row of a file.
type rule struct {
	words  []word
	kind   kind
	labels []Label // mentions: the one it speaks of; cues: those it is limited to, if any
	before bool    // cues: it reaches mentions behind it
	after  bool    // cues: it reaches mentions before it
	of     kind    // cues: finding or structure
	reach  int     // cues: words that may lie between
}

// word is what a token must be: one of several alternatives.
type word []spelling

type spelling struct {
	text string
	stem bool // any ending may follow
}

func (w word) is(token string) bool {
	for _, s := range w {
		if token == s.text || s.stem && strings.HasPrefix(token, s.text) {
			return true
		}
	}
	return false
}

// table holds rules by the first byte of their first word, longest phrase first.
type table map[byte][]*rule

func (t table) add(r *rule) {
	for _, s := range r.words[0] {
		list := t[s.text[0]]
		if slices.Contains(list, r) {
			continue
		}
		at := slices.IndexFunc(list, func(o *rule) bool { return len(o.words) < len(r.words) })
		if at < 0 {
			at = len(list)
		}
		t[s.text[0]] = slices.Insert(list, at, r)
	}
}

// rules is the contents of the three files.
type rules struct {
	mentions table
	// Cues of findings and of structures, each with ends and clauses, so that the longest
	// of them counts at a place.
	findingCues, structureCues table
	items                      table
	joints                     table
	reach                      int // of the cue that reaches farthest
}

// parseRules reads the files; misreadings is empty or the contents of data/chexpert.tsv.
func parseRules(misreadings, mentions, cues, scopes string) (*rules, error) {
	r := &rules{mentions: table{}, findingCues: table{}, structureCues: table{}, items: table{}, joints: table{}}
	known := append(Labels(), otherFinding)
	mention := func(kinds ...kind) func([]string) (*rule, []table) {
		return func(f []string) (*rule, []table) {
			m := &rule{kind: kind(f[2]), labels: []Label{Label(f[1])}}
			if !slices.Contains(known, m.labels[0]) || !slices.Contains(kinds, m.kind) {
				return nil, nil
			}
			return m, []table{r.mentions}
		}
	}
	// Of two phrases of one length the one read first counts.
	if err := rows("chexpert", misreadings, 3, mention(misread)); err != nil {
		return nil, err
	}
	if err := rows("mentions", mentions, 3, mention(finding, hint, structure, ignored)); err != nil {
		return nil, err
	}
	err := rows("cues", cues, 6, func(f []string) (*rule, []table) {
		c := &rule{kind: kind(f[1]), before: f[2] != "after", after: f[2] != "before", of: kind(f[3])}
		var err error
		c.reach, err = strconv.Atoi(f[4])
		if f[5] != "any" {
			for _, l := range strings.Split(f[5], "|") {
				c.labels = append(c.labels, Label(l))
			}
		}
		switch {
		case err != nil || c.reach < 0 || c.reach > 40,
			!slices.Contains([]kind{denies, hedges, affirms, alternative, keep}, c.kind),
			!slices.Contains([]string{"before", "after", "both"}, f[2]),
			c.of != finding && c.of != structure,
			slices.ContainsFunc(c.labels, func(l Label) bool { return !slices.Contains(known, l) }):
			return nil, nil
		}
		r.reach = max(r.reach, c.reach)
		if c.of == structure {
			return c, []table{r.structureCues}
		}
		return c, []table{r.findingCues}
	})
	if err != nil {
		return nil, err
	}
	err = rows("scopes", scopes, 2, func(f []string) (*rule, []table) {
		s := &rule{kind: kind(f[1])}
		switch s.kind {
		case ends, clause:
			return s, []table{r.findingCues, r.structureCues}
		case item:
			return s, []table{r.items}
		case joint:
			return s, []table{r.joints}
		}
		return nil, nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// rows reads tab-separated rows whose first field is a phrase; # starts a comment line.
// read returns the rule of a row and the tables it belongs to, or nil for a row that is wrong.
func rows(name, file string, columns int, read func(fields []string) (*rule, []table)) error {
	seen := map[string]bool{}
	for i, line := range strings.Split(file, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, "\t")
		var r *rule
		var tables []table
		words := phrase(f[0])
		if len(f) == columns && words != nil {
			r, tables = read(f)
		}
		if r == nil || seen[line] {
			return fault.Errorf("label.New", fault.Internal, "%s line %d: a row has %d columns with the words that the head of the file lists, and stands there once", name, i+1, columns)
		}
		seen[line] = true
		r.words = words
		for _, t := range tables {
			t.add(r)
		}
	}
	return nil
}

// phrase parses words separated by spaces, alternatives by |, a stem by a final *. It
// returns nil for a phrase that no text can match.
func phrase(s string) []word {
	var words []word
	for _, f := range strings.Fields(s) {
		var w word
		for _, a := range strings.Split(f, "|") {
			text := strings.TrimSuffix(a, "*")
			if t := tokenise(text); len(t) != 1 || t[0].text != text {
				return nil
			}
			w = append(w, spelling{text, text != a})
		}
		words = append(words, w)
	}
	return words
}
