package bus

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/stage"
)

// Buckets of the system.
const (
	BucketIdentity = "identity" // study key -> identifiers; guarded lookup
	BucketPending  = "pending"  // accession number or patient -> arrivals that wait, as references
	BucketModels   = "models"   // records of models, in KV, and an Object Store of their files
	BucketObjects  = "objects"  // Object Store of DICOM files and films
	bucketAttempts = "attempts" // marks of handling, see services/stage
)

// KV is one bucket of keys and values, on disk, last value only. Keys are words of
// letters, digits, '-', '_', '=', '/' with dots between.
type KV struct {
	b      *Bus
	bucket string
	kv     jetstream.KeyValue
}

// KV opens a bucket and creates it when it is missing. With maxAge above zero a new
// bucket forgets values that old.
//
// Unlike the buckets that the client library makes, these allow deletion by sequence, so
// that [KV.Erase] can overwrite a value on disk.
func (b *Bus) KV(ctx context.Context, bucket string, maxAge time.Duration) (*KV, error) {
	const op = "bus.KV"
	kv, err := b.js.KeyValue(ctx, bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		_, err = b.js.CreateStream(ctx, jetstream.StreamConfig{
			Name:              "KV_" + bucket,
			Subjects:          []string{"$KV." + bucket + ".>"},
			Storage:           jetstream.FileStorage,
			MaxMsgsPerSubject: 1,
			MaxAge:            maxAge,
			MaxMsgs:           -1, MaxBytes: -1, MaxMsgSize: -1, MaxConsumers: -1,
			Duplicates:  duplicates,
			Discard:     jetstream.DiscardNew,
			AllowRollup: true,
			AllowDirect: true,
			Replicas:    1,
		})
		if err == nil || errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			kv, err = b.js.KeyValue(ctx, bucket)
		}
	}
	if err != nil {
		return nil, Failure(op, err)
	}
	return &KV{b: b, bucket: bucket, kv: kv}, nil
}

// Get returns a value and its revision. Errors: NotFound, or the bus's own.
func (k *KV) Get(ctx context.Context, key string) (value []byte, revision uint64, err error) {
	e, err := k.kv.Get(ctx, key)
	if err != nil {
		return nil, 0, Failure("bus.KV.Get", err)
	}
	return e.Value(), e.Revision(), nil
}

// Put sets a value and returns its revision.
func (k *KV) Put(ctx context.Context, key string, value []byte) (revision uint64, err error) {
	revision, err = k.kv.Put(ctx, key, value)
	return revision, Failure("bus.KV.Put", err)
}

// Update sets a value only if the key's last revision is the given one, 0 for a key that
// is not there; else the error is a Conflict.
func (k *KV) Update(ctx context.Context, key string, value []byte, last uint64) (revision uint64, err error) {
	if last == 0 {
		revision, err = k.kv.Create(ctx, key, value)
	} else {
		revision, err = k.kv.Update(ctx, key, value, last)
	}
	return revision, Failure("bus.KV.Update", err)
}

// Delete removes a key; the old value may stay readable on disk. A missing key is no error.
func (k *KV) Delete(ctx context.Context, key string) error {
	return Failure("bus.KV.Delete", k.kv.Purge(ctx, key))
}

// Erase removes a key, overwrites its value on disk, and tells whether it was there. A value
// that Put or Update replaced before is gone from the bucket, but its bytes stay until the
// server compacts the file: a key that may have to be erased is set once.
func (k *KV) Erase(ctx context.Context, key string) (bool, error) {
	const op = "bus.KV.Erase"
	_, seq, err := k.Get(ctx, key)
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return false, nil
	}
	if err != nil {
		return false, fault.Wrap(op, err)
	}
	return true, fault.Wrap(op, k.b.SecureDelete(ctx, "KV_"+k.bucket, seq))
}

// Keys lists every key of the bucket, in order.
func (k *KV) Keys(ctx context.Context) ([]string, error) {
	keys, err := k.Matching(ctx, ">")
	return keys, fault.Wrap("bus.KV.Keys", err)
}

// Matching lists the keys that match a filter, in which a word may be '*' and the last one '>', in
// order. It reads the stream: the client library's own lists end without an error where the
// connection or ctx does.
func (k *KV) Matching(ctx context.Context, filter string) ([]string, error) {
	prefix := "$KV." + k.bucket + "."
	there := map[string]bool{} // a key comes twice when it was set or deleted meanwhile
	c := WatchConfig{Stream: "KV_" + k.bucket, Subjects: []event.Subject{event.Subject(prefix + filter)}, Start: LastPerSubject(), HeadersOnly: true}
	err := k.b.drain(ctx, c, 0, func(m jetstream.Msg, _ *jetstream.MsgMetadata) error {
		there[strings.TrimPrefix(m.Subject(), prefix)] = m.Headers().Get("KV-Operation") == "" // else it says that the key is deleted (ADR-8)
		return nil
	})
	if err != nil {
		return nil, fault.Wrap("bus.KV.Matching", err)
	}
	maps.DeleteFunc(there, func(_ string, is bool) bool { return !is })
	return slices.Sorted(maps.Keys(there)), nil
}

// ObjectStore opens an object store, and creates it, on disk, when it is missing. It
// returns the stream that holds it as well.
func (b *Bus) ObjectStore(ctx context.Context, name string) (jetstream.ObjectStore, jetstream.Stream, error) {
	const op = "bus.ObjectStore"
	o, err := b.js.ObjectStore(ctx, name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		o, err = b.js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: name, Storage: jetstream.FileStorage})
		if errors.Is(err, jetstream.ErrBucketExists) {
			o, err = b.js.ObjectStore(ctx, name)
		}
	}
	if err != nil {
		return nil, nil, Failure(op, err)
	}
	s, err := b.js.Stream(ctx, "OBJ_"+name) // the name that every client of an Object Store uses (ADR-20)
	return o, s, Failure(op, err)
}

// Attempts is a [stage.Attempts] in a bucket.
type Attempts struct{ kv *KV }

var _ stage.Attempts = (*Attempts)(nil)

// Attempts opens the bucket. A mark that nobody took back (its message was settled just
// before the process died) goes after a month.
func (b *Bus) Attempts(ctx context.Context) (*Attempts, error) {
	kv, err := b.KV(ctx, bucketAttempts, 30*24*time.Hour)
	if err != nil {
		return nil, err
	}
	return &Attempts{kv: kv}, nil
}

// Load returns the count under key, 0 when there is none.
func (a *Attempts) Load(ctx context.Context, key string) (int, error) {
	v, _, err := a.kv.Get(ctx, key)
	switch {
	case err != nil && fault.KindOf(err) == fault.NotFound:
		return 0, nil
	case err != nil:
		return 0, fault.Wrap("bus.Attempts.Load", err)
	}
	n, err := strconv.Atoi(string(v))
	return n, fault.E("bus.Attempts.Load", fault.Corrupt, err)
}

// Store sets the count under key; 0 removes it.
func (a *Attempts) Store(ctx context.Context, key string, n int) error {
	if n == 0 {
		return fault.Wrap("bus.Attempts.Store", a.kv.Delete(ctx, key))
	}
	_, err := a.kv.Put(ctx, key, []byte(strconv.Itoa(n)))
	return fault.Wrap("bus.Attempts.Store", err)
}
