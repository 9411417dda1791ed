package deid

import "strings"

// known finds the names of k: every part by itself in any case; a part that is an ordinary
// word too (Long, Brown) only beside another one, or where its capital says that it is a name:
// inside a sentence, in a line that is not all capitals.
func (r *reader) known(k Known) []span {
	parts, initials := set{}, set{}
	for _, name := range k.Names {
		for _, p := range tokenForm.FindAllString(strings.ReplaceAll(name, "^", " "), -1) {
			p = strings.TrimSuffix(strings.ToLower(p), "'s")
			if !isLetter(p) {
				continue
			}
			initials[p[:1]] = true
			if len(p) > 1 && !r.rules[ruleTitle][p] && !r.rules[ruleStop][p] && !suffixes[p] {
				parts[p] = true
			}
		}
	}
	if len(parts) == 0 {
		return nil
	}
	is := func(i int) bool {
		if i < 0 || i >= len(r.tokens) {
			return false
		}
		w := r.tokens[i].lower
		if parts[w] {
			return true
		}
		for _, p := range strings.Split(w, "-") {
			if p != w && len(p) > 2 && parts[p] && !r.ordinary(p) {
				return true
			}
		}
		return false
	}
	// beside is the index of the neighbour, over one mark
	beside := func(i, step int) int {
		i += step
		if i >= 0 && i < len(r.tokens) && strings.Contains(".,^", r.tokens[i].lower) && len(r.tokens[i].lower) == 1 {
			i += step
		}
		return i
	}
	var out []span
	for i, t := range r.tokens {
		if !is(i) {
			continue
		}
		if !is(beside(i, -1)) && !is(beside(i, 1)) &&
			(r.eponymAt(i) || r.ordinary(t.lower) && (!t.upper || t.capsLine || r.beginsSentence(i))) {
			continue
		}
		s := span{KindName, t.start, t.end}
		if j := beside(i, -1); j >= 0 && r.initial(j) && initials[r.tokens[j].lower] {
			s.start = r.tokens[j].start
		}
		out = append(out, s)
	}
	return out
}

// beginsSentence tells whether tokens[i] has its capital for where it stands, as far as can be told.
func (r *reader) beginsSentence(i int) bool {
	return i == 0 || strings.Contains(".:;!?-*)", r.tokens[i-1].lower) || strings.Contains(r.text[r.tokens[i-1].end:r.tokens[i].start], "\n")
}

// hospitals finds the names of hospitals and practices.
func (r *reader) hospitals() []span {
	var out []span
	for i, t := range r.tokens {
		if !t.upper {
			continue
		}
		if t.lower == "st" || t.lower == "saint" {
			if s, ok := r.saint(i); ok {
				out = append(out, s)
			}
			continue
		}
		kind, next := r.phrase(i)
		if kind != ruleHospital {
			continue
		}
		from := i
		for n := 0; from > 0 && n < 6; n++ {
			k := from - 1
			if r.tokens[k].lower == "." && k > 0 && strings.Contains("st mt", r.tokens[k-1].lower) {
				k--
			} else if !r.near(k, from) {
				break
			}
			if !r.house(k) {
				break
			}
			from = k
		}
		for from < i && !r.tokens[from].upper { // "of"
			from++
		}
		if next+1 < len(r.tokens) && r.tokens[next].lower == "of" { // Hospital of the University of Oslo
			for k := next + 1; k < len(r.tokens) && k < next+6 && r.near(k-1, k) && (r.tokens[k].lower == "the" || r.house(k)); k++ {
				if r.tokens[k].upper && r.tokens[k].lower != "the" {
					next = k + 1
				}
			}
			if r.tokens[next-1].lower == "of" {
				next--
			}
		}
		if from < i || next > i && r.tokens[next-1].start > r.tokens[i].end+20 {
			out = append(out, span{KindHospital, r.tokens[from].start, r.tokens[next-1].end})
		}
	}
	return out
}

// house reports whether tokens[i] can be a word of a hospital's name.
func (r *reader) house(i int) bool {
	t := r.tokens[i]
	switch {
	case t.lower == "of" || t.lower == "&":
		return true
	case !t.upper || r.rules[ruleNotHouse][t.lower] || !isLetter(t.lower) || strings.Trim(t.lower, "x") == "":
		return false
	case r.rules[ruleHouse][t.lower] || !t.capsLine:
		return true
	}
	return !r.ordinary(t.lower) || r.lists.names[t.lower]
}

// saint finds "St. Mary's" behind "at" or "from"; a St. Jude valve is none.
func (r *reader) saint(i int) (span, bool) {
	k := i + 1
	if k < len(r.tokens) && r.tokens[k].lower == "." {
		k++
	}
	if i == 0 || k >= len(r.tokens) || !r.tokens[k].upper || r.eponymAt(k) || !r.near(k-1, k) {
		return span{}, false
	}
	switch r.tokens[i-1].lower {
	case "at", "from", "to", "in", "of":
		return span{KindHospital, r.tokens[i].start, r.tokens[k].end}, true
	}
	return span{}, false
}
