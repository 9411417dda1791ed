package app

import (
	"context"

	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/bus"
)

// identity is the guarded lookup from study keys back to StudyUIDs, in KV identity.
type identity struct{ kv *bus.KV }

func openIdentity(ctx context.Context, b *bus.Bus) (identity, error) {
	kv, err := b.KV(ctx, bus.BucketIdentity, 0)
	return identity{kv}, fault.Wrap("app.openIdentity", err)
}

func identityKey(t event.Tenant, k event.StudyKey) string { return string(t) + "." + string(k) }

// PutStudy remembers what k stands for. What is there stays: it is the same, and a value
// that was replaced could not be overwritten on disk any more.
func (i identity) PutStudy(ctx context.Context, t event.Tenant, k event.StudyKey, uid event.StudyUID) error {
	_, err := i.kv.Update(ctx, identityKey(t, k), []byte(uid), 0)
	if fault.KindOf(err) == fault.Conflict {
		return nil
	}
	return fault.Wrap("app.PutStudy", err)
}

// CheckKey holds a tenant's key to the one that the archive's pseudonyms were made with.
// Errors: Usage when it is another.
func (i identity) CheckKey(ctx context.Context, t event.Tenant, k deid.Key) error {
	const op = "app.CheckKey"
	name, print := identityKey(t, "_key"), []byte(k.Fingerprint())
	_, err := i.kv.Update(ctx, name, print, 0)
	if fault.KindOf(err) != fault.Conflict {
		return fault.Wrap(op, err)
	}
	archived, _, err := i.kv.Get(ctx, name)
	if err == nil && string(archived) != string(print) {
		return fault.Errorf(op, fault.Usage, "the key of tenant %s is not the one that the archive was made with: its studies would be there twice; share tenants.keys_dir, or restore it from a backup", t)
	}
	return fault.Wrap(op, err)
}

// Study returns the StudyUID behind k. NotFound when it was never put, or was erased.
func (i identity) Study(ctx context.Context, t event.Tenant, k event.StudyKey) (event.StudyUID, error) {
	uid, _, err := i.kv.Get(ctx, identityKey(t, k))
	return event.StudyUID(uid), fault.Wrap("app.Study", err)
}
