package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/deid"
)

// printTags writes a summary of the attributes; --json has all of them.
func printTags(row func(name, format string, args ...any), tags ingest.Tags) {
	if len(tags.Used)+len(tags.Removed) == 0 { // no DICOM file
		return
	}
	var changed []string
	used := 0
	for _, u := range tags.Used {
		switch u.Treatment {
		case deid.Hashed, deid.Shifted:
			changed = append(changed, fmt.Sprintf("%s %s", u.Name, u.Treatment))
		default:
			used++
		}
	}
	row("tags used", "%d of the picture; %s", used, cmp.Or(strings.Join(changed, ", "), "no identifiers"))
	var named []string
	private := 0
	for _, r := range tags.Removed {
		switch {
		case r.Name == "PrivateAttributes":
			private++
		case r.Action != "" && !slices.Contains(named, r.Name):
			named = append(named, r.Name)
		}
	}
	const shown = 12
	text := strings.Join(named[:min(shown, len(named))], " ")
	if len(named) > shown {
		text += fmt.Sprintf(" and %d more", len(named)-shown)
	}
	row("tags removed", "%d, %d of them private; by PS3.15: %s", len(tags.Removed), private, cmp.Or(text, "none"))
	if tags.Cut {
		row("", "the file is damaged or holds more attributes than are listed")
	}
}
