// Package blobtest holds every blob.Store to its contract with one suite.
package blobtest

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/blob"
)

// Harness makes the stores of one suite.
type Harness struct {
	// Open returns an empty store that takes objects of up to maxBytes; it closes it by
	// t.Cleanup.
	Open func(t *testing.T, maxBytes uint64) blob.Store
	// Damage replaces the stored bytes of the object named sha256 in the store that was
	// opened last, behind its back, with others of the same length.
	Damage func(t *testing.T, sha256 string)
	// Stop makes what lies under the store unreachable; nil where nothing can be.
	Stop func(t *testing.T)
}

// Run runs the suite as subtests of t.
func Run(t *testing.T, h Harness) {
	for name, c := range map[string]func(*testing.T, Harness){
		"round trip": roundTrip, "same bytes same ref": twice, "missing": missing, "delete": deletes,
		"limit": limit, "malformed refs": malformed, "mismatch": mismatch, "damage": damage,
		"concurrent": concurrent, "canceled": canceled, "stopped": stopped,
	} {
		t.Run(name, func(t *testing.T) { c(t, h) })
	}
}

const limitBytes = 4 << 20

func roundTrip(t *testing.T, h Harness) {
	s := h.Open(t, limitBytes)
	for _, size := range []int{1, 131, 128 << 10, 128<<10 + 1, 3 << 20, limitBytes, 0} {
		data := bytes.Repeat([]byte{byte(size), 7, byte(size >> 8)}, size/3+1)[:size]
		ref := put(t, s, data)
		if ref.Size != uint64(size) || len(ref.Sha256) != 32 {
			t.Errorf("%d bytes have the reference %v", size, ref)
		}
		got, err := s.Get(t.Context(), ref)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes came back as %d: %v", size, len(got), err)
		}
		n, err := s.Stat(t.Context(), ref)
		if err != nil || n != uint64(size) {
			t.Errorf("Stat of %d bytes: %d %v", size, n, err)
		}
		// What a sender that writes JSON by hand may leave out.
		if got, err := s.Get(t.Context(), &radstreamv1.ObjectRef{Uri: ref.Uri}); err != nil || !bytes.Equal(got, data) {
			t.Errorf("by uri alone: %v", err)
		}
	}
}

func twice(t *testing.T, h Harness) {
	s := h.Open(t, limitBytes)
	if a, b := put(t, s, []byte("film")), put(t, s, []byte("film")); !proto.Equal(a, b) {
		t.Errorf("%v and %v", a, b)
	}
}

func missing(t *testing.T, h Harness) {
	ref := put(t, h.Open(t, limitBytes), []byte("elsewhere"))
	s := h.Open(t, limitBytes)
	_, err := s.Get(t.Context(), ref)
	want(t, err, fault.Invalid, blob.ReasonMissing)
	_, err = s.Stat(t.Context(), ref)
	want(t, err, fault.Invalid, blob.ReasonMissing)
}

