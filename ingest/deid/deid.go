// Package deid replaces what identifies a person by what does not.
//
//	attribute of a DICOM object -> on the allow-list?  no: it is not read
//	  -> identifier: Key.Study, Key.Patient;  time: Key.Shift;  what shows the film: used
//
// Identifiers become keyed pseudonyms (HMAC-SHA256 with a secret of the tenant), so that
// the same patient is recognised inside a tenant, two tenants never meet, and nobody
// without the secret can go back or test a guess. Times move by an offset that is drawn
// from the patient's pseudonym, so that intervals within a patient stay true (PS3.15
// E.3.6, Retain Longitudinal Temporal Information with Modified Dates). Text that is part of a
// film's pixels is found, filled from around and looked for once more ([Burned]).
//
// [Rules] holds the Basic Profile (PS3.15 table E.1-1) and the allow-list as data. Ingest
// makes a new thing of the few attributes on the list, instead of removing what the profile
// names from a copy of the object: what nobody thought of stays out.
//
// A tenant is one domain of patient ids: two patients who share an id (0010,0020) there are
// one patient. Issuer of Patient ID (0010,0021) and Other Patient IDs (0010,1000 and 1002)
// are not used to join, since objects, orders and reports of one patient rarely agree on them; a
// site whose archive mixes issuers gives each of them a tenant.
package deid

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"
	"unicode"

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

// Bare returns an identifier without the padding around it: DICOM pads text with spaces
// and UIDs with a NUL (PS3.5 section 6.2), and writers of messages and lists add their own.
// Nothing else is changed: case, leading zeros and blanks inside tell patients apart.
func Bare[ID ~string](id ID) ID {
	return ID(strings.TrimFunc(string(id), func(r rune) bool { return r == 0 || unicode.IsSpace(r) }))
}

// Study returns the pseudonym of a study, by its [Bare] id.
func (k Key) Study(uid event.StudyUID) event.StudyKey {
	return event.StudyKey(hex.EncodeToString(k.mac("study", string(Bare(uid)))[:16]))
}

// Patient returns the pseudonym of a patient, by its [Bare] id. A study whose patient is
// not known is a patient of its own: pass the study, so that strangers are never joined.
func (k Key) Patient(id event.PatientID, study event.StudyUID) event.PatientKey {
	if id = Bare(id); id == "" {
		return event.PatientKey(hex.EncodeToString(k.mac("patient of study", string(Bare(study)))[:16]))
	}
	return event.PatientKey(hex.EncodeToString(k.mac("patient", string(id))[:16]))
}

// The range of [Key.Shift].
const (
	ShortestShift = 365 * 24 * time.Hour
	LongestShift  = 3650 * 24 * time.Hour
)

// Shift moves a time of patient p by 1 to 10 years into the past, by the same number of
// seconds whatever the time: intervals stay true to the nanosecond, in any time zone and
// across its changes, while date, weekday and time of day do not. The zero time stays.
func (k Key) Shift(p event.PatientKey, t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(-k.offset(p))
}

// Unshift is the inverse of [Key.Shift], for those who answer the tenant itself.
func (k Key) Unshift(p event.PatientKey, t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(k.offset(p))
}

func (k Key) offset(p event.PatientKey) time.Duration {
	const shortest, longest = uint64(ShortestShift / time.Second), uint64(LongestShift / time.Second)
	n := binary.BigEndian.Uint64(k.mac("shift", string(p)))
	return time.Duration(shortest+n%(longest-shortest+1)) * time.Second
}

func (k Key) mac(domain, s string) []byte {
	h := hmac.New(sha256.New, k.secret)
	h.Write([]byte(domain))
	h.Write([]byte{0})
	h.Write([]byte(s))
	return h.Sum(nil)
}
