package deid

import (
	"regexp"
	"slices"
	"strings"
)

// strength is how surely a name is to be expected at a place.
type strength int

const (
	weak   strength = iota // "by": only a listed name, or two words that are none
	cued                   // "discussed with": a capitalised word that is no ordinary one
	headed                 // "DICTATED BY:": names that are ordinary words too
	titled                 // "Dr.": any capitalised word
)

// credentials stand behind a name. Without a comma they must be in capitals.
var credentials = regexp.MustCompile(`(?i:,\s*(?:m\.?\s?d|ph\.?\s?d|r\.?n|n\.?p|pa-?c|aprn|arnp|crnp|fnp|cnp|dnp|crna|mbbs|mbchb|frcr|facr|mph|msn|bsn|lpn|dds|dpm|pharmd|d\.o|rt\s?\(r\)|r\.t\.)(?:\.|\b))|,\s*DO\b|\s+(?:M\.?D|Ph\.?D|R\.N|PA-C|MBBS|FRCR|FACR|CRNP|APRN|D\.O)(?:\.|\b)`)

// names finds the names that a title, a credential, an introducing phrase or the census
// lists give away.
func (r *reader) names() []span {
	var out []span
	add := func(from, to int, how strength) int { // tokens
		if to <= from {
			return from
		}
		out = append(out, span{KindName, r.tokens[from].start, r.tokens[to-1].end})
		return r.conjoined(to, how, &out)
	}
	for i, done := 0, 0; i < len(r.tokens); i++ {
		if i < done { // inside a name that was found
			continue
		}
		if k, ok := r.title(i); ok {
			done = add(k, r.person(k, titled), titled)
			continue
		}
		if kind, k := r.phrase(i); kind == rulePerson || kind == ruleWeak {
			how := cued
			if kind == ruleWeak {
				how = weak
			}
			for k < len(r.tokens) && strings.Contains(":-.(", r.tokens[k].lower) && len(r.tokens[k].lower) == 1 && kind == rulePerson {
				if r.tokens[k].lower == ":" {
					how = headed
				}
				k++
			}
			if k < len(r.tokens) {
				if _, ok := r.title(k); !ok {
					if end := r.person(k, how); end > k {
						done = add(k, end, how)
						continue
					}
				}
			}
		}
		if r.listed(i) {
			done = add(i, r.person(i, weak), weak)
		}
	}
	for _, m := range credentials.FindAllStringIndex(r.text, -1) {
		last, ok := slices.BinarySearchFunc(r.tokens, m[0], func(t token, end int) int { return t.end - end })
		if ok {
			if from := r.backwards(last); from <= last {
				out = append(out, span{KindName, r.tokens[from].start, r.tokens[last].end})
			}
		}
	}
	return out
}

// title reports whether tokens[i] is a title, and where the name behind it begins.
func (r *reader) title(i int) (next int, ok bool) {
	t := r.tokens[i]
	if !r.rules[ruleTitle][t.lower] || t.lower == "ms" && t.shout && !t.capsLine {
		return 0, false
	}
	next = i + 1
	if next < len(r.tokens) && r.tokens[next].lower == "." {
		next++
	}
	return next, next < len(r.tokens)
}

// phrase returns the longest phrase of the rules at tokens[i] and what follows it.
func (r *reader) phrase(i int) (kind string, next int) {
	for _, p := range r.phrases[r.tokens[i].lower] {
		if n := len(p.tokens); i+n <= len(r.tokens) && i+n > next &&
			slices.EqualFunc(r.tokens[i:i+n], p.tokens, func(t token, w string) bool { return t.lower == w }) {
			kind, next = p.kind, i+n
		}
	}
	return kind, next
}

// listed reports whether a name of the lists begins at tokens[i] by itself. In a line of
// capitals only two together do.
func (r *reader) listed(i int) bool {
	t := r.tokens[i]
	if !t.upper {
		return false
	}
	if r.initial(i) {
		k := i + 1
		for n := 1; n < mostInitials && k+1 < len(r.tokens) && r.tokens[k].lower == "." && r.initial(k+1); n++ {
			k += 2
		}
		if k+1 >= len(r.tokens) || r.tokens[k].lower != "." || !r.near(k, k+1) || !r.tokens[k+1].upper {
			return false
		}
		next := r.tokens[k+1]
		_, plain := r.name(next.lower)
		return !r.eponymAt(k+1) && (plain || !next.capsLine && !next.shout && len(next.lower) > 3 && !r.ordinary(next.lower))
	}
	_, plain := r.name(t.lower)
	if len(t.lower) < 3 || r.eponymAt(i) {
		return false
	}
	pair := i+1 < len(r.tokens) && r.near(i, i+1) && r.tokens[i+1].upper && !r.nounFollows(i+1)
	if pair {
		listed, next := r.name(r.tokens[i+1].lower)
		if t.capsLine {
			first, _ := r.name(t.lower)
			return first && listed && (plain || next)
		}
		first, _ := r.name(t.lower)
		if first && listed && (plain || next) {
			return true
		}
	}
	return plain && !t.capsLine && !t.shout
}

