package report

import (
	"regexp"
	"strings"
)

// The actions of data/hedges.tsv.
const (
	hedgePossible = "possible" // becomes the word "possible"
	hedgeKeep     = "keep"     // looks like a hedge and is none: "may be helpful"
)

// scopeWords is how far a negation reaches at most, in words; NegEx (Chapman et al. 2001)
// uses five.
const scopeWords = 6

var (
	negationCue = regexp.MustCompile(`(?i)\b(?:no|not|none|nor|neither|never|non|without|w/o|negative|absent|absence|denies|free of|clear of|lack of|unlikely)\b`)
	// scopeEnd ends the reach of a negation.
	scopeEnd     = regexp.MustCompile(`(?i)[.,;:]|\b(?:but|however|although|though|and|which)\b`)
	possibleTwin = regexp.MustCompile(`\bpossible(?: possible)+\b`)
)

// findCues returns where text denies something, as pairs of byte offsets.
func findCues(text string) [][]int { return negationCue.FindAllStringIndex(text, -1) }

// normaliseHedges puts the word "possible" in place of every vague phrase. No phrase
// holds a negation cue (loading refuses it), and a hedge in the reach of one ("no
// findings suggestive of") is part of the denial and stays as written.
func (l *lexicon) normaliseHedges(text string) string {
	cues := findCues(text)
	next := 0 // cues before the phrase
	text = l.hedges.replace(text, func(m match) (string, bool) {
		for next < len(cues) && cues[next][1] <= m.start {
			next++
		}
		if m.entry.action == hedgeKeep || next > 0 && reaches(text, cues[next-1][1], m.start) {
			return "", false
		}
		return "possible", true
	})
	return possibleTwin.ReplaceAllString(text, "possible")
}

// reaches reports whether a negation that ends at from covers what begins at to.
func reaches(text string, from, to int) bool {
	const longest = 16 * scopeWords // bytes; keeps the scan short on texts without spaces
	if to-from > longest {
		return false
	}
	between := text[from:to]
	return len(strings.Fields(between)) < scopeWords && !scopeEnd.MatchString(between)
}
