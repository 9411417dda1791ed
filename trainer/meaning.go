package trainer

import (
	"slices"
	"strings"
	"unicode"
)

// meaning returns what a sentence says is there, on which side, or denied: two sentences that
// only word it otherwise mean the same, and a contrastive loss must not take their studies for
// one another's opposites. Names of findings become one name each; where there is any, only
// these, sides and negation are kept, otherwise all words but those of [filler] and numbers. In
// small letters, each once, in order of the alphabet.
func meaning(sentence string) string {
	words := strings.FieldsFunc(strings.ToLower(sentence), func(r rune) bool { return !unicode.IsLetter(r) })
	known := concepts()
	var said []string
	finding := false
	for _, w := range words {
		if c, ok := known[w]; ok {
			said = append(said, c)
			finding = finding || !qualifies(c)
		}
	}
	if !finding {
		said = slices.DeleteFunc(words, func(w string) bool { return slices.Contains(filler(), w) })
	}
	slices.Sort(said)
	return strings.Join(slices.Compact(said), " ")
}

// saidBy is what sentences with these meanings say together.
func saidBy(meanings []string) string {
	all := slices.Sorted(slices.Values(meanings))
	return strings.Join(slices.Compact(all), "; ")
}

// concepts names the finding, side or negation that a word stands for.
func concepts() map[string]string {
	m := map[string]string{}
	for concept, words := range map[string]string{
		"effusion":      "effusion effusions costophrenic",
		"pneumothorax":  "pneumothorax pneumothoraces ptx",
		"heart":         "cardiomegaly cardiac heart cardiomediastinal",
		"consolidation": "consolidation consolidations pneumonia airspace opacity opacities infiltrate infiltrates",
		"atelectasis":   "atelectasis atelectatic",
		"edema":         "edema vasculature vascular",
		"nodule":        "nodule nodules mass masses",
		"bone":          "fracture fractures osseous bony",
		"hernia":        "hernia",
		"any":           "cardiopulmonary",
		"left":          "left",
		"right":         "right",
		"both":          "both bilateral bilaterally bibasilar",
		"no":            "no not without negative normal unremarkable intact clear",
	} {
		for w := range strings.FieldsSeq(words) {
			m[w] = concept
		}
	}
	return m
}

// qualifies says whether a concept is no finding by itself.
func qualifies(concept string) bool {
	return slices.Contains([]string{"left", "right", "both", "no"}, concept)
}

// filler lists words that do not change what a sentence says is there.
func filler() []string {
	return []string{
		"a", "an", "and", "are", "be", "has", "have", "in", "is", "it", "of", "on", "or", "the", "there", "to", "was", "with", "this",
		"acute", "large", "mild", "minimal", "moderate", "severe", "sided", "small", "tiny", "trace", "some",
		"cm", "mm", "measuring", "possible", "evidence", "seen",
	}
}