func (r *reader) initial(i int) bool {
	t := r.tokens[i]
	return t.upper && t.end-t.start == 1
}

// near reports whether only blanks stand between two tokens.
func (r *reader) near(a, b int) bool {
	return strings.Trim(r.text[r.tokens[a].end:r.tokens[b].start], " \t") == ""
}

// eponymAt reports whether tokens[i] names a thing: by the list, or by what follows.
func (r *reader) eponymAt(i int) bool {
	if i+1 < len(r.tokens) && r.near(i, i+1) && r.rules[ruleEponymNoun][r.tokens[i+1].lower] {
		return true
	}
	return r.eponym(r.tokens[i].lower)
}

var (
	particles = set{"van": true, "von": true, "de": true, "der": true, "den": true, "del": true, "della": true, "di": true, "da": true, "dos": true,
		"la": true, "le": true, "el": true, "al": true, "bin": true, "ibn": true, "ter": true, "ten": true, "st": true, "mc": true, "o": true, "san": true}
	suffixes = set{"jr": true, "sr": true, "ii": true, "iii": true}
)

// mostInitials is how many initials a name has at most. A run of them is looked at from each.
const mostInitials = 3

// person reads a name that begins at tokens[i] and returns its end, i when there is none.
func (r *reader) person(i int, how strength) int {
	words, initials, end := 0, 0, i
	for j := i; j < len(r.tokens) && words < 4; {
		t := r.tokens[j]
		if j > i && !r.near(j-1, j) {
			break
		}
		switch {
		case r.initial(j) && initials < mostInitials:
			k := j + 1
			dotted := k < len(r.tokens) && r.tokens[k].lower == "." && r.tokens[k].start == t.end
			if dotted {
				k++
			}
			if words == 0 && (k >= len(r.tokens) || !r.tokens[k].upper) || words > 0 && !dotted && strings.Contains("ai", t.lower) {
				return end
			}
			if words > 0 {
				end = k
				if dotted && (k >= len(r.tokens) || !r.near(k-1, k) || !r.part(k, how, words)) {
					end = k - 1 // the point ends the sentence
				}
			}
			initials, j = initials+1, k
		case r.particle(j, how, words):
			j++
		case words > 0 && suffixes[t.lower]:
			return j + 1
		case r.part(j, how, words):
			words, j = words+1, j+1
			end = j
			if words == 1 && j+1 < len(r.tokens) && r.tokens[j].lower == "," && r.given(j+1) && r.surname(j-1) {
				j++ // DOE, JANE
			}
		default:
			return end
		}
	}
	return end
}

// particle reports whether tokens[i] is a particle ("van der") before a word of a name.
func (r *reader) particle(i int, how strength, words int) bool {
	k := i
	for k < i+2 && k+1 < len(r.tokens) && particles[r.tokens[k].lower] && r.near(k, k+1) {
		k++
	}
	return k > i && (words > 0 || how > weak) && r.tokens[k].upper && !particles[r.tokens[k].lower] && r.part(k, how, words)
}

// given reports whether tokens[i] can be the given name behind a surname and a comma.
func (r *reader) given(i int) bool {
	t := r.tokens[i]
	listed, plain := r.name(t.lower)
	return t.upper && !r.eponymAt(i) && !r.rules[ruleStop][t.lower] && (plain || listed && t.capsLine)
}

func (r *reader) surname(i int) bool {
	listed, _ := r.name(r.tokens[i].lower)
	return listed || !r.ordinary(r.tokens[i].lower)
}

