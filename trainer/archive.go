package trainer

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

// ReasonArchive is the fault reason of an archive file that cannot be read.
const ReasonArchive fault.Reason = "archive"

// Record is one frozen message: the body of a StudyPrepared event as it lies in the stream,
// and where.
type Record struct {
	Sequence uint64 // in its stream; in an archive file its place, from 1
	Body     []byte
}

// Source hands out the messages that a manifest names; an archive file or a stream does.
type Source interface {
	// Records calls yield for each of the sequences, which ascend. Errors: NotFound for a
	// sequence that is not there, and yield's own.
	Records(ctx context.Context, sequences []uint64, yield func(Record) error) error
}

var _ Source = Archive{}

// Archive is a file of StudyPrepared messages, each behind its length as a varint (the
// delimited form of protobuf). The bodies are the bytes that a stream would hold.
type Archive struct{ Path string }

// Records implements [Source].
func (a Archive) Records(ctx context.Context, sequences []uint64, yield func(Record) error) error {
	const op = "trainer.Archive.Records"
	next := 0
	_, _, err := a.each(ctx, func(r Record) error {
		if next == len(sequences) {
			return errEnough
		}
		if r.Sequence != sequences[next] {
			return nil
		}
		next++
		return yield(r)
	})
	if err != nil && !errors.Is(err, errEnough) {
		return fault.Wrap(op, err)
	}
	if next < len(sequences) {
		return fault.Errorf(op, fault.NotFound, "the archive has no message %d", sequences[next])
	}
	return nil
}

// Each calls yield for every message. A message that was cut short at the end is Corrupt.
func (a Archive) Each(ctx context.Context, yield func(Record) error) error {
	const op = "trainer.Archive.Each"
	count, whole, err := a.each(ctx, yield)
	if err == nil && !whole {
		err = fault.Reject(op, fault.Corrupt, ReasonArchive, "the archive ends inside message %d", count+1)
	}
	return fault.Wrap(op, err)
}

var errEnough = errors.New("enough")

// each returns how many messages are whole, and whether the file ends behind the last of them.
func (a Archive) each(ctx context.Context, yield func(Record) error) (count uint64, whole bool, err error) {
	const op = "trainer.Archive"
	f, err := os.Open(a.Path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, true, fault.Errorf(op, fault.NotFound, "there is no archive %s", a.Path)
	}
	if err != nil {
		return 0, true, fault.E(op, fault.Internal, err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return count, true, err
		}
		body, err := readDelimited(r)
		switch {
		case errors.Is(err, io.EOF):
			return count, true, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return count, false, nil
		case err != nil:
			return count, true, err
		}
		count++
		if err := yield(Record{count, body}); err != nil {
			return count, true, err
		}
	}
}

// readDelimited returns one message: io.EOF at the end, io.ErrUnexpectedEOF inside one.
func readDelimited(r *bufio.Reader) ([]byte, error) {
	var size uint64
	for shift := 0; ; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			if shift > 0 && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		size |= uint64(b&0x7f) << shift
		if size > event.MaxBody || shift > 21 {
			return nil, fault.Reject("trainer.Archive", fault.Invalid, ReasonArchive, "a message has at most %d bytes: this is no archive, or it is damaged", event.MaxBody)
		}
		if b < 0x80 {
			break
		}
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return body, nil
}

// ArchiveWriter appends to an archive file.
type ArchiveWriter struct {
	file  *os.File
	count uint64
}

// OpenArchive opens an archive for appending, making it where there is none. A message that
// was cut short at its end, as a crash leaves it, is removed. Close the writer.
func OpenArchive(ctx context.Context, path string) (*ArchiveWriter, error) {
	const op = "trainer.OpenArchive"
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fault.E(op, fault.Usage, err)
	}
	var size int64
	count, whole, err := Archive{path}.each(ctx, func(r Record) error {
		size += int64(protowire.SizeBytes(len(r.Body)))
		return nil
	})
	if err == nil && !whole {
		err = f.Truncate(size)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekEnd)
	}
	if err != nil {
		return nil, errors.Join(fault.Wrap(op, err), f.Close())
	}
	return &ArchiveWriter{f, count}, nil
}

// Count is how many messages the archive has.
func (w *ArchiveWriter) Count() uint64 { return w.count }

// Append writes one message of at most event.MaxBody bytes.
func (w *ArchiveWriter) Append(body []byte) error {
	const op = "trainer.ArchiveWriter.Append"
	if len(body) > event.MaxBody {
		return fault.Reject(op, fault.Unsupported, ReasonArchive, "a message has at most %d bytes", event.MaxBody)
	}
	if _, err := w.file.Write(protowire.AppendBytes(nil, body)); err != nil {
		return fault.E(op, fault.Internal, err)
	}
	w.count++
	return nil
}

// Close closes the file.
func (w *ArchiveWriter) Close() error {
	return fault.E("trainer.ArchiveWriter.Close", fault.Internal, w.file.Close())
}
