//go:build torch

package traincli_test

import (
	"strings"
	"testing"
)

func TestTheGuidesFirstRun(t *testing.T) {
	runs := commands(t, true)
	t.Chdir(t.TempDir())
	for _, args := range runs {
		code, out, errs := radtrain(t, args...)
		if code != 0 {
			t.Fatalf("radtrain %s: %d\n%s\n%s", strings.Join(args, " "), code, out, errs)
		}
	}
}
