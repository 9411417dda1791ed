// Package blob keeps the bytes that do not ride on the bus: DICOM files and films.
//
// An object is named by the SHA-256 of its bytes, so putting it twice is putting it once,
// and nobody can change what a reference means. A publisher puts the object first and
// then announces its reference, so a reference to nothing is a fault of the sender, not
// a matter of waiting.
//
//	publisher: bytes -> JetStream.Put -> ObjectRef "objects:<sha256>" -> StudyArrived
//	ingest:    StudyArrived -> ObjectRef -> Reader.Get -> bytes, size and hash checked
//
// [JetStream] keeps objects in a NATS Object Store. [Reader] also resolves "file:<path>" below
// folders that the operator allowed. Objects are held in memory whole, up to a limit that is
// checked before anything is allocated.
package blob

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// DefaultMaxBytes bounds one object where nobody set a limit: 128 MiB. The largest films
// have 40.
const DefaultMaxBytes = 128 << 20

// Reasons for which an object or a reference is refused.
const (
	ReasonMissing    fault.Reason = "object_missing"       // Invalid: nothing lies there
	ReasonMismatch   fault.Reason = "checksum_mismatch"    // Invalid: the bytes are not the ones the reference describes
	ReasonIncomplete fault.Reason = "object_incomplete"    // NotFound: only a part was stored, as after a crash; its publisher puts it again
	ReasonNotAllowed fault.Reason = "object_not_allowed"   // Unsupported: a place that is not read here
	ReasonTooLarge   fault.Reason = "object_too_large"     // Unsupported: over the limit
	ReasonMalformed  fault.Reason = "malformed_object_ref" // Invalid: the reference has not the form of events.proto
)

const (
	objectScheme = "objects:"
	fileScheme   = "file:"
)

// newRef describes data.
func newRef(data []byte) *radstreamv1.ObjectRef {
	sum := sha256.Sum256(data)
	return &radstreamv1.ObjectRef{
		Uri:    objectScheme + hex.EncodeToString(sum[:]),
		Size:   uint64(len(data)),
		Sha256: sum[:],
	}
}

// objectName returns the hash in ref's URI, 64 lower-case hex digits.
func objectName(op string, ref *radstreamv1.ObjectRef) (string, error) {
	name, ok := strings.CutPrefix(ref.GetUri(), objectScheme)
	if !ok {
		return "", fault.Reject(op, fault.Unsupported, ReasonNotAllowed, "the store holds objects of the form %s<sha256>", objectScheme)
	}
	sum, err := hex.DecodeString(name)
	if err != nil || len(sum) != sha256.Size || name != strings.ToLower(name) {
		return "", fault.Reject(op, fault.Invalid, ReasonMalformed, "an object is named %s and 64 lower-case hex digits", objectScheme)
	}
	if len(ref.GetSha256()) != 0 && string(sum) != string(ref.GetSha256()) {
		return "", fault.Reject(op, fault.Invalid, ReasonMismatch, "sha256 of the reference is not the hash in its uri")
	}
	return name, nil
}

// checkSize compares a size found in the store with ref and the limit, before reading.
func checkSize(op string, ref *radstreamv1.ObjectRef, size, maxBytes uint64) error {
	if size > maxBytes {
		return tooLarge(op, size, maxBytes)
	}
	if ref.GetSize() != 0 && ref.GetSize() != size {
		return fault.Reject(op, fault.Invalid, ReasonMismatch, "the object has %d bytes, the reference says %d", size, ref.GetSize())
	}
	return nil
}

// checkStored holds bytes that were read against the name they were stored under.
func checkStored(op, name string, data []byte) error {
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != name {
		return fault.Errorf(op, fault.Corrupt, "object %s was stored under another hash than its bytes have now", name)
	}
	return nil
}

func tooLarge(op string, size, maxBytes uint64) error {
	return fault.Reject(op, fault.Unsupported, ReasonTooLarge, "an object has at most %d bytes, this one %d", maxBytes, size)
}

func missing(op string) error {
	return fault.Reject(op, fault.Invalid, ReasonMissing, "the object is not there; it has to be put before it is announced")
}
