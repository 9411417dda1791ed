package flat

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/radstream/radstream/schemas/fault"
)

// sector is the unit in which a disk loses data that was not synced.
const sector = 512

// frames reads the frames of one file. Its errors are errTorn, or a fault of kind Corrupt.
type frames struct {
	f    *os.File
	r    *bufio.Reader
	size int64
	at   int64 // offset behind the last good frame
}

// errTorn says that the file ends within what a crash can leave of an unsynced write.
var errTorn = errors.New("torn end")

// openFrames opens a log or snapshot. A header that a crash cut short gives errTorn.
func openFrames(path, magic string, gen uint64) (*frames, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.E("flat.Open", fault.Unavailable, err)
	}
	fr := &frames{f: f, r: bufio.NewReaderSize(f, 1<<20)}
	info, err := f.Stat()
	if err == nil {
		fr.size = info.Size()
		head := make([]byte, fileHeader)
		_, err = io.ReadFull(fr.r, head)
		if err == nil && string(head) != string(fileHead(magic, gen)) {
			err = fr.damage("the file header does not match")
			if fr.lost(0, fileHeader) && fr.size == fileHeader {
				err = errTorn
			}
		} else if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = errTorn
		}
		fr.at = fileHeader
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return fr, nil
}

func (fr *frames) close() { fr.f.Close() }

// next returns the number and body of the next frame, io.EOF at a clean end, or
// errTorn where a crash may have cut the file.
//
// A frame is torn when the file ends inside it, or when a whole sector of the unreadable
// rest is zero (the length of a file can reach the disk before its data), and no readable
// frame header follows. A complete frame with a wrong checksum and no such hole was damaged
// after it was written.
func (fr *frames) next() (uint64, []byte, error) {
	if fr.at == fr.size {
		return 0, nil, io.EOF
	}
	var head [frameHeader]byte
	if _, err := io.ReadFull(fr.r, head[:]); err != nil {
		if fr.size-fr.at < frameHeader {
			return 0, nil, errTorn
		}
		return 0, nil, fault.E("flat.Open", fault.Unavailable, err)
	}
	n, lsn, ok := parseHead(head[:])
	if !ok {
		return 0, nil, fr.judge("a frame header has a wrong checksum")
	}
	if fr.at+frameHeader+n > fr.size {
		return 0, nil, errTorn
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(fr.r, body); err != nil {
		return 0, nil, fault.E("flat.Open", fault.Unavailable, err)
	}
	if checksum(body) != binary.LittleEndian.Uint32(head[16:]) {
		return 0, nil, fr.judge("a frame has a wrong checksum")
	}
	fr.at += frameHeader + n
	return lsn, body, nil
}

func parseHead(head []byte) (bodyLen int64, lsn uint64, ok bool) {
	n := binary.LittleEndian.Uint32(head)
	ok = binary.LittleEndian.Uint32(head[12:]) == checksum(head[:12]) && n > 0 && n <= maxBody
	return int64(n), binary.LittleEndian.Uint64(head[4:]), ok
}

// judge tells a torn end from damage for an unreadable frame at fr.at.
func (fr *frames) judge(what string) error {
	rest := make([]byte, fr.size-fr.at)
	if _, err := fr.f.ReadAt(rest, fr.at); err != nil {
		return fault.E("flat.Open", fault.Unavailable, err)
	}
	for i := 1; i+frameHeader <= len(rest); i++ {
		if n, _, ok := parseHead(rest[i:]); ok && int64(i)+frameHeader+n <= int64(len(rest)) {
			return fr.damage(what)
		}
	}
	if fr.lost(fr.at, fr.size) {
		return errTorn
	}
	return fr.damage(what)
}

// lost reports whether some sector's share of [from, to) holds only zeros.
func (fr *frames) lost(from, to int64) bool {
	buf := make([]byte, sector)
	for from < to {
		end := min(to, (from/sector+1)*sector)
		part := buf[:end-from]
		if _, err := fr.f.ReadAt(part, from); err != nil {
			return false
		}
		zero := true
		for _, b := range part {
			zero = zero && b == 0
		}
		// A few zero bytes at an edge are ordinary data.
		if zero && len(part) >= 8 {
			return true
		}
		from = end
	}
	return false
}

// refused is why the last good frame could not be taken: damage, or no room for what it holds.
func (fr *frames) refused(err error) error {
	if fault.KindOf(err) == fault.Unavailable {
		return err
	}
	return fr.damage(err.Error())
}

func (fr *frames) damage(what string) error {
	return fault.Errorf("flat.Open", fault.Corrupt, "%s at offset %d: %s", filepath.Base(fr.f.Name()), fr.at, what)
}

func walPath(dir string, gen uint64) string {
	return filepath.Join(dir, fmt.Sprintf("wal-%016x.log", gen))
}

func snapPath(dir string, gen uint64) string {
	return filepath.Join(dir, fmt.Sprintf("snap-%016x.dat", gen))
}
