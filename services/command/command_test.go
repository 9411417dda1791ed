package command

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/radstream/radstream/schemas/fault"
)

// TestEveryKind walks each kind of fault to its exit code and its two forms.
func TestEveryKind(t *testing.T) {
	want := map[fault.Kind]int{
		fault.Internal: 1, fault.Invalid: 3, fault.Unsupported: 3, fault.Conflict: 1, fault.Transient: 1, fault.Unavailable: 4,
		fault.NotFound: 1, fault.Erased: 1, fault.Poison: 1, fault.Corrupt: 1, fault.Usage: 2, fault.Canceled: 1,
	}
	for _, k := range fault.Kinds() {
		err := fault.Wrap("outer", fault.Reject("pkg.Func", k, "some_reason", "what is wrong"))
		code, known := want[k]
		if !known || exitCode(err) != code {
			t.Errorf("%v ends with %d, want %d (known: %v)", k, exitCode(err), code, known)
		}
		var text, object bytes.Buffer
		printError(&text, "radstream", err, false)
		printError(&object, "radstream", err, true)
		if text.String() != "radstream: what is wrong\n" {
			t.Errorf("%v prints %q", k, text.String())
		}
		if want := fmt.Sprintf(`{"error":{"kind":%q,"reason":"some_reason","detail":"what is wrong"}}`+"\n", k); object.String() != want {
			t.Errorf("%v prints %s, want %s", k, object.String(), want)
		}
		if !strings.Contains(FailureCodes, fmt.Sprintf("\n  %d  ", code)) {
			t.Errorf("the help does not list exit code %d", code)
		}
	}
	if exitCode(nil) != 0 || exitCode(errors.New("nobody classified it")) != 1 {
		t.Error("no error must end with 0, any other with 1")
	}
}

func TestSeveralFaults(t *testing.T) {
	var text, object bytes.Buffer
	err := fault.E("x", fault.Usage, errors.Join(errors.New("one"), errors.New("two")))
	printError(&text, "radstream", err, false)
	printError(&object, "radstream", err, true)
	if text.String() != "radstream: one\nradstream: two\n" || strings.Count(object.String(), "\n") != 1 {
		t.Errorf("%q, %q", text.String(), object.String())
	}
}
