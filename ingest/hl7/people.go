package hl7

import (
	"slices"
	"strings"
	"unicode"

	"github.com/radstream/radstream/ingest/report"
	"github.com/radstream/radstream/schemas/fault"
)

// withPeople gives the reports of m the people that m names. One name too few could leave it in
// a text, so a message with more of them than MaxPeople is refused.
func (m message) withPeople(reports []report.Message, err error) ([]report.Message, error) {
	names, ids, whole := m.people()
	if !whole || len(names) > MaxPeople || len(ids) > MaxPeople {
		return nil, fault.Reject("hl7.withPeople", fault.Invalid, ReasonTooLarge, "an HL7 message has at most %d names and %d identifiers of people", MaxPeople, MaxPeople)
	}
	for i := range reports {
		reports[i].Names, reports[i].IDs = names, ids
	}
	return reports, err
}

// people returns the names ("Doe Jane") and identifiers of all people that m names, patients
// and physicians, each once: they may stand in the text as well, and must leave it. Those of
// one order are not told from those of another: to remove one name too many does no harm. whole
// is false when a field has more repetitions than are read.
func (m message) people() (names, ids []string, whole bool) {
	add := func(list *[]string, s string) {
		if s = strings.TrimSpace(s); s != "" && len(*list) <= MaxPeople && !slices.Contains(*list, s) {
			*list = append(*list, s)
		}
	}
	// person reads one repetition: id is how many of its parts stand before the family name.
	person := func(s segment, parts []string, id int) {
		if id > 0 && len(parts) > 0 {
			first := s.text(nth(parts[0], s.sep.sub, 0))
			if strings.ContainsFunc(first, unicode.IsDigit) {
				add(&ids, first)
			} else { // a name without a number before it
				add(&names, first)
			}
		}
		var name []string
		for _, p := range parts[min(id, len(parts)):min(id+3, len(parts))] { // family, given, middle
			if p = s.text(nth(p, s.sep.sub, 0)); p != "" {
				name = append(name, p)
			}
		}
		add(&names, strings.Join(name, " "))
	}
	whole = true
	repetitions := func(s segment, n int) []string {
		all := s.repetitions(n)
		whole = whole && len(all) <= MaxPeople
		return all
	}
	for _, s := range m.segments {
		fields := peopleFields[s.name]
		for _, n := range fields.ids {
			for _, r := range repetitions(s, n) {
				add(&ids, s.text(nth(nth(r, s.sep.component, 0), s.sep.sub, 0)))
			}
		}
		for _, n := range fields.names {
			for _, r := range repetitions(s, n) {
				person(s, split(r, s.sep.component), 0)
			}
		}
		for _, n := range fields.staff {
			for _, r := range repetitions(s, n) {
				parts := split(r, s.sep.component)
				if first := split(parts[0], s.sep.sub); s.name == "OBR" && n >= 32 && len(first) > 1 {
					parts = first
				}
				person(s, parts, 1)
			}
		}
	}
	return names, ids, whole
}

// split is strings.Split; a separator of 0 separates nothing.
func split(s string, sep byte) []string {
	if sep == 0 {
		return []string{s}
	}
	return strings.SplitN(s, string(rune(sep)), 16)
}

// peopleFields are the fields that name people (HL7 v2.5.1).
var peopleFields = map[string]struct {
	ids   []int // CX, EI
	names []int // XPN: family^given^middle
	staff []int // XCN: id^family^given^middle; of OBR-32 to 35 (NDL) with & inside the first component
}{
	"PID": {ids: []int{2, 3, 4, 18, 19}, names: []int{5, 6, 9}},
	"MRG": {ids: []int{1}, names: []int{7}},
	"NK1": {names: []int{2}},
	"GT1": {names: []int{3}},
	"IN1": {names: []int{16}},
	"PD1": {staff: []int{4}},
	"ROL": {staff: []int{4}},
	"PRT": {staff: []int{5}}, // since version 2.7 in place of OBR-32 and others
	"PV1": {ids: []int{19}, staff: []int{7, 8, 9, 17, 52}},
	"ORC": {ids: []int{2, 3}, staff: []int{10, 11, 12}},
	"OBR": {ids: []int{2, 3, 18}, staff: []int{10, 16, 28, 32, 33, 34, 35}},
	"TXA": {ids: []int{12, 14, 15}, staff: []int{5, 9, 10, 11, 22}},
	"OBX": {staff: []int{16}},
	"NTE": {staff: []int{5}}, // since version 2.6
}
