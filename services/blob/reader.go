package blob

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// Reader resolves the references of events: "objects:<sha256>" in a [JetStream],
// "file:<path>" below the folders that the operator allowed.
//
// A path is absolute, in the letters of the file system (no %-encoding), and lies below
// an allowed folder as that folder was configured. Neither ".." nor a symbolic link leads
// out of it: the operating system resolves the path inside the folder ([os.Root]).
type Reader struct {
	store    *JetStream
	roots    []allowedRoot
	maxBytes uint64
}

type allowedRoot struct {
	path string
	root *os.Root
}

// NewReader reads objects from store and files below roots (absolute folders that
// exist). maxBytes bounds one file; the store has its own limit. Close it after use.
// Errors: Usage for a root that cannot be opened.
func NewReader(store *JetStream, roots []string, maxBytes uint64) (*Reader, error) {
	const op = "blob.NewReader"
	r := &Reader{store: store, maxBytes: maxBytes}
	for _, path := range roots {
		if !filepath.IsAbs(path) {
			return nil, errors.Join(fault.Errorf(op, fault.Usage, "an allowed root is an absolute path, not %q", path), r.Close())
		}
		root, err := os.OpenRoot(path)
		if err != nil {
			return nil, errors.Join(fault.E(op, fault.Usage, err), r.Close())
		}
		r.roots = append(r.roots, allowedRoot{filepath.Clean(path), root})
	}
	return r, nil
}

// Close gives the allowed folders back.
func (r *Reader) Close() error {
	var errs []error
	for _, a := range r.roots {
		errs = append(errs, a.root.Close())
	}
	return errors.Join(errs...)
}

// Get returns the bytes that ref points at, checked against its size and sha256; a file
// needs a sha256 of 32 bytes. Errors: those of [JetStream.Get]; Invalid with [ReasonMismatch]
// when a file has other bytes; Unsupported with [ReasonNotAllowed] for a file outside the
// allowed folders and for other URIs.
func (r *Reader) Get(ctx context.Context, ref *radstreamv1.ObjectRef) ([]byte, error) {
	const op = "blob.Reader.Get"
	uri := ref.GetUri()
	if strings.HasPrefix(uri, objectScheme) {
		data, err := r.store.Get(ctx, ref)
		return data, fault.Wrap(op, err)
	}
	path, ok := strings.CutPrefix(uri, fileScheme)
	if !ok {
		return nil, fault.Reject(op, fault.Unsupported, ReasonNotAllowed, "objects are read from %s<sha256> and %s<path>", objectScheme, fileScheme)
	}
	if len(ref.GetSha256()) != sha256.Size {
		return nil, fault.Reject(op, fault.Invalid, ReasonMalformed, "the reference to a file carries its sha256, 32 bytes")
	}
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(op, err)
	}
	path = filepath.Clean(path)
	for _, a := range r.roots {
		below, err := filepath.Rel(a.path, path)
		if err != nil || !filepath.IsLocal(below) {
			continue
		}
		data, err := readFile(op, a.root, below, ref, r.maxBytes)
		if err != nil {
			return nil, err
		}
		if sum := sha256.Sum256(data); string(sum[:]) != string(ref.GetSha256()) {
			return nil, fault.Reject(op, fault.Invalid, ReasonMismatch, "the file's sha256 is not that of the reference")
		}
		return data, nil
	}
	return nil, fault.Reject(op, fault.Unsupported, ReasonNotAllowed, "the file does not lie below a folder that ingest.allowed_roots names")
}

// readFile reads a regular file below root. The size is checked before memory is taken;
// non-blocking, so that a pipe in the folder cannot hold the reader up.
func readFile(op string, root *os.Root, name string, ref *radstreamv1.ObjectRef, maxBytes uint64) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fileFault(op, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fault.E(op, fault.Transient, fault.WithoutPath(err))
	}
	if !info.Mode().IsRegular() {
		return nil, fault.Reject(op, fault.Unsupported, ReasonNotAllowed, "an object is a regular file")
	}
	if err := checkSize(op, ref, uint64(info.Size()), maxBytes); err != nil {
		return nil, err
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fault.E(op, fault.Transient, fault.WithoutPath(err)) // it became shorter meanwhile, or the disk failed
	}
	return data, nil
}

// fileFault sorts the error of opening a file. os.Root refuses a path that leaves it
// with an error of its own, so whatever is not known here is a refusal.
func fileFault(op string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return missing(op)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.EIO),
		errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.ESTALE), errors.Is(err, fs.ErrClosed):
		return fault.E(op, fault.Transient, fault.WithoutPath(err))
	}
	return fault.Reject(op, fault.Unsupported, ReasonNotAllowed, "the file lies outside the allowed folders or may not be read")
}
