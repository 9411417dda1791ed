package label

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// token is a word in small letters or a punctuation mark, at sentence[start:end].
type token struct {
	text       string
	start, end int
}

// span is a rule that matched tokens[start:end].
type span struct {
	rule       *rule
	start, end int
}

// cue is the longest phrase at tokens[start:end]. It has a rule for each side it reaches.
type cue struct {
	rules      []*rule
	start, end int
}

// cues are those of one sentence, with its ends and clauses.
type cues struct {
	list []cue
	at   []int // per token, the index into list, or -1
}

// sentence is what the rules found in one.
type sentence struct {
	text                     string
	tokens                   []token
	ofFindings, ofStructures cues
	held                     []bool // per token, whether a mention holds it
	fresh                    []bool // per token, whether an item begins there
	reach                    int
}

// read calls f for every mention in text that says something.
func (r *rules) read(text string, f func(Label, Evidence)) {
	s := &sentence{text: text, tokens: tokenise(text), reach: r.reach}
	mentions := r.findMentions(s.tokens)
	if len(mentions) == 0 {
		return
	}
	s.held = make([]bool, len(s.tokens))
	for _, m := range mentions {
		for i := m.start; i < m.end; i++ {
			s.held[i] = true
		}
	}
	s.fresh = make([]bool, len(s.tokens))
	for i := range s.tokens[1:] {
		s.fresh[i+1] = r.joints.longest(s.tokens, i) != nil && r.items.longest(s.tokens, i+1) != nil
	}
	s.ofFindings, s.ofStructures = r.findingCues.find(s.tokens), r.structureCues.find(s.tokens)
	for i, m := range mentions {
		if s.heads(m) && slices.ContainsFunc(mentions[i+1:], m.sameLabel) {
			continue
		}
		if value, cue := s.value(m); value != Absent {
			f(m.rule.labels[0], Evidence{Value: value, Mention: s.words(m), Cue: s.words(cue)})
		}
	}
}

// heads reports whether a mention is a heading, as in "Effusion: No effusion is seen.": what is said of it
// stands behind the colon, if it is mentioned there again.
func (s *sentence) heads(m span) bool {
	return s.tokens[m.end-1].text == ":" || m.end < len(s.tokens) && s.tokens[m.end].text == ":"
}

func (m span) sameLabel(other span) bool { return other.rule.labels[0] == m.rule.labels[0] }

// findMentions returns the mentions from left to right: the longest of each label at a
// place, without overlaps inside a label.
func (r *rules) findMentions(tokens []token) []span {
	var out []span
	free := map[Label]int{} // first token that no mention of the label holds
	for i, t := range tokens {
		for _, m := range r.mentions[t.text[0]] {
			l := m.labels[0]
			if free[l] > i || !m.at(tokens, i) {
				continue
			}
			free[l] = i + len(m.words)
			if m.kind != ignored {
				out = append(out, span{m, i, free[l]})
			}
		}
	}
	return out
}

// find returns the cues from left to right without overlaps.
func (t table) find(tokens []token) cues {
	out := cues{at: make([]int, len(tokens))}
	for i := 0; i < len(tokens); {
		out.at[i] = -1
		c := t.longest(tokens, i)
		if c == nil {
			i++
			continue
		}
		start := i
		for end := i + len(c[0].words); i < end; i++ {
			out.at[i] = len(out.list)
		}
		out.list = append(out.list, cue{c, start, i})
	}
	return out
}

// longest returns the rules of the longest phrase at tokens[i].
func (t table) longest(tokens []token, i int) []*rule {
	var out []*rule
	for _, r := range t[tokens[i].text[0]] {
		if out != nil && len(r.words) < len(out[0].words) {
			break
		}
		if r.at(tokens, i) {
			out = append(out, r)
		}
	}
	return out
}

func (r *rule) at(tokens []token, i int) bool {
	if i+len(r.words) > len(tokens) {
		return false
	}
	for k, w := range r.words {
		if !w.is(tokens[i+k].text) {
			return false
		}
	}
	return true
}

