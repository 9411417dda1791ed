package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/ingest"
)

func TestPrintTags(t *testing.T) {
	var out strings.Builder
	row := func(name, format string, args ...any) { fmt.Fprintf(&out, name+": "+format+"\n", args...) }
	printTags(row, ingest.Tags{})
	printTags(row, ingest.Tags{
		Used: []ingest.UsedTag{{Name: "PatientID", Treatment: "hashed"}, {Name: "Rows", Treatment: "kept"}, {Name: "StudyDate", Treatment: "shifted"}},
		Removed: []ingest.RemovedTag{{Name: "PatientName", Action: "Z"}, {Name: "PatientName", Action: "Z"},
			{Name: "PrivateAttributes", Action: "X"}, {Name: "Manufacturer"}},
		Cut: true,
	})
	want := `tags used: 1 of the picture; PatientID hashed, StudyDate shifted
tags removed: 4, 1 of them private; by PS3.15: PatientName
: the file is damaged or holds more attributes than are listed
`
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
