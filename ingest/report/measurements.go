package report

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

const (
	numberForm = `(\d{1,4}(?:\.\d{1,3})?|\.\d{1,3})`
	unitForm   = `(?:[\s-]?(mm|cm|milli-?met(?:er|re)s?|centi-?met(?:er|re)s?))?`
	axisForm   = `(?:\s?(?:x|by|\*)\s?` + numberForm + unitForm + `)?`
)

var (
	measurement = regexp.MustCompile(`(?i)` + numberForm + unitForm + axisForm + axisForm)
	// sharedUnit ends the text before a number that shares its unit with one before it:
	// "3-5 mm", "4 or 5 mm". Converting the second alone would change the first.
	sharedUnit = regexp.MustCompile(`(?i)\d\s?(?:-|to|and|or|,|/|x|by|\*)\s?$`)
)

// standardiseMeasurements writes lengths in cm, products of two axes in cm2 and of three
// in cm3: "2cm x 3cm" -> "6 cm2", "8mm" -> "0.8 cm". An axis without a unit takes the
// next one's. Numbers have three significant digits, and never fewer than the digits
// before the point. Ranges and lists of lengths keep their unit.
func standardiseMeasurements(text string) string {
	var b strings.Builder
	done := 0
	for _, m := range measurement.FindAllStringSubmatchIndex(text, -1) {
		if standard, ok := standardMeasurement(text, m); ok {
			b.WriteString(text[done:m[0]])
			b.WriteString(standard)
			done = m[1]
		}
	}
	b.WriteString(text[done:])
	return b.String()
}

func standardMeasurement(text string, m []int) (string, bool) {
	start, end := m[0], m[1]
	if start > 0 && (wordByte(text[start-1]) || strings.IndexByte(".,-/", text[start-1]) >= 0) ||
		end < len(text) && wordByte(text[end]) ||
		sharedUnit.MatchString(text[max(0, start-8):start]) {
		return "", false
	}
	product, axes, unit := 1.0, 0, ""
	for g := len(m) - 4; g >= 2; g -= 4 { // from the last axis, whose unit the others share
		if m[g] < 0 {
			continue
		}
		if m[g+2] >= 0 {
			unit = strings.ToLower(text[m[g+2]:m[g+3]])
		}
		if unit == "" {
			return "", false
		}
		n, err := strconv.ParseFloat(text[m[g]:m[g+1]], 64)
		if err != nil || n == 0 {
			return "", false
		}
		if unit[0] == 'm' {
			n /= 10
		}
		product *= n
		axes++
	}
	return decimal(product) + [...]string{1: " cm", 2: " cm2", 3: " cm3"}[axes], true
}

// decimal writes v > 0 with three significant digits, without an exponent or trailing zeros.
func decimal(v float64) string {
	places := max(0, 2-int(math.Floor(math.Log10(v))))
	s := strconv.FormatFloat(v, 'f', places, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}
