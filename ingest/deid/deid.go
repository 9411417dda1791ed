// Package deid replaces what identifies a person by what does not.
//
// Identifiers become keyed pseudonyms (HMAC-SHA256 with a secret of the tenant), so that
// the same patient is recognised inside a tenant, two tenants never meet, and nobody
// without the secret can go back or test a guess. Dates move by an offset that is drawn
// from the patient's pseudonym, so that intervals within a patient stay true (PS3.15
// E.3.6, Retain Longitudinal Temporal Information with Modified Dates). Text that is part of a
// film's pixels is found, filled from around and looked for once more ([Burned]).
package deid

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

// KeySize is the length of a tenant's secret in bytes.
const KeySize = 32

// Key is the secret of one tenant.
type Key struct{ secret []byte }

// NewKey takes a secret of [KeySize] random bytes.
func NewKey(secret []byte) (Key, error) {
	if len(secret) != KeySize {
		return Key{}, fault.Errorf("deid.NewKey", fault.Invalid, "a tenant's key has %d bytes, this one %d", KeySize, len(secret))
	}
	return Key{append([]byte(nil), secret...)}, nil
}

// Fingerprint identifies the key without giving it away.
func (k Key) Fingerprint() string { return hex.EncodeToString(k.mac("fingerprint", "")[:16]) }

// Study returns the pseudonym of a study.
func (k Key) Study(uid event.StudyUID) event.StudyKey {
	return event.StudyKey(hex.EncodeToString(k.mac("study", string(uid))[:16]))
}

// Patient returns the pseudonym of a patient. A study whose patient is not known is a
// patient of its own: pass the study, so that strangers are never joined.
func (k Key) Patient(id event.PatientID, study event.StudyUID) event.PatientKey {
	if id == "" {
		return event.PatientKey(hex.EncodeToString(k.mac("patient of study", string(study))[:16]))
	}
	return event.PatientKey(hex.EncodeToString(k.mac("patient", string(id))[:16]))
}

// Shift moves a time of patient p by 1 to 10 years into the past. The zero time stays.
func (k Key) Shift(p event.PatientKey, t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	const shortest, longest = 365, 3650 // days
	n := binary.BigEndian.Uint64(k.mac("shift", string(p)))
	return t.AddDate(0, 0, -int(shortest+n%(longest-shortest+1)))
}

func (k Key) mac(domain, s string) []byte {
	h := hmac.New(sha256.New, k.secret)
	h.Write([]byte(domain))
	h.Write([]byte{0})
	h.Write([]byte(s))
	return h.Sum(nil)
}
