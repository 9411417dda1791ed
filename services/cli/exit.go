package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/radstream/radstream/schemas/fault"
)

// Exit codes, stable.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInvalid     = 3
	exitUnavailable = 4
)

const exitCodes = `Exit codes:
  0  done (some inputs may have been rejected: the summary says so; --strict makes that 3)
  1  failed
  2  usage
  3  invalid input
  4  a server is not reachable`

// exitCode is the one place where an error becomes an exit code.
func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	switch fault.KindOf(err) {
	case fault.Usage:
		return exitUsage
	case fault.Invalid, fault.Unsupported:
		return exitInvalid
	case fault.Unavailable:
		return exitUnavailable
	default:
		return exitFailed
	}
}

// printError writes one line for people (one a fault where there are several), or one
// object with --json.
func printError(w io.Writer, err error, asJSON bool) {
	if !asJSON {
		fmt.Fprintf(w, "radstream: %s\n", strings.ReplaceAll(fault.Detail(err), "\n", "\nradstream: "))
		return
	}
	type problem struct {
		Kind   string       `json:"kind"`
		Reason fault.Reason `json:"reason,omitempty"`
		Detail string       `json:"detail"`
	}
	_ = json.NewEncoder(w).Encode(struct {
		Error problem `json:"error"`
	}{problem{fault.KindOf(err).String(), fault.ReasonOf(err), fault.Detail(err)}})
}
