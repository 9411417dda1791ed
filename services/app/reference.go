package app

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// publicRef is what a dead letter says of the object that it is about: what leads to the
// object in the store, and nothing that its sender was free to write. A path, a made-up
// URI, hash or media type may name a person; the arrival in STUDIES has them.
func publicRef(r *radstreamv1.ObjectRef) *radstreamv1.ObjectRef {
	out := &radstreamv1.ObjectRef{Size: r.GetSize()}
	if len(r.GetSha256()) == sha256.Size {
		out.Sha256 = slices.Clone(r.GetSha256())
	}
	if name, ok := strings.CutPrefix(r.GetUri(), "objects:"); ok {
		if sum, err := hex.DecodeString(name); err == nil && len(sum) == sha256.Size && name == strings.ToLower(name) {
			out.Uri = r.GetUri()
		}
	}
	if slices.Contains([]string{"application/dicom", "image/jpeg", "image/png"}, r.GetMediaType()) {
		out.MediaType = r.GetMediaType()
	}
	return out
}
