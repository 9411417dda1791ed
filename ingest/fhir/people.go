package fhir

import (
	"maps"
	"slices"
	"strings"

	"github.com/radstream/radstream/schemas/fault"
)

// people are the names and identifiers of all people that were sent or referred to, each once:
// they may stand in a report as well, and must leave it. Those of one report are not told
// from those of another: to remove one name too many does no harm.
type people struct{ names, ids []string }

func add(list *[]string, s string) {
	if s = strings.TrimSpace(s); s != "" && len(*list) <= MaxPeople && !slices.Contains(*list, s) {
		*list = append(*list, s)
	}
}

// check refuses more people than are kept: one name too few could leave it in a text.
func (p *people) check() error {
	if len(p.names) > MaxPeople || len(p.ids) > MaxPeople {
		return fault.Reject("fhir.people", fault.Invalid, ReasonTooLarge, "a bundle or document has at most %d names and %d identifiers of people", MaxPeople, MaxPeople)
	}
	return nil
}

// of adds the people in v, which is a resource or the part of one under key: whoever has a
// HumanName, whoever is referred to by words, and who wrote a note.
func (p *people) of(key string, v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			p.of(key, e)
		}
	case map[string]any:
		if key == "name" { // a HumanName: of what has no other kind of name, name is a string
			add(&p.names, text(v, "text"))
			given, _ := v["given"].([]any)
			var parts []string
			for _, g := range given {
				part, _ := g.(string)
				parts = append(parts, part)
			}
			add(&p.names, strings.Join(append(parts, text(v, "family")), " "))
		}
		add(&p.names, text(v, "authorString")) // of an Annotation
		kind := text(v, "resourceType")
		if kind == "" && refersToPerson(key, v) {
			add(&p.names, text(v, "display"))
			kind = "Person"
		}
		if personal[kind] {
			p.identifiers(v["identifier"])
		}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			p.of(k, v[k])
		}
	}
}

// identifiers adds what v says: a list of a resource, one of a reference.
func (p *people) identifiers(v any) {
	switch v := v.(type) {
	case []any:
		for _, id := range v {
			p.identifiers(id)
		}
	case map[string]any:
		add(&p.ids, text(v, "value"))
	}
}

func text(v map[string]any, key string) string {
	s, _ := v[key].(string)
	return s
}

// personal resources are people.
var personal = map[string]bool{"Patient": true, "Person": true, "Practitioner": true, "PractitionerRole": true, "RelatedPerson": true}

// personKeys are the fields of R4 and R5 whose references lead to people, or to organizations
// if they say so: the words of "Department of Radiology" are no names.
var personKeys = map[string]bool{
	"actor": true, "agent": true, "asserter": true, "attester": true, "authenticator": true, "author": true, "authorReference": true, "collector": true,
	"enterer": true, "generalPractitioner": true, "individual": true, "informant": true, "interpreter": true, "member": true,
	"onBehalfOf": true, "operator": true, "other": true, "party": true, "patient": true, "performer": true, "practitioner": true,
	"receiver": true, "recipient": true, "recorder": true, "referrer": true, "requester": true, "responsible": true,
	"resultsInterpreter": true, "sender": true, "subject": true, "who": true,
}

// refersToPerson tells whether v, under key, is a Reference to a person: by its type, by what it
// refers to, else by key.
func refersToPerson(key string, v map[string]any) bool {
	kind := text(v, "type")
	url, _, _ := strings.Cut(text(v, "reference"), "/_history/")
	if parts := strings.Split(url, "/"); kind == "" && len(parts) > 1 {
		kind = parts[len(parts)-2]
	}
	if kind != "" {
		return personal[kind]
	}
	return personKeys[key]
}
