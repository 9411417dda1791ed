package report

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

const bullets = "•‣◦▪●·►▶▸➢➤✓✔■□◆◇○∙①-⑳"

var (
	// mask is what de-identification left in place of words: XXXX (Open-i) or ___
	// (MIMIC), with what hangs on it by a hyphen or slash, as in x-XXXX and XXXX-year-old.
	// A title before it goes too: "Dr. XXXX was informed" must not become "Dr. was informed".
	mask       = regexp.MustCompile(`(?:\b(?:[Dd]rs?|DRS?|M(?:rs?|s)|Prof)\b\.?\s+)?(?:\w+-)?(?:X{3,}|_{2,})(?:[-/]\w+)*`)
	bullet     = regexp.MustCompile(`^(?:[-*>#~=+]+|[` + bullets + `–—]+|#\d{1,2}[.):]?|\(?(?:[a-h]|[ivx]{1,4})\))\s+`)
	glued      = regexp.MustCompile(`^(?:[-*+]|[` + bullets + `])([A-Z])`) // "-No effusion"
	rule       = regexp.MustCompile(`^[-=_*~#+–—]{3,}$`)
	numbered   = regexp.MustCompile(`^\(?(\d{1,2})[.)](?:\s+|([A-Z]))`)
	subheading = regexp.MustCompile(`^[A-Z][A-Za-z /]{1,40}:\s`)
	inlineItem = regexp.MustCompile(`\s\(?(\d{1,2})[.)]\s+[A-Z]`)

	// denial ends a line above a list of what is denied; of the words before a colon it denies
	// what follows. A bare "no" behind a colon, a question mark or a dash is an answer.
	denial      = regexp.MustCompile(`(?i)(?:(?:^|[^:?\s-]\s+)no|\bno:|\b(?:without|negative for|free of|absence of|(?:evidence|signs?|features) (?:of|for)))\s*:?$`)
	deniedColon = regexp.MustCompile(`(?i)(\b(?:no|without|negative for|free of|absence of|no (?:evidence|signs?|features) (?:of|for))):\s+([a-z])`)
	// answered is a question and its answer, minus a sign for what is denied: "Edema? No.", "(-) edema",
	// "edema (-)".
	answered = regexp.MustCompile(`(?i)\s*\?\s*((?:no|none|nil|negative|absent|yes|present|possible|possibly|` +
		`(?:not|none) (?:seen|identified|present|evident|visible|visuali[sz]ed|demonstrated|detected|noted)|` +
		`(?:very )?(?:tiny|trace|small|minimal|mild|moderate|large|severe))(?:,? (?:on|at|in) the (?:left|right))?)\s*([.;,]|$)`)
	minus   = regexp.MustCompile(`(^|[.;,]\s*)\(-\)\s*(\pL)`)
	minusOf = regexp.MustCompile(`(\pL)\s*:?\s*\(-\)\s*([.;,]|$)`)
	answer  = regexp.MustCompile(`(?i)[:?]\s*(?:yes|no)$`)
	// unfinished ends a line whose sentence goes on.
	unfinished = regexp.MustCompile(`(?i)(?:[^\pL\pN)%"']|\b(?:a|an|the|of|to|in|on|at|by|for|from|with|without|and|or|nor|no|not|is|are|was|were|dr|drs|mr|mrs|ms|prof))$`)
	sentence   = regexp.MustCompile(`^[A-Z][a-z]`)

	// box is a box of a form, ticked or not: "[x] Edema", "Edema [ ]", "Edema: ( ) yes (x) no".
	box      = regexp.MustCompile(`\[ ?\]|\( \)|\[[xX✓✔√]\]|\([xX✓✔√]\)|[☐☑☒]`)
	emptyBox = regexp.MustCompile(`^(?:. ?.|☐)$`)
	// filledIn is a place for words or figures in running text, and no box: "a nodule of [ ] cm".
	filledIn = regexp.MustCompile(`[\])] *[cm]m\b`)
	// answerCell is the row of a table that answers a question: "Edema     no".
	answerCell = regexp.MustCompile(`(?i)^(\pL[\pL-]*(?: [\pL/-]+){0,3}) {3,}(yes|no|none|nil|present|absent|negative|positive|normal|not seen)\.?$`)

	emptyPairs  = regexp.MustCompile(`\(\s*\)|\[\s*\]`)
	spaceBefore = regexp.MustCompile(`\s+([.,;:])`)
	repeated    = regexp.MustCompile(`([.,;:])(?:\s*[.,;:])+`)
	spaces      = regexp.MustCompile(`\s+`)
	plain       = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u00a0", " ", "\u2018", "'", "\u2019", "'",
		"\u201c", `"`, "\u201d", `"`, "\u2010", "-", "\u2011", "-", "\u2012", "-", "\u2013", "-", "\u2014", " - ", "\u2212", "-", "\u00d7", "x", "\ufeff", "",
		"\t", "   ", "\u2028", "\n", "\u2029", "\n", "\uf0b7", "•", "\uf0a7", "•", "\uf0d8", "•", "\uf0fc", "•") // the last are bullets of Word
)

