package fhir_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPeople: whoever is named in a bundle may be named in the text, whatever the resource.
func TestPeople(t *testing.T) {
	got := one(t, `{"resourceType":"Bundle","entry":[
		{"resource":{"resourceType":"Patient","id":"p","identifier":[{"value":"MRN1"}],"name":[{"given":["Ana","Luz"],"family":"Quill"}],
			"contact":[{"name":{"text":"Bert Quill"}}],"generalPractitioner":[{"display":"Dr Cora Finch"}],
			"managingOrganization":{"display":"General Hospital"},"photo":[{"title":"Portrait"}]}},
		{"resource":{"resourceType":"RelatedPerson","identifier":[{"value":"REL1"}],"patient":{"reference":"Patient/p"},"name":[{"text":"Dora Quill"}]}},
		{"resource":{"resourceType":"PractitionerRole","identifier":[{"value":"ROLE1"}],"practitioner":{"display":"Emil Stork"},"organization":{"display":"Radiology"}}},
		{"resource":{"resourceType":"Encounter","class":{"display":"ambulatory"},"participant":[{"individual":{"reference":"Practitioner/9","display":"Fay Heron","identifier":{"value":"LIC9"}}}]}},
		{"resource":{"resourceType":"Organization","name":"Chest clinic","contact":[{"name":{"family":"Gull"}}]}},
		{"resource":{"resourceType":"DiagnosticReport","status":"final","conclusion":"Clear.","subject":{"reference":"Patient/p"},
			"note":[{"authorString":"Gil Plover","text":"x"},{"authorReference":{"display":"Hal Dunlin"},"text":"y"},{"authorReference":{"reference":"Organization/1","display":"Chest clinic"},"text":"z"}],
			"performer":[{"type":"Organization","display":"Department of Radiology"},{"reference":"http://h/fhir/CareTeam/1","display":"Night team"},{"display":"Ida Crane"}],
			"basedOn":[{"display":"Chest radiograph"}],
			"contained":[{"resourceType":"Practitioner","id":"c","identifier":[{"value":"LIC1"}],"name":[{"family":"Teal","given":["Jon"]}]}]}}]}`)
	slices.Sort(got.Names)
	slices.Sort(got.IDs)
	if diff := cmp.Diff([]string{"Ana Luz Quill", "Bert Quill", "Dora Quill", "Dr Cora Finch", "Emil Stork", "Fay Heron", "Gil Plover", "Gull", "Hal Dunlin", "Ida Crane", "Jon Teal"}, got.Names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"LIC1", "LIC9", "MRN1", "REL1", "ROLE1"}, got.IDs); diff != "" {
		t.Errorf("identifiers (-want +got):\n%s", diff)
	}
}

func TestPeopleOfDocument(t *testing.T) {
	named := func(name string) string {
		return "<assignedEntity><assignedPerson><name>" + name + "</name></assignedPerson><representedOrganization><name>Chest Clinic</name></representedOrganization></assignedEntity>"
	}
	got := one(t, strings.NewReplacer(
		`<id root="1.2" extension="P1"/>`, `<id root="1.2" extension="P1"/><patient><name><given>Ana</given><family>Quill</family></name><guardian><guardianPerson><name>Bert Quill</name></guardianPerson></guardian></patient>`,
		`</serviceEvent>`, "<performer>"+named("Cora Finch")+"</performer></serviceEvent>",
		`<relatedDocument`, "<authenticator>"+named("<prefix>Dr</prefix> <family>Heron</family>")+"</authenticator><informant>"+named("Emil Stork")+"</informant>"+
			"<informationRecipient><intendedRecipient><informationRecipient><name>Ida Crane</name></informationRecipient></intendedRecipient></informationRecipient><relatedDocument",
	).Replace(document))
	if diff := cmp.Diff([]string{"Ana Quill", "Bert Quill", "Cora Finch", "Dr Heron", "Emil Stork", "Ida Crane"}, got.Names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// TestReferences: a resource of another server, or of a bundle beside this one, is another one,
// whatever its id.
func TestReferences(t *testing.T) {
	patient := func(url, value string) string {
		return `{"fullUrl":"` + url + `","resource":{"resourceType":"Patient","id":"1","identifier":[{"value":"` + value + `"}]}}`
	}
	reported := func(url, ref string) string {
		return `{"fullUrl":"` + url + `","resource":` + dr(`,"conclusion":"Clear.","subject":{"reference":"`+ref+`"}`) + `}`
	}
	bundled := func(entries ...string) string {
		return `{"resourceType":"Bundle","entry":[` + strings.Join(entries, ",") + `]}`
	}
	inner := func(entries ...string) string { return `{"resource":` + bundled(entries...) + `}` }
	a, b := patient("http://a/fhir/Patient/1", "A"), patient("http://b/fhir/Patient/1", "B")
	for _, c := range []struct{ name, message, want string }{
		{"by URL", bundled(a, b, reported("http://a/fhir/DiagnosticReport/r", "http://b/fhir/Patient/1")), "B"},
		{"relative", bundled(a, b, reported("http://a/fhir/DiagnosticReport/r", "Patient/1")), "A"},
		{"relative, a version", bundled(a, b, reported("http://b/fhir/DiagnosticReport/r", "Patient/1/_history/3")), "B"},
		{"relative to a third server", bundled(a, reported("http://c/fhir/DiagnosticReport/r", "Patient/1")), ""},
		{"of a third server", bundled(a, reported("urn:uuid:7", "http://c/fhir/Patient/1")), ""},
		{"either", bundled(a, b, reported("urn:uuid:7", "Patient/1")), ""},
		{"the only one", bundled(a, reported("urn:uuid:7", "Patient/1")), "A"},
		{"one without a URL", bundled(patient("", "N"), reported("http://a/fhir/DiagnosticReport/r", "http://a/fhir/Patient/1")), "N"},
		{"one version after the other", bundled(a, patient("http://a/fhir/Patient/1", "A2"), reported("urn:uuid:7", "Patient/1")), "A2"},
		{"of the bundle around it", bundled(a, inner(reported("urn:uuid:7", "Patient/1"))), "A"},
		{"its own bundle's first", bundled(patient("", "N"), inner(patient("", "M"), reported("", "Patient/1"))), "M"},
		{"of the bundle beside it", bundled(inner(a), inner(reported("urn:uuid:7", "Patient/1"))), ""},
		{"of a bundle inside", bundled(inner(a), reported("urn:uuid:7", "Patient/1")), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := one(t, c.message).PatientID; string(got) != c.want {
				t.Errorf("patient %q, want %q", got, c.want)
			}
		})
	}
}