func deletes(t *testing.T, h Harness) {
	s := h.Open(t, limitBytes)
	ref, other := put(t, s, []byte("film")), put(t, s, []byte("other"))
	for range 2 { // the second finds nothing, which is no error
		if err := s.Delete(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Get(t.Context(), ref)
	want(t, err, fault.Invalid, blob.ReasonMissing)
	if _, err := s.Get(t.Context(), other); err != nil {
		t.Error("another object went as well:", err)
	}
	put(t, s, []byte("film"))
	if _, err := s.Get(t.Context(), ref); err != nil {
		t.Error("put again after delete:", err)
	}
}

func limit(t *testing.T, h Harness) {
	s := h.Open(t, 10)
	put(t, s, make([]byte, 10))
	_, err := s.Put(t.Context(), make([]byte, 11))
	want(t, err, fault.Unsupported, blob.ReasonTooLarge)
}

func malformed(t *testing.T, h Harness) {
	s := h.Open(t, limitBytes)
	ref := put(t, s, []byte("film"))
	for uri, c := range map[string]struct {
		kind   fault.Kind
		reason fault.Reason
	}{
		"":                       {fault.Unsupported, blob.ReasonNotAllowed},
		"file:/etc/passwd":       {fault.Unsupported, blob.ReasonNotAllowed},
		"http://example.org/a":   {fault.Unsupported, blob.ReasonNotAllowed},
		"objects:":               {fault.Invalid, blob.ReasonMalformed},
		"objects:ab":             {fault.Invalid, blob.ReasonMalformed},
		"objects:../../etc":      {fault.Invalid, blob.ReasonMalformed},
		ref.Uri + "00":           {fault.Invalid, blob.ReasonMalformed},
		upper(ref.Uri):           {fault.Invalid, blob.ReasonMalformed},
		ref.Uri[:len(ref.Uri)-2]: {fault.Invalid, blob.ReasonMalformed},
	} {
		bad := &radstreamv1.ObjectRef{Uri: uri}
		_, err := s.Get(t.Context(), bad)
		want(t, err, c.kind, c.reason)
		_, err = s.Stat(t.Context(), bad)
		want(t, err, c.kind, c.reason)
		want(t, s.Delete(t.Context(), bad), c.kind, c.reason)
	}
}

func mismatch(t *testing.T, h Harness) {
	s := h.Open(t, limitBytes)
	ref := put(t, s, []byte("film"))
	for _, bad := range []*radstreamv1.ObjectRef{
		{Uri: ref.Uri, Size: 4, Sha256: make([]byte, 32)},
		{Uri: ref.Uri, Size: 4, Sha256: ref.Sha256[:31]},
		{Uri: ref.Uri, Size: 5, Sha256: ref.Sha256},
	} {
		_, err := s.Get(t.Context(), bad)
		want(t, err, fault.Invalid, blob.ReasonMismatch)
	}
}

func damage(t *testing.T, h Harness) {
	s := h.Open(t, limitBytes)
	ref := put(t, s, []byte("film"))
	h.Damage(t, ref.Uri[len("objects:"):])
	_, err := s.Get(t.Context(), ref)
	want(t, err, fault.Corrupt, "")
}

func concurrent(t *testing.T, h Harness) {
	s := h.Open(t, limitBytes)
	data := bytes.Repeat([]byte("film"), 100_000)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			ref, err := s.Put(t.Context(), data)
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := s.Get(t.Context(), ref); err != nil || !bytes.Equal(got, data) {
				t.Error("while others put the same bytes:", err)
			}
		})
	}
	wg.Wait()
}

func canceled(t *testing.T, h Harness) {
	s := h.Open(t, limitBytes)
	ref := put(t, s, []byte("film"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Get(ctx, ref)
	want(t, err, fault.Canceled, "")
	_, err = s.Put(ctx, []byte("other"))
	want(t, err, fault.Canceled, "")
}

func stopped(t *testing.T, h Harness) {
	s := h.Open(t, limitBytes)
	ref := put(t, s, []byte("film"))
	if h.Stop == nil {
		return // a folder has no server
	}
	h.Stop(t)
	_, err := s.Get(t.Context(), ref)
	want(t, err, fault.Unavailable, "")
	_, err = s.Put(t.Context(), []byte("other"))
	want(t, err, fault.Unavailable, "")
}

func put(t *testing.T, s blob.Store, data []byte) *radstreamv1.ObjectRef {
	t.Helper()
	ref, err := s.Put(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func want(t *testing.T, err error, kind fault.Kind, reason fault.Reason) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind || fault.ReasonOf(err) != reason {
		t.Errorf("want %v %q, got %v %q: %v", kind, reason, fault.KindOf(err), fault.ReasonOf(err), err)
	}
}

// upper writes the hash of an object in capitals.
func upper(uri string) string {
	const scheme = "objects:"
	return scheme + string(bytes.ToUpper([]byte(uri[len(scheme):])))
}