// part reports whether tokens[i] can be a word of a name of which words were read.
func (r *reader) part(i int, how strength, words int) bool {
	t := r.tokens[i]
	if t.end-t.start < 2 || r.rules[ruleStop][t.lower] || strings.Trim(t.lower, "x") == "" || !isLetter(t.lower) {
		return false
	}
	listed, plain := r.name(t.lower)
	ordinary := r.ordinary(t.lower)
	if !t.upper { // "seen by dr. smith"
		return how == titled && !ordinary && words < 2 && (words == 0 || plain && !r.tokens[i-1].upper)
	}
	if how == titled && words == 0 {
		return !t.capsLine || listed || !ordinary || r.eponym(t.lower)
	}
	if r.eponymAt(i) && !(plain && (how >= cued || words > 0) && !r.nounFollows(i)) {
		return false
	}
	if how == titled && words == 1 && !t.capsLine && !t.shout { // Dr. Henry Seven
		if _, given := r.name(r.tokens[i-1].lower); given {
			return true
		}
	}
	acronym := t.shout && !t.capsLine && len(t.lower) <= 5 && !plain
	if words > 0 {
		return listed || !ordinary && !acronym
	}
	switch {
	case plain:
		return true
	case listed: // Brown, Long
		return how == headed || r.pairFollows(i)
	case ordinary || acronym:
		return false
	}
	return how >= cued || !t.capsLine && r.pairFollows(i)
}

func (r *reader) nounFollows(i int) bool {
	return i+1 < len(r.tokens) && r.near(i, i+1) && r.rules[ruleEponymNoun][r.tokens[i+1].lower]
}

// pairFollows reports whether another word of a name, or an initial and one, follows.
func (r *reader) pairFollows(i int) bool {
	k := i + 1
	if k < len(r.tokens) && r.tokens[k].lower == "," {
		return k+1 < len(r.tokens) && r.given(k+1)
	}
	for n := 0; n < mostInitials && k+1 < len(r.tokens) && r.initial(k); n++ {
		k++
		if r.tokens[k].lower == "." {
			k++
		}
	}
	if k >= len(r.tokens) || !r.tokens[k].upper || !r.near(k-1, k) {
		return false
	}
	t := r.tokens[k]
	_, plain := r.name(t.lower)
	return plain || !r.ordinary(t.lower) && !t.shout && !r.eponym(t.lower)
}

// conjoined reads the further names of "Smith and Jones" and returns where they end.
func (r *reader) conjoined(i int, how strength, out *[]span) int {
	for i+1 < len(r.tokens) {
		switch r.tokens[i].lower {
		case "and", "&", "or", ",", "/":
		default:
			return i
		}
		k, second := i+1, cued
		if r.tokens[k].lower == "and" && k+1 < len(r.tokens) {
			k++
		}
		if next, ok := r.title(k); ok {
			k, second = next, titled
		} else if how == titled {
			second = headed // "Drs. Okonkwo and Young"; but "Dr. Okonkwo and Radiology"
		}
		end := r.person(k, second)
		if end == k {
			return i
		}
		*out = append(*out, span{KindName, r.tokens[k].start, r.tokens[end-1].end})
		i = end
	}
	return i
}

// backwards returns where the name begins that ends with tokens[last], before a
// credential; last+1 when there is none.
func (r *reader) backwards(last int) int {
	t := r.tokens[last]
	if len(t.lower) < 2 || r.rules[ruleStop][t.lower] || !isLetter(t.lower) || !t.upper && r.ordinary(t.lower) ||
		r.ordinary(t.lower) && t.capsLine && !r.lists.names[t.lower] {
		return last + 1
	}
	from := last
	for words := 1; from > 0 && words < 5; words++ {
		k := from - 1
		if r.tokens[k].lower == "." && k > 0 && r.initial(k-1) {
			k--
		} else if r.tokens[k].lower == "," && k > 0 && words == 1 && r.tokens[k-1].upper && r.surname(k-1) && !r.rules[ruleStop][r.tokens[k-1].lower] {
			k--
		} else if !r.near(k, from) {
			break
		}
		p := r.tokens[k]
		listed, _ := r.name(p.lower)
		ok := r.initial(k) || particles[p.lower] && words > 0 || (p.upper || !t.upper) && isLetter(p.lower) && len(p.lower) > 1 &&
			!r.rules[ruleStop][p.lower] && strings.Trim(p.lower, "x") != "" && (listed || !r.ordinary(p.lower))
		if !ok {
			break
		}
		from = k
	}
	for from < last && particles[r.tokens[from].lower] && !r.tokens[from].upper {
		from++
	}
	return from
}

func isLetter(w string) bool { return w[0] >= 'a' && w[0] <= 'z' || w[0] >= 0x80 }
