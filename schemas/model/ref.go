package model

import (
	"regexp"
	"strings"

	"github.com/radstream/radstream/schemas/fault"
)

// ReasonRef is the fault reason of a malformed model reference.
const ReasonRef fault.Reason = "model_ref"

// Ref names one version of a model, such as tiny@1.0.0.
type Ref struct {
	Name    string // 1 to 40 of a-z, 0-9 and '-', starting with a letter
	Version string // 1 to 40 of a-z, 0-9, '-' and '.', starting with a letter or digit
}

var refForm = regexp.MustCompile(`^([a-z][a-z0-9-]{0,39})@([a-z0-9][a-z0-9.-]{0,39})$`)

// ParseRef reads name@version.
func ParseRef(s string) (Ref, error) {
	m := refForm.FindStringSubmatch(s)
	if m == nil {
		return Ref{}, fault.Reject("model.ParseRef", fault.Invalid, ReasonRef,
			"a model is named name@version: name 1 to 40 of a-z, 0-9 and '-' from a letter, version 1 to 40 of a-z, 0-9, '-' and '.'")
	}
	return Ref{m[1], m[2]}, nil
}

// ParseKey is the inverse of [Ref.Key].
func ParseKey(s string) (Ref, error) {
	name, version, _ := strings.Cut(s, "_")
	r, err := ParseRef(name + "@" + strings.ReplaceAll(version, "_", "."))
	if err != nil || r.Key() != s {
		return Ref{}, fault.Reject("model.ParseKey", fault.Invalid, ReasonRef, "a model key is name_version with '_' for every '.'")
	}
	return r, nil
}

// String returns name@version.
func (r Ref) String() string { return r.Name + "@" + r.Version }

// Key returns the reference in a form that is one token of a NATS subject and safe in the name
// of a collection or directory: tiny@1.0.0 gives tiny_1_0_0. Different references have
// different keys, since neither part may hold an underscore.
func (r Ref) Key() string { return r.Name + "_" + strings.ReplaceAll(r.Version, ".", "_") }

// MarshalText returns name@version; it is what JSON holds.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is [ParseRef].
func (r *Ref) UnmarshalText(b []byte) error {
	p, err := ParseRef(string(b))
	if err == nil {
		*r = p
	}
	return err
}