// value decides what one mention says, and which cue made it so.
func (s *sentence) value(m span) (Value, span) {
	switch m.rule.kind {
	case misread:
		return Positive, span{}
	case structure:
		return s.state(m)
	}
	c, _ := s.look(m, -1, true, denies, hedges)
	if c.rule != nil && c.rule.kind == hedges {
		// "no findings suggestive of": the denial covers the hedge, unless a comma
		// begins something new ("no edema, possible scar").
		if over, _ := s.look(span{m.rule, c.start, c.end}, -1, false, denies); over.rule != nil {
			c = over
		}
	}
	if c.rule == nil || c.rule.kind == hedges {
		if after, _ := s.look(m, +1, true, denies, hedges); after.rule != nil && (c.rule == nil || after.rule.kind == denies) && !s.otherSide(m, after) {
			c = after
		}
	}
	if c.rule != nil && c.rule.kind == denies && c.start < m.start {
		// "no edema, effusion is unchanged": the denial is another clause's.
		own, _ := s.look(m, -1, false, denies)
		if says, _ := s.look(m, +1, false, affirms); own.rule == nil && says.rule != nil {
			return Positive, says
		}
	}
	for _, step := range []int{-1, +1} {
		if c.rule == nil {
			c, _ = s.look(m, step, true, alternative)
		}
	}
	if c.rule == nil && m.rule.kind == hint {
		return Uncertain, c
	}
	if c.rule == nil {
		return Positive, c
	}
	if c.rule.kind == denies {
		if value, says := s.onlyOneSide(m, c); value != Absent {
			return value, says
		}
	}
	return valueOf(c.rule.kind), c
}

// onlyOneSide returns what the words behind a denial of one side say of the other: "no effusion on
// the right, small on the left". They are how much and where, and nothing else, or they would speak
// of something else; between several mentions and them it is the last that they speak of.
func (s *sentence) onlyOneSide(m, c span) (Value, span) {
	joint := max(m.end, c.end)
	for ; joint < len(s.tokens) && !slices.Contains([]string{",", ";", "but"}, s.tokens[joint].text); joint++ {
		if s.held[joint] || s.tokens[joint].text == "." {
			return Absent, span{}
		}
	}
	denied, value, amount := s.side(min(m.start, c.start), joint), Positive, false
	end := min(joint+1, len(s.tokens))
	for ; end < len(s.tokens) && !slices.Contains([]string{",", ";", "."}, s.tokens[end].text); end++ {
		switch word := s.tokens[end].text; word {
		case "possible":
			value = Uncertain
		case "small", "tiny", "trace", "minimal", "minor", "mild", "slight", "moderate", "large", "massive", "present", "seen":
			amount = true
		case "left", "right", "on", "at", "in", "to", "the", "a", "one", "side", "base", "apex", "is", "there", "but", "and",
			"very", "residual", "stable", "unchanged", "persistent", "only", "sized", "amount":
		default:
			return Absent, span{}
		}
	}
	if other := s.side(joint, end); !amount || denied == "" || other == "" || other == denied {
		return Absent, span{}
	}
	return value, span{c.rule, joint + 1, end}
}

// side returns the one side that tokens[from:to] name, or "" where they name none or both.
func (s *sentence) side(from, to int) string {
	side := ""
	for _, t := range s.tokens[from:to] {
		if t.text != "left" && t.text != "right" {
			continue
		}
		if side != "" && side != t.text {
			return ""
		}
		side = t.text
	}
	return side
}

// otherSide reports whether what cue c says behind the mention is of the other side: "right
// effusion: none on the left". The side that a film is taken from or on is not: "left pneumothorax
// is not seen on the right lateral decubitus view".
func (s *sentence) otherSide(m, c span) bool {
	at := c.end
	for ; at < len(s.tokens) && slices.Contains([]string{"on", "in", "at", "the"}, s.tokens[at].text); at++ {
	}
	if at == c.end || at == len(s.tokens) {
		return false
	}
	if at+1 < len(s.tokens) && slices.Contains([]string{"lateral", "decubitus", "oblique"}, s.tokens[at+1].text) {
		return false
	}
	there := s.tokens[at].text
	if there != "left" && there != "right" {
		return false
	}
	from := m.start // as far as in "left-sided lower lobe pneumonia"
	for from > max(m.start-4, 0) && isWord(s.tokens[from-1].text) && s.side(from, m.start) == "" {
		from--
	}
	here := s.side(from, c.start)
	return here != "" && here != there
}

