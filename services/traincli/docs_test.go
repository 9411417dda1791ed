package traincli_test

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// commands returns the radtrain commands that stand on lines of their own in a text, without the
// program's name.
func commands(text string) (all [][]string) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "     ") // what is said of it
		if args, ok := strings.CutPrefix(strings.TrimSpace(line), "radtrain "); ok {
			all = append(all, strings.Fields(strings.ReplaceAll(args, `"0 0 3 * * *"`, "@daily")))
		}
	}
	return all
}

// TestDocumentedCommandsExist: what the guides and the help of each command show can be typed in.
func TestDocumentedCommandsExist(t *testing.T) {
	shown := map[string][][]string{}
	for _, name := range []string{"TRAINING.md", "RESULTS.md"} {
		text, err := os.ReadFile("../../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		shown[name] = commands(string(text))
	}
	for todo := [][]string{nil}; len(todo) > 0; todo = todo[1:] {
		code, help, errs := radtrain(t, append(slices.Clone(todo[0]), "--help")...)
		if code != 0 || strings.Contains(help, "query API") { // which radtrain has not
			t.Errorf("help of %v: %d, %s%s", todo[0], code, help, errs)
		}
		if _, examples, ok := strings.Cut(help, "\nExamples:\n"); ok {
			examples, _, _ = strings.Cut(examples, "\n\n")
			shown["help of radtrain "+strings.Join(todo[0], " ")] = commands(examples)
		} else if !strings.Contains(help, "\nAvailable Commands:\n") && !slices.Contains(todo[0], "version") {
			t.Errorf("the help of %v shows no example", todo[0])
		}
		_, subs, _ := strings.Cut(help, "\nAvailable Commands:\n")
		subs, _, _ = strings.Cut(subs, "\n\n")
		for sub := range strings.Lines(subs) {
			if name := strings.Fields(sub)[0]; name != "help" && name != "completion" {
				todo = append(todo, append(slices.Clone(todo[0]), name))
			}
		}
	}
	for where, all := range shown {
		if len(all) == 0 {
			t.Errorf("%s shows no command", where)
		}
		for _, args := range all {
			// --help is looked at after all flags were taken.
			if code, _, errs := radtrain(t, append(args, "--help")...); code != 0 {
				t.Errorf("%s: radtrain %s: %d, %s", where, strings.Join(args, " "), code, errs)
			}
		}
	}
}
