package deid

import (
	"slices"
	"strings"
	"time"
	"unicode"
)

// markers are the words of laterality, projection and position markers.
const markers = " L R LT RT LEFT RIGHT LLAT RLAT LL RL LLD RLD " +
	"PA AP LAT LATERAL OBL FRONTAL DECUB DECUBITUS " +
	"PORTABLE PORT MOBILE BEDSIDE BED SUPINE PRONE ERECT UPRIGHT SEMIERECT SEMIUPRIGHT SEMI SITTING SIT STANDING STAND " +
	"INSP INSPIRATION EXP EXPIRATION CHEST UP "

// Markers lists the words that count as markers.
func Markers() []string { return strings.Fields(markers) }

// isMarker tells whether all words of a text are markers, as in "R", "AP PORTABLE" or
// "SEMI-ERECT".
func isMarker(text string) bool {
	all := words(text)
	return len(all) > 0 && allMarkers(all)
}

func allMarkers(words []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(Markers(), w) })
}

// words returns the runs of letters and digits of a text, in capitals, with markers as they
// are spelt: a word that looks like a marker of five letters or more, or is one of seven or
// more but for one letter, is that marker (with shorter ones Wright and Nobile would be
// markers too), markers that were read without the space between them are several, and two words that
// are a marker of nine or more but for what is between them, as SEMI-ERECI is, are that one: an
// initial beside a marker is not.
func words(text string) []string {
	var all []string
	text = strings.NewReplacer("A-P", "AP", "P-A", "PA", "A.P", "AP", "P.A", "PA").Replace(strings.ToUpper(text))
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if m := alike(w); m != "" {
			all = append(all, m)
		} else if parts := glued(w); parts != nil {
			all = append(all, parts...)
		} else {
			all = append(all, w)
		}
	}
	if len(all) == 2 && min(len(all[0]), len(all[1])) >= 3 && !allMarkers(all) {
		if m := alike(all[0] + all[1]); len(m) >= 9 {
			return []string{m}
		}
	}
	return all
}

// alike returns the marker that a word is, or "". A letter too few or too many is believed of nine or
// more, and of eight at its ends: Sittig and Portale are names.
func alike(w string) string {
	if slices.Contains(Markers(), w) {
		return w
	}
	if len(w) < 5 {
		return ""
	}
	for _, m := range Markers() {
		switch {
		case len(m) == len(w) && fold(w) == fold(m), len(m) >= 7 && distance(w, m) == 1 &&
			(len(m) == len(w) || len(m) >= 9 || len(m) == 8 && (strings.HasPrefix(m, w) || strings.HasSuffix(m, w))):
			return m
		}
	}
	return ""
}

// glued returns the markers that w is put together of, as RLATDECUB is, or nil. One of them
// must have three letters, or Papa would be a marker; RTPA and its like are known.
func glued(w string) []string {
	if slices.Contains([]string{"RTPA", "RTAP", "LTPA", "LTAP"}, w) {
		return []string{w[:2], w[2:]}
	}
	var best []string
	var cut func(rest string, parts []string)
	cut = func(rest string, parts []string) {
		if rest == "" && best == nil && slices.ContainsFunc(parts, func(p string) bool { return len(p) >= 3 }) {
			best = slices.Clone(parts)
		}
		for _, m := range Markers() {
			if after, ok := strings.CutPrefix(rest, m); ok && best == nil && len(parts) < 5 {
				cut(after, append(parts, m))
			}
		}
	}
	if len(w) >= 5 {
		cut(w, nil)
	}
	return best
}

// Identifiers are what the header of a film says about whose it is.
type Identifiers struct {
	Name      string // PN: components separated by ^
	PatientID string
	Accession string
	BirthDate string    // YYYYMMDD
	StudyTime time.Time // zero for none
}

// Names of attributes that a text can match.
const (
	matchName      = "patient_name"
	matchID        = "patient_id"
	matchAccession = "accession_number"
	matchBirth     = "patient_birth_date"
	matchStudy     = "study_date"
)

// leastMatch is the shortest word that is compared with the header: shorter ones stand in
// markers and technical factors by chance.
const leastMatch = 3

// match names the attribute that a text repeats, or returns "". Characters that look alike
// to a recogniser are equal; in every six one may be wrong.
func (k Identifiers) match(text string) string {
	folded := fold(text)
	for _, v := range []struct{ field, value string }{{matchID, k.PatientID}, {matchAccession, k.Accession}} {
		if f := fold(v.value); len(f) >= leastMatch && near(folded, f) {
			return v.field
		}
	}
	var birth time.Time
	if t, err := time.Parse("20060102", k.BirthDate); err == nil {
		birth = t
	}
	for _, d := range []struct {
		field string
		date  time.Time
	}{{matchBirth, birth}, {matchStudy, k.StudyTime}} {
		if !d.date.IsZero() && slices.ContainsFunc(dateForms(), func(form string) bool {
			return strings.Contains(folded, fold(d.date.Format(form)))
		}) {
			return d.field
		}
	}
	for _, part := range strings.FieldsFunc(k.Name, func(r rune) bool { return !unicode.IsLetter(r) }) {
		if f := fold(part); len(f) >= leastMatch && near(folded, f) {
			return matchName
		}
	}
	return ""
}

// dateForms are the usual ways to write a day, without what separates its parts.
func dateForms() []string {
	return []string{"20060102", "02012006", "01022006", "2Jan2006", "02Jan2006", "Jan022006", "Jan22006", "2006Jan02", "02Jan06", "060102", "020106", "010206"}
}

// fold leaves the letters and digits of a text, with those that look alike made equal.
func fold(text string) string {
	var b strings.Builder
	for _, r := range strings.ToUpper(text) {
		switch r {
		case 'O', 'Q', 'D':
			r = '0'
		case 'I', 'L', '|', '!':
			r = '1'
		case 'Z':
			r = '2'
		case 'S':
			r = '5'
		case 'B':
			r = '8'
		case 'G':
			r = '6'
		}
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// near tells whether text holds word with at most one wrong character in six.
func near(text, word string) bool {
	if strings.Contains(text, word) {
		return true
	}
	allowed := len(word) / 6
	for start := 0; allowed > 0 && start+len(word)-allowed <= len(text); start++ {
		for n := len(word) - allowed; n <= len(word)+allowed && start+n <= len(text); n++ {
			if distance(text[start:start+n], word) <= allowed {
				return true
			}
		}
	}
	return false
}

// distance is the edit distance of Levenshtein, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0]++
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost++
			}
			last = row[j+1]
			row[j+1] = min(row[j+1]+1, row[j]+1, cost)
		}
	}
	return row[len(b)]
}
