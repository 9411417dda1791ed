package app

import (
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/registry"
)

// TestPromotedModel: what was promoted serves from the next start on, and a rollback brings the
// model before back.
func TestPromotedModel(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, io.Discard)
	shipped := s.manifest.Ref
	other := t.TempDir()
	if err := os.CopyFS(other, os.DirFS(s.modelDir)); err != nil {
		t.Fatal(err)
	}
	m, err := model.Load(other)
	if err != nil {
		t.Fatal(err)
	}
	m.Ref.Version = "2.0.0"
	if err := m.Write(other, slices.Collect(maps.Keys(m.Files))...); err != nil {
		t.Fatal(err)
	}
	if _, err := s.models.Push(t.Context(), other, "", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.models.Promote(t.Context(), m.Ref, shipped, registry.ByGate); err != nil {
		t.Fatal(err)
	}
	status, err := s.Status(t.Context())
	if err != nil || !slices.ContainsFunc(status.Warnings, func(w string) bool { return strings.Contains(w, "tiny@2.0.0 was promoted") }) {
		t.Errorf("%v, %v", status.Warnings, err)
	}
	s.stop(t)
	s = start(t, dir, io.Discard)
	if s.manifest.Ref != m.Ref {
		t.Errorf("%s serves after a restart", s.manifest.Ref)
	}
	if _, err := s.models.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.stop(t)
	for range 2 {
		s = start(t, dir, io.Discard)
		if s.manifest.Ref != shipped {
			t.Errorf("%s serves after a rollback", s.manifest.Ref)
		}
		s.stop(t)
	}
}
