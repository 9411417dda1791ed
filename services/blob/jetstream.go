package blob

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// JetStream keeps objects in a NATS Object Store, under the hash as name. The server
// holds an object in pieces.
//
// A plain delete of the client library leaves the bytes in the server's files, and makes it
// impossible to overwrite them afterwards. So Delete overwrites each piece, and Put removes in
// that way what it puts anew; nothing here is removed in another.
//
// Every method may be called from many goroutines. Besides the errors named below: Unavailable
// when the server cannot be reached, Transient when it failed this time.
type JetStream struct {
	bucket   jetstream.ObjectStore
	stream   jetstream.Stream // that holds the bucket
	maxBytes uint64
}

// NewJetStream keeps objects of up to maxBytes each in bucket, which lies in stream;
// services/bus makes both.
func NewJetStream(bucket jetstream.ObjectStore, stream jetstream.Stream, maxBytes uint64) *JetStream {
	return &JetStream{bucket: bucket, stream: stream, maxBytes: maxBytes}
}

// Put stores data durably and returns its reference, without a media type, which the caller
// knows. Errors: Unsupported with [ReasonTooLarge].
func (s *JetStream) Put(ctx context.Context, data []byte) (*radstreamv1.ObjectRef, error) {
	const op = "blob.JetStream.Put"
	if uint64(len(data)) > s.maxBytes {
		return nil, tooLarge(op, uint64(len(data)), s.maxBytes)
	}
	ref := newRef(data)
	name := strings.TrimPrefix(ref.Uri, objectScheme)
	info, err := s.bucket.GetInfo(ctx, name)
	switch {
	case err == nil && info.Size == ref.Size:
		err = s.whole(ctx, info)
		if err == nil {
			return ref, nil
		}
		if fault.ReasonOf(err) != ReasonIncomplete {
			return nil, fault.Wrap(op, err)
		}
		fallthrough
	case err == nil:
		if err := s.Delete(ctx, ref); err != nil {
			return nil, fault.Wrap(op, err)
		}
	case !errors.Is(err, jetstream.ErrObjectNotFound):
		return nil, busFault(op, err)
	}
	ctx, cancel := limit(ctx, ref.Size)
	defer cancel()
	if _, err := s.bucket.Put(ctx, jetstream.ObjectMeta{Name: name}, bytes.NewReader(data)); err != nil {
		return nil, busFault(op, err)
	}
	return ref, nil
}

// pieces is the subject that an object's pieces have (ADR-20).
func pieces(info *jetstream.ObjectInfo) string { return "$O." + info.Bucket + ".C." + info.NUID }

// whole checks that every piece of an object is there. The client library sends the pieces
// and the description of an object at once, so a server that dies meanwhile may keep the
// description alone.
func (s *JetStream) whole(ctx context.Context, info *jetstream.ObjectInfo) error {
	const op = "blob.whole"
	state, err := s.stream.Info(ctx, jetstream.WithSubjectFilter(pieces(info)))
	if err != nil {
		return busFault(op, err)
	}
	if have := state.State.Subjects[pieces(info)]; have != uint64(info.Chunks) {
		return fault.Reject(op, fault.NotFound, ReasonIncomplete, "%d of the object's %d pieces are there; it has to be put again", have, info.Chunks)
	}
	return nil
}

// Get returns the bytes. A size of 0 and an empty sha256 in ref are not compared; the hash in the
// URI always is. Errors: Invalid with [ReasonMissing], [ReasonMalformed] or [ReasonMismatch] (ref
// contradicts itself or its size is wrong), NotFound with [ReasonIncomplete], Unsupported with
// [ReasonTooLarge] or [ReasonNotAllowed], Corrupt when the stored bytes have changed.
func (s *JetStream) Get(ctx context.Context, ref *radstreamv1.ObjectRef) (_ []byte, err error) {
	const op = "blob.JetStream.Get"
	name, err := objectName(op, ref)
	if err != nil {
		return nil, err
	}
	for {
		info, err := s.bucket.GetInfo(ctx, name)
		if err != nil {
			return nil, busFault(op, err)
		}
		if err := checkSize(op, ref, info.Size, s.maxBytes); err != nil {
			return nil, err
		}
		data, err := s.read(ctx, info)
		if err == nil {
			err = checkStored(op, name, data)
		}
		if err == nil {
			return data, nil
		}
		// Who put the same bytes at the same time has taken these pieces away for its own.
		if now, err := s.bucket.GetInfo(ctx, name); err == nil && now.NUID != info.NUID {
			continue
		}
		return nil, fault.Wrap(op, err)
	}
}

