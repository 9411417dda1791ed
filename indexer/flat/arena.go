package flat

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/radstream/radstream/schemas/fault"
)

// arena is where the vectors of a store lie: a mapped file that has no name, so that the kernel can
// put aside what no search needs, and Go's collector counts none of it. The file is not the store:
// log and snapshots are, and it is gone with the process. Blocks are reserved before they are
// mapped, since a full disk would else be a signal in the midst of a write; file systems that copy on write
// (btrfs, ZFS) cannot promise that.
//
// No arena gives memory of the heap: for a store that is only looked at.
type arena struct {
	dir string // where the file is made

	mu     sync.Mutex
	file   *os.File
	size   int64
	mapped int64 // bytes
}

// chunk is memory of an arena.
type chunk struct {
	floats []float32
	at     int64 // in the file; -1 on the heap
}

// take gives n zeros. Unavailable: the disk has no room for them.
func (a *arena) take(n int) (chunk, error) {
	if a == nil {
		return chunk{make([]float32, n), -1}, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	c, err := a.grow(4 * int64(n))
	if err != nil {
		return chunk{}, fault.Errorf("flat.arena", fault.Unavailable, "no room for vectors in %s: %w", a.dir, err)
	}
	c.floats = c.floats[:n]
	return c, nil
}

// grow maps more of the file, rounded up to pages.
func (a *arena) grow(bytes int64) (chunk, error) {
	if a.file == nil {
		f, err := os.Create(filepath.Join(a.dir, "vectors.tmp"))
		if err != nil {
			return chunk{}, err
		}
		if err := os.Remove(f.Name()); err != nil {
			return chunk{}, errors.Join(err, f.Close())
		}
		a.file = f
	}
	page, at, fd := int64(os.Getpagesize()), a.size, int(a.file.Fd())
	bytes = (bytes + page - 1) / page * page
	err := fallocate(fd, 0, at, bytes)
	if err == unix.EOPNOTSUPP { // as on NFS before 4.2
		_, err = a.file.WriteAt(make([]byte, bytes), at)
	}
	if err != nil {
		return chunk{}, err
	}
	m, err := unix.Mmap(fd, at, int(bytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return chunk{}, err
	}
	a.size += bytes
	a.mapped += bytes
	return chunk{unsafe.Slice((*float32)(unsafe.Pointer(&m[0])), len(m)/4), at}, nil
}

// give takes a chunk back, which nobody may read any more, and its blocks on the disk.
func (a *arena) give(c chunk) {
	if c.floats == nil || c.at < 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	whole := c.floats[:cap(c.floats)]
	m := unsafe.Slice((*byte)(unsafe.Pointer(&whole[0])), 4*len(whole))
	if unix.Munmap(m) != nil { // never, of what was mapped
		return
	}
	a.mapped -= int64(len(m))
	// Where this fails the blocks are free when the file is closed.
	_ = fallocate(int(a.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, c.at, int64(len(m)))
}

// fallocate is tried again when a signal comes in between.
func fallocate(fd int, mode uint32, at, bytes int64) error {
	for {
		if err := unix.Fallocate(fd, mode, at, bytes); err != unix.EINTR {
			return err
		}
	}
}

// close gives the file back, whose chunks were given back before.
func (a *arena) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		return nil
	}
	err := a.file.Close()
	a.file = nil
	return err
}
