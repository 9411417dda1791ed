package app

import (
	"context"

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

// PutStudy remembers what k stands for.
func (i identity) PutStudy(ctx context.Context, t event.Tenant, k event.StudyKey, uid event.StudyUID) error {
	_, err := i.kv.Put(ctx, identityKey(t, k), []byte(uid))
	return fault.Wrap("app.PutStudy", err)
}

// Study returns the StudyUID behind k. NotFound when it was never put, or was erased.
func (i identity) Study(ctx context.Context, t event.Tenant, k event.StudyKey) (event.StudyUID, error) {
	uid, _, err := i.kv.Get(ctx, identityKey(t, k))
	return event.StudyUID(uid), fault.Wrap("app.Study", err)
}
