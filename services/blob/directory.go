package blob

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// Directory keeps objects as files objects/<first two digits>/<sha256> below a folder.
// A file appears under its name only when it is whole and on disk: it is written beside,
// synced, renamed, and the folder synced. A crash leaves at most a file with ".tmp" in
// its name, which is never read and goes with the object on Delete.
type Directory struct {
	root     *os.Root
	maxBytes uint64
}

var _ Store = (*Directory)(nil)

// OpenDirectory opens the store below folder dir, which is made when it is missing.
// maxBytes bounds one object. Close it after use. Errors: Unavailable.
func OpenDirectory(dir string, maxBytes uint64) (*Directory, error) {
	const op = "blob.OpenDirectory"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.E(op, fault.Unavailable, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.E(op, fault.Unavailable, err)
	}
	return &Directory{root: root, maxBytes: maxBytes}, nil
}

// Close gives the folder back.
func (d *Directory) Close() error { return d.root.Close() }

// Put implements [Store]. An object that is there but damaged is written anew.
func (d *Directory) Put(ctx context.Context, data []byte) (*radstreamv1.ObjectRef, error) {
	const op = "blob.Directory.Put"
	if uint64(len(data)) > d.maxBytes {
		return nil, tooLarge(op, uint64(len(data)), d.maxBytes)
	}
	ref := newRef(data)
	_, err := d.Get(ctx, ref)
	if err == nil {
		return ref, nil
	}
	if ctx.Err() != nil {
		return nil, fault.Wrap(op, ctx.Err())
	}
	if err := d.write(strings.TrimPrefix(ref.Uri, objectScheme), data); err != nil {
		return nil, fault.E(op, fault.Transient, err)
	}
	return ref, nil
}

func (d *Directory) write(name string, data []byte) (err error) {
	file := filePath(name)
	folder := path.Dir(file)
	if err := d.root.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	temp := file + ".tmp" + rand.Text()
	f, err := d.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.root.Remove(temp))
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := d.root.Rename(temp, file); err != nil {
		return err
	}
	for _, dir := range []string{folder, path.Dir(folder), "."} { // the folders may be new as well
		if err := d.syncFolder(dir); err != nil {
			return err
		}
	}
	return nil
}

func (d *Directory) syncFolder(name string) error {
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Get implements [Store].
func (d *Directory) Get(ctx context.Context, ref *radstreamv1.ObjectRef) ([]byte, error) {
	const op = "blob.Directory.Get"
	name, err := objectName(op, ref)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(op, err)
	}
	data, err := readFile(op, d.root, filePath(name), ref, d.maxBytes)
	if err != nil {
		return nil, err
	}
	if err := checkStored(op, name, data); err != nil {
		return nil, err
	}
	return data, nil
}

// Stat implements [Store].
func (d *Directory) Stat(_ context.Context, ref *radstreamv1.ObjectRef) (uint64, error) {
	const op = "blob.Directory.Stat"
	name, err := objectName(op, ref)
	if err != nil {
		return 0, err
	}
	info, err := d.root.Stat(filePath(name))
	if err != nil {
		return 0, fileFault(op, err)
	}
	size := uint64(info.Size())
	return size, checkSize(op, ref, size, d.maxBytes)
}

// Delete implements [Store]; it removes what interrupted writes left as well.
func (d *Directory) Delete(_ context.Context, ref *radstreamv1.ObjectRef) error {
	const op = "blob.Directory.Delete"
	name, err := objectName(op, ref)
	if err != nil {
		return err
	}
	folder := path.Dir(filePath(name))
	files, err := fs.ReadDir(d.root.FS(), folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.E(op, fault.Transient, err)
	}
	for _, f := range files {
		if !strings.HasPrefix(f.Name(), name) {
			continue
		}
		if err := d.root.Remove(path.Join(folder, f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.E(op, fault.Transient, err)
		}
	}
	return fault.E(op, fault.Transient, d.syncFolder(folder))
}

func filePath(name string) string { return path.Join("objects", name[:2], name) }

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
		return nil, fault.E(op, fault.Transient, cause(err))
	}
	if !info.Mode().IsRegular() {
		return nil, fault.Reject(op, fault.Unsupported, ReasonNotAllowed, "an object is a regular file")
	}
	if err := checkSize(op, ref, uint64(info.Size()), maxBytes); err != nil {
		return nil, err
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fault.E(op, fault.Transient, cause(err)) // it became shorter meanwhile, or the disk failed
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
		return fault.E(op, fault.Transient, cause(err))
	}
	return fault.Reject(op, fault.Unsupported, ReasonNotAllowed, "the file lies outside the allowed folders or may not be read")
}

// cause strips the path from err: file names may hold a patient's name.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
