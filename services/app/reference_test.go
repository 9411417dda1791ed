package app

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

func TestPublicRef(t *testing.T) {
	sum := bytes.Repeat([]byte{0xab}, 32)
	uri := "objects:" + hex.EncodeToString(sum)
	whole := &radstreamv1.ObjectRef{Uri: uri, MediaType: "application/dicom", Size: 7, Sha256: sum}
	for name, tc := range map[string]struct{ in, want *radstreamv1.ObjectRef }{
		"whole":      {whole, whole},
		"uri alone":  {&radstreamv1.ObjectRef{Uri: uri}, &radstreamv1.ObjectRef{Uri: uri}},
		"path":       {&radstreamv1.ObjectRef{Uri: "file:/doe/jane.dcm", Size: 7, Sha256: sum}, &radstreamv1.ObjectRef{Size: 7, Sha256: sum}},
		"made up":    {&radstreamv1.ObjectRef{Uri: "objects:doe", Sha256: []byte("jane"), MediaType: "doe/jane"}, &radstreamv1.ObjectRef{}},
		"in capital": {&radstreamv1.ObjectRef{Uri: "objects:" + "AB" + hex.EncodeToString(sum[1:])}, &radstreamv1.ObjectRef{}},
		"none":       {nil, &radstreamv1.ObjectRef{}},
	} {
		if d := cmp.Diff(tc.want, publicRef(tc.in), protocmp.Transform()); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}
