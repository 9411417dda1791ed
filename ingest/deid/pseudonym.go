package deid

import "encoding/hex"

// Instance returns the pseudonym of one object by its SOP Instance UID; "" for none.
func (k Key) Instance(uid string) string { return k.name("instance", uid) }

// Accession returns the pseudonym of an accession number; "" for none.
func (k Key) Accession(number string) string { return k.name("accession", number) }

// Report returns the pseudonym of the number of a report; "" for none.
func (k Key) Report(id string) string { return k.name("report", id) }

// name is 32 lower-case hex digits.
func (k Key) name(domain, s string) string {
	if s == "" {
		return ""
	}
	return hex.EncodeToString(k.mac(domain, s)[:16])
}