// cleanSymbols removes what is layout and returns one line. List items and paragraphs
// end as sentences, so that the splitter sees them; hard-wrapped lines are joined. A list
// below a denial ("No evidence of:") becomes one sentence: alone, its items would be affirmed.
func cleanSymbols(text string) string {
	text = strings.Map(printable, plain.Replace(text))
	var b strings.Builder
	item := 0 // the number of the open list item
	open := false
	denied, listed := false, false // the open sentence ends with a denial; with items below it
	end := func() {                // closes the sentence that is open
		if open {
			b.WriteString(" . ")
		}
		open, denied, listed = false, false, false
	}
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = formLine(strings.TrimSpace(lines[i]))
	}
	width, left := 0, 0 // the longest line of the paragraph, and how many of its lines are left
	for i, line := range lines {
		if line == "" || rule.MatchString(line) {
			if left = 0; !denied {
				end()
			}
			continue
		}
		if left == 0 {
			for width = 0; i+left < len(lines) && lines[i+left] != ""; left++ {
				width = max(width, len(lines[i+left]))
			}
		}
		left--
		broken := open && sentence.MatchString(line) && endsEarly(lines[i-1], line, width)
		marked := true
		if m := bullet.FindString(line); m != "" {
			line = line[len(m):]
		} else if m := glued.FindStringSubmatchIndex(line); m != nil {
			line = line[m[2]:]
		} else {
			marked = false
		}
		if m := numbered.FindStringSubmatch(line); m != nil {
			marked = true
			item, _ = strconv.Atoi(m[1])
			line = line[len(m[0])-len(m[2]):]
		}
		switch {
		case marked && denied:
			if line = strings.TrimRight(line, ".,; "); listed {
				b.WriteString(", ")
			}
			listed = true
		case marked || broken || listed && (!smallLetter(line[0]) || lines[i-1] == "") || subheading.MatchString(line):
			end()
		}
		line, item = inlineItems(line, item)
		if denied = listed || denial.MatchString(line); denied && !listed {
			line = strings.TrimRight(line, ": ")
		}
		b.WriteString(line)
		b.WriteByte(' ')
		open = true
	}
	s := mask.ReplaceAllStringFunc(b.String(), func(m string) string {
		return strings.Join(negationCue.FindAllString(m, -1), " ") // non-XXXX: a denial is never removed
	})
	s = strings.NewReplacer("*", "", "_", " ", "|", " ", "^", " ", "~", " ").Replace(s)
	s = deniedColon.ReplaceAllString(s, "$1 $2")
	s = answered.ReplaceAllString(s, ": $1$2")
	s = minusOf.ReplaceAllString(s, "$1: negative$2")
	s = minus.ReplaceAllString(s, "${1}no $2")
	s = emptyPairs.ReplaceAllString(s, "")
	s = spaceBefore.ReplaceAllString(s, "$1")
	s = repeated.ReplaceAllStringFunc(s, func(run string) string {
		if strings.Contains(run, ".") {
			return "."
		}
		return run[:1]
	})
	s = spaces.ReplaceAllString(s, " ")
	return strings.TrimLeft(strings.TrimSpace(s), ".,;: ")
}