// read asks for the pieces of an object one by one. The client library's own reader has
// the server send them, and waits until its time is over for one that was taken away.
func (s *JetStream) read(ctx context.Context, info *jetstream.ObjectInfo) ([]byte, error) {
	const op = "blob.read"
	data := make([]byte, 0, info.Size)
	sequence := uint64(1)
	for range info.Chunks {
		piece, err := s.stream.GetMsg(ctx, sequence, jetstream.WithGetMsgSubject(pieces(info)))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			if err := s.whole(ctx, info); err != nil {
				return nil, err
			}
			return nil, fault.Errorf(op, fault.Transient, "the server that was asked does not have all of the object's pieces yet")
		}
		if err != nil {
			return nil, busFault(op, err)
		}
		if uint64(len(data)+len(piece.Data)) > info.Size {
			return nil, fault.Errorf(op, fault.Corrupt, "the pieces of object %s have more than its %d bytes", info.Name, info.Size)
		}
		data = append(data, piece.Data...)
		sequence = piece.Sequence + 1
	}
	return data, nil
}

// Stat returns the size in bytes without reading them. Errors as for Get, but damage is not
// found.
func (s *JetStream) Stat(ctx context.Context, ref *radstreamv1.ObjectRef) (uint64, error) {
	const op = "blob.JetStream.Stat"
	name, err := objectName(op, ref)
	if err != nil {
		return 0, err
	}
	info, err := s.bucket.GetInfo(ctx, name)
	if err != nil {
		return 0, busFault(op, err)
	}
	return info.Size, checkSize(op, ref, info.Size, s.maxBytes)
}

// Delete removes the object, the pieces first, so that one that was broken off is found again. An
// object that is not there is no error.
func (s *JetStream) Delete(ctx context.Context, ref *radstreamv1.ObjectRef) error {
	const op = "blob.JetStream.Delete"
	name, err := objectName(op, ref)
	if err != nil {
		return err
	}
	info, err := s.bucket.GetInfo(ctx, name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil
	}
	if err != nil {
		return busFault(op, err)
	}
	for {
		piece, err := s.stream.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(pieces(info)))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return busFault(op, err)
		}
		if err := s.overwrite(ctx, piece.Sequence); err != nil {
			return fault.Wrap(op, err)
		}
	}
	meta, err := s.stream.GetLastMsgForSubject(ctx, "$O."+info.Bucket+".M."+base64.URLEncoding.EncodeToString([]byte(name)))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return busFault(op, err)
	}
	return fault.Wrap(op, s.overwrite(ctx, meta.Sequence))
}

// overwrite removes a message and overwrites its bytes; one that somebody else removed is no error.
func (s *JetStream) overwrite(ctx context.Context, sequence uint64) error {
	failed := s.stream.SecureDeleteMsg(ctx, sequence)
	if failed == nil {
		return nil
	}
	if _, err := s.stream.GetMsg(ctx, sequence); errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	return busFault("blob.overwrite", failed)
}

// limit gives an object time by its size: the client library gives the whole of it 10 s.
func limit(ctx context.Context, size uint64) (context.Context, context.CancelFunc) {
	const least, perMiB = 10 * time.Second, 500 * time.Millisecond
	return context.WithTimeout(ctx, least+time.Duration(size>>20)*perMiB)
}

// busFault sorts the errors of nats.go.
func busFault(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return fault.Wrap(op, err)
	case errors.Is(err, jetstream.ErrObjectNotFound):
		return missing(op)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrTimeout),
		errors.Is(err, nats.ErrDisconnected), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, jetstream.ErrBucketNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
		return fault.E(op, fault.Unavailable, err)
	}
	return fault.E(op, fault.Transient, err)
}