// state is the value of a structure: the nearest cue of its own clause, else of the
// sentence, else a weak one. Behind a heading, "Heart: normal, large hernia.", further
// clauses speak of other things.
func (s *sentence) state(m span) (Value, span) {
	strong := []kind{denies, hedges, affirms}
	for _, pass := range []struct {
		across bool
		want   []kind
	}{{false, strong}, {true, strong}, {true, []kind{alternative}}} {
		across := pass.across && !s.heads(m)
		c, ahead := s.look(m, -1, across, pass.want...)
		after, behind := s.look(m, +1, across, pass.want...)
		if after.rule != nil && (c.rule == nil || behind < ahead) {
			c = after
		}
		if c.rule != nil {
			return valueOf(c.rule.kind), c
		}
	}
	return Absent, span{}
}

func valueOf(k kind) Value {
	switch k {
	case denies:
		return Negative
	case affirms:
		return Positive
	}
	return Uncertain
}

// look walks from the mention to the left (step -1) or right (+1) and returns the first
// cue of a wanted kind that reaches the mention, with the words between. It stops at a
// scope end and, unless across, at the border of a clause; on the way to a denial also
// where an item begins. Alternatives stand right beside what they hedge, so other
// mentions stop the way to them.
func (s *sentence) look(m span, step int, across bool, want ...kind) (span, int) {
	i := m.end
	if step < 0 {
		i = m.start - 1
	}
	between := 0
	all := &s.ofFindings
	if m.rule.kind == structure {
		all = &s.ofStructures
	}
	if step > 0 && m.rule.kind == structure && i < len(s.tokens) && s.tokens[i].text == ":" {
		i++ // "Heart size: enlarged."
	}
	items := step < 0 && m.rule.kind != structure && slices.Contains(want, denies)
	if items && s.fresh[m.start] {
		return span{}, 0
	}
	for ; i >= 0 && i < len(s.tokens) && between <= s.reach; i += step {
		if all.at[i] < 0 {
			if items && s.fresh[i] {
				break
			}
			if want[0] == alternative && m.rule.kind != structure && s.held[i] {
				break
			}
			if isWord(s.tokens[i].text) {
				between++
			}
			continue
		}
		c := all.list[all.at[i]]
		k := c.rules[0].kind
		if k == ends || k == clause && !across {
			break
		}
		for _, r := range c.rules {
			if slices.Contains(want, r.kind) && r.reaches(m.rule, step, between) {
				return span{r, c.start, c.end}, between
			}
		}
		if items && s.fresh[c.start] {
			break
		}
		if k != clause {
			between += c.end - c.start
		}
		if i = c.start; step > 0 {
			i = c.end - 1
		}
	}
	return span{}, 0
}

// reaches reports whether a cue that a walk in direction step met after so many words
// speaks of the mention.
func (r *rule) reaches(mention *rule, step, between int) bool {
	side := r.before
	if step > 0 {
		side = r.after
	}
	return side && between <= r.reach && (r.labels == nil || slices.Contains(r.labels, mention.labels[0]))
}

func (s *sentence) words(at span) string {
	if at.end == 0 {
		return ""
	}
	return s.text[s.tokens[at.start].start:s.tokens[at.end-1].end]
}

// tokenise cuts text into words and the marks . , ; : ? ! ( ). Hyphens and slashes
// separate words, so that "air-space" is "air space"; a point between digits does not.
func tokenise(text string) []token {
	var out []token
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		start := i
		switch {
		case wordRune(r):
			for i < len(text) {
				r, size = utf8.DecodeRuneInString(text[i:])
				if !wordRune(r) && !insideWord(text, i) {
					break
				}
				i += size
			}
		case strings.ContainsRune(".,;:?!()", r):
			i += size
		default:
			i += size
			continue
		}
		out = append(out, token{strings.ToLower(text[start:i]), start, i})
	}
	return out
}

func wordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

func isWord(token string) bool {
	r, _ := utf8.DecodeRuneInString(token)
	return wordRune(r)
}

// insideWord reports whether the byte at i is an apostrophe in a word or a point in a
// number.
func insideWord(text string, i int) bool {
	if i == 0 || i+1 >= len(text) {
		return false
	}
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	letter := func(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
	switch text[i] {
	case '.':
		return digit(text[i-1]) && digit(text[i+1])
	case '\'':
		return letter(text[i-1]) && letter(text[i+1])
	}
	return false
}