// formLine makes a sentence of a line of a form, and nothing of one in which no box is ticked; other
// lines stay. A row of a table is what its first cell says, and the others say of it.
func formLine(line string) string {
	if strings.HasPrefix(line, "|") {
		var cells []string
		for cell := range strings.SplitSeq(line, "|") {
			if cell = strings.Trim(cell, " -:="); cell != "" {
				cells = append(cells, cell)
			}
		}
		if len(cells) == 0 {
			return ""
		}
		if len(cells) == 1 {
			return cells[0] // text in a frame
		}
		return cells[0] + ": " + strings.Join(cells[1:], ", ") + "."
	}
	if m := answerCell.FindStringSubmatch(line); m != nil && !unfinished.MatchString(m[1]) {
		return m[1] + ": " + m[2] + "."
	}
	boxes := box.FindAllStringIndex(line, -1)
	if boxes == nil || filledIn.MatchString(line) {
		return line
	}
	name := strings.TrimSpace(line[:boxes[0][0]])
	behind := name == "" || bullet.MatchString(name+" ") || strings.HasSuffix(name, ":") // the words of a box stand behind it
	if !behind && (boxes[len(boxes)-1][1] < len(line) || strings.Contains(name, ". ") || unfinished.MatchString(name) || len(strings.Fields(name)) > 5) {
		return line // running text: "Clear. The tip is at [ ]"
	}
	if !behind {
		name = name[:strings.LastIndexByte(name, ':')+1]
	}
	var ticked []string
	for i, b := range boxes {
		from, to := b[1], len(line)
		switch {
		case !behind && i == 0:
			from, to = len(name), b[0]
		case !behind:
			from, to = boxes[i-1][1], b[0]
		case i+1 < len(boxes):
			to = boxes[i+1][0]
		}
		if words := strings.Trim(line[from:to], " ,;."); words != "" && !emptyBox.MatchString(line[b[0]:b[1]]) {
			ticked = append(ticked, words)
		}
	}
	if len(ticked) == 0 {
		return ""
	}
	return strings.TrimSpace(name+" "+strings.Join(ticked, ". ")) + "."
}

// endsEarly tells whether somebody ended line on purpose, though without a point: the first word
// of next would still have fitted, and the sentence need not go on.
func endsEarly(line, next string, width int) bool {
	word, _, _ := strings.Cut(next, " ")
	return answer.MatchString(line) || len(line)+1+len(word) <= width && !unfinished.MatchString(line)
}

// inlineItems turns "1. A 2. B" on one line into sentences. item is the number of the
// item before; only its successor, before a capital, opens the next, so that "rib 5. The"
// stays a sentence end.
func inlineItems(line string, item int) (string, int) {
	var b strings.Builder
	for {
		m := inlineItem.FindStringSubmatchIndex(line)
		if m == nil {
			b.WriteString(line)
			return b.String(), item
		}
		n, _ := strconv.Atoi(line[m[2]:m[3]])
		before := strings.TrimSpace(line[:m[0]])
		if n == item+1 && (item > 0 || before == "" || strings.HasSuffix(before, ".") || strings.HasSuffix(before, ":")) {
			b.WriteString(before + " . ")
			item = n
		} else {
			b.WriteString(line[:m[1]-1])
		}
		line = line[m[1]-1:]
	}
}

// printable drops control and format characters and private glyphs; other white space
// becomes a space.
func printable(r rune) rune {
	switch {
	case r == '\n':
		return r
	case unicode.IsSpace(r):
		return ' '
	case unicode.IsControl(r), unicode.In(r, unicode.Cf, unicode.Co), r == unicode.ReplacementChar:
		return -1
	}
	return r
}
