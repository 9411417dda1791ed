package fhir

import (
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

// of adds what r says.
func (p *people) of(r *resource) {
	for _, n := range r.Name {
		add(&p.names, n.Text)
		add(&p.names, strings.Join(append(slices.Clone(n.Given), n.Family), " "))
	}
	if r.ResourceType == "Patient" || r.ResourceType == "Practitioner" {
		for _, id := range r.Identifier {
			add(&p.ids, id.Value)
		}
	}
	refs := slices.Concat(r.Performer, r.ResultsInterpreter)
	for _, ref := range []*reference{r.Subject, r.Requester, r.Referrer} {
		if ref != nil {
			refs = append(refs, *ref)
		}
	}
	for _, ref := range refs {
		if ref.Identifier != nil {
			add(&p.ids, ref.Identifier.Value)
		}
		// The words of "Department of Radiology" are no names.
		if !strings.Contains(ref.Type+ref.Reference, "Organization") {
			add(&p.names, ref.Display)
		}
	}
}
