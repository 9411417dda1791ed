package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestKindWords(t *testing.T) {
	seen := map[string]bool{}
	for i, k := range Kinds() {
		if int(k) != i {
			t.Errorf("kind %d stands at %d", k, i)
		}
		word := k.String()
		if word == "" || seen[word] {
			t.Errorf("kind %d has no word of its own: %q", k, word)
		}
		seen[word] = true
		if back, err := ParseKind(word); err != nil || back != k {
			t.Errorf("%s parses as %s, %v", k, back, err)
		}
	}
	if _, err := ParseKind("nope"); err == nil {
		t.Error("an unknown word parsed")
	}
	if got := Kind(200).String(); got != "kind(200)" {
		t.Errorf("unknown number: %q", got)
	}
}

func TestChain(t *testing.T) {
	cause := fmt.Errorf("item 3: %w", io.ErrUnexpectedEOF)
	inner := Reject("dicom.Pixels", Invalid, "truncated", "the pixel data ends early: %w", cause)
	err := Wrap("ingest.Prepare", fmt.Errorf("view 2: %w", inner))
	if KindOf(err) != Invalid || ReasonOf(err) != "truncated" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v: kind %s, reason %s", err, KindOf(err), ReasonOf(err))
	}
	if got, want := err.Error(), "ingest.Prepare: view 2: dicom.Pixels: the pixel data ends early: item 3: unexpected EOF"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
	if got, want := Detail(err), "the pixel data ends early: item 3: unexpected EOF"; got != want {
		t.Errorf("detail %q, want %q", got, want)
	}
	if E("x", Invalid, nil) != nil || Wrap("x", nil) != nil {
		t.Error("nil became an error")
	}
}

func TestKindOfOthers(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Kind
	}{
		{io.EOF, Internal},
		{fmt.Errorf("x: %w", context.Canceled), Canceled},
		{context.DeadlineExceeded, Transient},
		{E("x", Unavailable, context.Canceled), Unavailable},
	} {
		if got := KindOf(c.err); got != c.want {
			t.Errorf("KindOf(%v) = %s, want %s", c.err, got, c.want)
		}
	}
}

func TestWithoutPath(t *testing.T) {
	_, err := os.Open(filepath.Join(t.TempDir(), "Doe^Jane"))
	for _, err := range []error{err, fmt.Errorf("a film: %w", err)} {
		if got := WithoutPath(err); got != syscall.ENOENT {
			t.Errorf("%v becomes %v", err, got)
		}
	}
	if WithoutPath(io.EOF) != io.EOF || WithoutPath(nil) != nil {
		t.Error("another error changes")
	}
}
