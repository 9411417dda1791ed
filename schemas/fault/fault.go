// Package fault gives every error of Radstream a kind, so that one place each can
// decide the exit code (services/cli), the fate of a message (services/stage) and what
// a Rejected event says, without ever matching error text.
//
// A fault carries the operation that failed, a [Kind] (what to do about it), optionally
// a [Reason] (what is wrong with the input, a stable code that operators count and
// filter by) and the cause. Kinds and reasons are append-only: their numbers and words
// travel in events that are kept for years. The text of a fault must never hold patient
// data; it says the expected form, not the value that was found.
package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Kind says what can be done about an error. The numbers are stored; append only.
type Kind uint8

// The kinds.
const (
	Internal    Kind = 0  // a defect of ours, or an error nobody classified
	Invalid     Kind = 1  // the input is not what its format requires
	Unsupported Kind = 2  // the input is well-formed, but of a sort that is not taken
	Conflict    Kind = 3  // somebody else changed it first: read again and retry
	Transient   Kind = 4  // the same call may succeed later
	Unavailable Kind = 5  // a server that is needed cannot be reached
	NotFound    Kind = 6  // what was asked for is not there
	Erased      Kind = 7  // it was erased on request and stays erased
	Poison      Kind = 8  // the process died several times while handling it
	Corrupt     Kind = 9  // stored data does not match its checksum
	Usage       Kind = 10 // the command line or configuration is wrong
	Canceled    Kind = 11 // the caller gave up
)

var kindNames = [...]string{
	Internal:    "internal",
	Invalid:     "invalid",
	Unsupported: "unsupported",
	Conflict:    "conflict",
	Transient:   "transient",
	Unavailable: "unavailable",
	NotFound:    "not_found",
	Erased:      "erased",
	Poison:      "poison",
	Corrupt:     "corrupt",
	Usage:       "usage",
	Canceled:    "canceled",
}

// Kinds lists every kind in the order of its number.
func Kinds() []Kind {
	ks := make([]Kind, len(kindNames))
	for i := range ks {
		ks[i] = Kind(i)
	}
	return ks
}

// String returns the stable snake_case word of k.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// ParseKind is the inverse of [Kind.String].
func ParseKind(s string) (Kind, error) {
	for i, n := range kindNames {
		if n == s {
			return Kind(i), nil
		}
	}
	return Internal, fmt.Errorf("fault: no kind is named %q", s)
}

// Reason is a stable snake_case code for what is wrong with an input, such as
// "truncated". Each package that refuses input declares its own reasons beside the check.
type Reason string

// Error is a classified error. Build it with [E] or [Reject].
type Error struct {
	Op     string // package.Function that failed
	Kind   Kind
	Reason Reason // empty unless the input is to blame
	Err    error  // the cause; its text is free of patient data
}

// E wraps err with the operation and kind. A nil err gives nil.
func E(op string, kind Kind, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Kind: kind, Err: err}
}

// Wrap adds an operation to err and keeps its kind and reason. A nil err gives nil.
func Wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Kind: KindOf(err), Reason: ReasonOf(err), Err: err}
}

// Errorf is [E] over fmt.Errorf; %w works.
func Errorf(op string, kind Kind, format string, args ...any) error {
	return &Error{Op: op, Kind: kind, Err: fmt.Errorf(format, args...)}
}

// Reject is [Errorf] for an input that is to blame: reason becomes the code that the
// Rejected event carries.
func Reject(op string, kind Kind, reason Reason, format string, args ...any) error {
	return &Error{Op: op, Kind: kind, Reason: reason, Err: fmt.Errorf(format, args...)}
}

// Error returns "op: cause"; nested operations read outermost first.
func (e *Error) Error() string {
	if e.Op == "" {
		return e.Err.Error()
	}
	return e.Op + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the outermost fault in err's chain. Context errors are
// Canceled or, for a deadline, Transient; any other unclassified error is Internal.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return Transient
	}
	return Internal
}

// ReasonOf returns the first reason in err's chain, or "".
func ReasonOf(err error) Reason {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Reason != "" {
			return e.Reason
		}
		err = e.Err
	}
	return ""
}

// WithoutPath drops the path that errors of the file system begin with: the caller has said it, or
// must not, since the names of files and folders may hold a patient's.
func WithoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Detail returns the text of the innermost fault's cause, without the operations around
// it: what a person who sent the input needs to read.
func Detail(err error) string {
	if err == nil {
		return ""
	}
	for {
		var e *Error
		if !errors.As(err, &e) {
			return err.Error()
		}
		err = e.Err
	}
}
