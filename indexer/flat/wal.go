package flat

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/radstream/radstream/schemas/fault"
)

const (
	fileHeader  = 20
	frameHeader = 20
	maxBody     = 1 << 30 // bytes; larger lengths are damage
	walMagic    = "RSFWAL\x00\x01"
	snapMagic   = "RSFSNP\x00\x01"
)

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// wal is the log that is being written. append is called under the writers' lock; commit
// by any number of goroutines.
type wal struct {
	dir  string
	sync func(*os.File) error

	gen  uint64 // generation of the file
	size int64  // bytes written to the file
	lsn  uint64 // of the last frame written

	mu      sync.Mutex // guards what follows
	done    *sync.Cond
	file    *os.File
	written uint64 // last frame handed to the kernel
	synced  uint64 // last frame on disk
	syncing bool
	failed  error // the first write or sync that failed; final
}

func newWAL(dir string, flush func(*os.File) error) *wal {
	w := &wal{dir: dir, sync: flush}
	w.done = sync.NewCond(&w.mu)
	return w
}

// start makes an empty file for generation gen and writes there from now on; the file
// before it is synced and closed first.
func (w *wal) start(gen uint64) error {
	if err := w.close(); err != nil {
		return err
	}
	f, err := os.OpenFile(walPath(w.dir, gen), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = f.Write(fileHead(walMagic, gen))
	}
	if err == nil {
		err = w.sync(f)
	}
	if err == nil {
		err = syncDir(w.dir)
	}
	return w.adopt(f, gen, fileHeader, w.lsn, err)
}

// adopt continues in a file that ends at size with frame lsn. err is passed through.
func (w *wal) adopt(f *os.File, gen uint64, size int64, lsn uint64, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		return w.fail(err)
	}
	w.file, w.gen, w.size, w.lsn, w.written, w.synced = f, gen, size, lsn, lsn, lsn
	return nil
}

// append writes one frame and returns its number. It is not on disk before commit.
func (w *wal) append(body []byte) (uint64, error) {
	if len(body) > maxBody {
		return 0, fault.Errorf("flat.append", fault.Invalid, "a record is larger than %d bytes", maxBody)
	}
	w.mu.Lock()
	f, failed := w.file, w.failed
	w.mu.Unlock()
	switch {
	case failed != nil:
		return 0, failed
	case f == nil:
		return 0, errClosed
	}
	frame := appendFrame(make([]byte, 0, frameHeader+len(body)), w.lsn+1, body)
	if _, err := f.Write(frame); err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		return 0, w.fail(err)
	}
	w.lsn++
	w.size += int64(len(frame))
	w.mu.Lock()
	w.written = w.lsn
	w.mu.Unlock()
	return w.lsn, nil
}

// commit returns when frame lsn is on disk. The first to wait syncs for all that wait.
func (w *wal) commit(lsn uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.synced < lsn && w.failed == nil {
		if w.syncing {
			w.done.Wait()
			continue
		}
		w.syncing = true
		f, target := w.file, w.written
		w.mu.Unlock()
		err := w.sync(f)
		w.mu.Lock()
		w.syncing = false
		if err != nil {
			_ = w.fail(err)
		} else {
			w.synced = max(w.synced, target)
		}
		w.done.Broadcast()
	}
	if w.synced >= lsn {
		return nil
	}
	return w.failed
}

// close syncs and closes the file; the caller holds the writers' lock.
func (w *wal) close() error {
	w.mu.Lock()
	open := w.file != nil
	w.mu.Unlock()
	if !open {
		return nil
	}
	if err := w.commit(w.lsn); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.syncing {
		w.done.Wait()
	}
	err := w.file.Close()
	w.file = nil
	return fault.E("flat.close", fault.Unavailable, err)
}

var errClosed = fault.E("flat", fault.Unavailable, errors.New("the store is closed"))

// fail records the first failure: what the log holds is unknown from here on, so nothing
// may be acknowledged until recovery has read it.
func (w *wal) fail(err error) error {
	if w.failed == nil {
		w.failed = fault.Errorf("flat.log", fault.Unavailable, "a write failed; the store takes no more until it is opened again: %w", err)
	}
	return w.failed
}

// diverged records that memory lacks what the log has.
func (w *wal) diverged(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fail(err)
}

func fileHead(magic string, gen uint64) []byte {
	b := binary.LittleEndian.AppendUint64([]byte(magic), gen)
	return binary.LittleEndian.AppendUint32(b, checksum(b))
}

func appendFrame(b []byte, lsn uint64, body []byte) []byte {
	at := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	b = binary.LittleEndian.AppendUint64(b, lsn)
	b = binary.LittleEndian.AppendUint32(b, checksum(b[at:]))
	b = binary.LittleEndian.AppendUint32(b, checksum(body))
	return append(b, body...)
}

// fdatasync skips the times of the file: its length is what matters, and that is kept.
func fdatasync(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return err
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
