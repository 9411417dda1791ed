package registry_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bus/bustest"
	"github.com/radstream/radstream/services/registry"
	"github.com/radstream/radstream/trainer/onnxexport"
)

func open(t *testing.T) *registry.Registry {
	t.Helper()
	r, err := registry.Open(t.Context(), bustest.Connect(t, bustest.Serve(t)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// write makes a model directory.
func write(t *testing.T, version string, seed uint64) string {
	t.Helper()
	k, err := tokenizer.BERTBaseCased()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	m := model.Manifest{Ref: model.Ref{Name: "m", Version: version}, Preprocessing: "1", Temperature: 0.1, Untrained: true}
	if err := onnxexport.WriteModel(dir, model.Tiny(), onnxexport.Untrained(model.Tiny(), seed), onnxexport.FP16, k, m); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRegistry(t *testing.T) {
	ctx := t.Context()
	r := open(t)
	ref := func(version string) model.Ref { return model.Ref{Name: "m", Version: version} }
	if _, err := r.Serving(ctx); fault.KindOf(err) != fault.NotFound {
		t.Errorf("nothing serves: %v", err)
	}
	if _, err := r.Rollback(ctx); fault.KindOf(err) != fault.NotFound {
		t.Errorf("back to nothing: %v", err)
	}
	one := write(t, "1", 1)
	for range 2 { // again is no other
		rec, err := r.Push(ctx, one, "", nil)
		if err != nil || rec.Ref != ref("1") || rec.Bytes < 1e6 || len(rec.Files) != 4 {
			t.Fatalf("%+v, %v", rec, err)
		}
	}
	if _, err := r.Push(ctx, write(t, "1", 2), "", nil); fault.KindOf(err) != fault.Conflict {
		t.Errorf("another model of the same name: %v", err)
	}
	for _, v := range []string{"2", "3"} {
		if _, err := r.Push(ctx, write(t, v, 3), "clinic", []byte(`{"promoted":false}`)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Promote(ctx, ref("4"), model.Ref{}, registry.ByOperator); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a model that is not there: %v", err)
	}
	for _, v := range []string{"1", "2", "2", "3"} {
		if s, err := r.Promote(ctx, ref(v), model.Ref{}, registry.ByOperator); err != nil || s.Ref != ref(v) {
			t.Fatalf("%+v, %v", s, err)
		}
	}
	if _, err := r.Promote(ctx, ref("1"), ref("2"), registry.ByGate); fault.KindOf(err) != fault.Conflict {
		t.Errorf("instead of one that serves no more: %v", err)
	}
	all, err := r.List(ctx)
	if err != nil || len(all) != 3 || !all[2].Serving || all[0].Serving || string(all[1].Decision) != `{"promoted":false}` {
		t.Errorf("%+v, %v", all, err)
	}
	for _, want := range []string{"2", "1"} {
		s, err := r.Rollback(ctx)
		if err != nil || s.Ref != ref(want) {
			t.Errorf("back to %+v, want %s: %v", s, want, err)
		}
	}
	dir := filepath.Join(t.TempDir(), "below", "m")
	if err := r.Pull(ctx, ref("1"), dir); err != nil {
		t.Fatal(err)
	}
	want, errWant := model.Load(one)
	got, errGot := model.Load(dir)
	if d := cmp.Diff(want, got); d != "" || errWant != nil || errGot != nil {
		t.Errorf("%v %v %s", errWant, errGot, d)
	}
	if err := r.Pull(ctx, ref("1"), dir); fault.KindOf(err) != fault.Conflict {
		t.Errorf("over one that is there: %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) != 1 {
		t.Errorf("left beside it: %v, %v", left, err)
	}
}
