package traincli_test

import (
	"os"
	"strings"
	"testing"
)

const guide = "../../docs/TRAINING.md"

// commands returns the radtrain commands of the guide, without the program's name; of its
// first run only, or all.
func commands(t *testing.T, firstRun bool) (all [][]string) {
	t.Helper()
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	part := string(text)
	if firstRun {
		_, part, _ = strings.Cut(part, "```sh\n")
		part, _, _ = strings.Cut(part, "```")
	}
	for line := range strings.Lines(part) {
		if args, ok := strings.CutPrefix(strings.TrimSpace(line), "radtrain "); ok {
			all = append(all, strings.Fields(args))
		}
	}
	if len(all) < 3 {
		t.Fatalf("the guide has %d commands", len(all))
	}
	return all
}

func TestTheGuidesCommandsExist(t *testing.T) {
	for _, args := range commands(t, false) {
		// --help is looked at after all flags were taken.
		if code, _, errs := radtrain(t, append(args, "--help")...); code != 0 {
			t.Errorf("radtrain %s: %d, %s", strings.Join(args, " "), code, errs)
		}
	}
}
