package app

import (
	"context"
	"slices"
	"strings"

	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/keyring"
)

// identity is the guarded lookup from study keys back to StudyUIDs, in KV identity. It also
// holds which patients were merged and which studies bear an accession number, by their keys.
type identity struct{ kv *bus.KV }

var _ identities = identity{}

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
// Errors: Corrupt keyring.ReasonKey when it is another.
func (i identity) CheckKey(ctx context.Context, t event.Tenant, k deid.Key) error {
	const op = "app.CheckKey"
	name, print := identityKey(t, "_key"), []byte(k.Fingerprint())
	_, err := i.kv.Update(ctx, name, print, 0)
	if fault.KindOf(err) != fault.Conflict {
		return fault.Wrap(op, err)
	}
	archived, _, err := i.kv.Get(ctx, name)
	if err == nil && string(archived) != string(print) {
		return fault.Reject(op, fault.Corrupt, keyring.ReasonKey, "the key of tenant %s is not the one that the archive was made with: its studies would be there twice; share tenants.keys_dir, or restore %s in it from a backup", t, keyring.File(t))
	}
	return fault.Wrap(op, err)
}

// Tenants lists those whose key the archive's pseudonyms were made with.
func (i identity) Tenants(ctx context.Context) ([]event.Tenant, error) {
	names, err := i.kv.Matching(ctx, identityKey("*", "_key"))
	all := make([]event.Tenant, len(names))
	for n, name := range names {
		tenant, _, _ := strings.Cut(name, ".")
		all[n] = event.Tenant(tenant)
	}
	return all, fault.Wrap("app.Tenants", err)
}

// Study returns the StudyUID behind k. NotFound when it was never put, or was erased.
func (i identity) Study(ctx context.Context, t event.Tenant, k event.StudyKey) (event.StudyUID, error) {
	uid, _, err := i.kv.Get(ctx, identityKey(t, k))
	return event.StudyUID(uid), fault.Wrap("app.Study", err)
}

// Forget erases what k stands for, on disk as well, and tells whether it was there.
func (i identity) Forget(ctx context.Context, t event.Tenant, k event.StudyKey) (bool, error) {
	was, err := i.kv.Erase(ctx, identityKey(t, k))
	return was, fault.Wrap("app.Forget", err)
}

// MergedInto returns the patients that were merged into p, directly or through others.
func (i identity) MergedInto(ctx context.Context, t event.Tenant, p event.PatientKey, resolve func(event.PatientKey) event.PatientKey) ([]event.PatientKey, error) {
	keys, err := i.kv.Matching(ctx, mergeKey(t, "", "*"))
	if err != nil {
		return nil, fault.Wrap("app.MergedInto", err)
	}
	var all []event.PatientKey
	for _, key := range keys {
		if from := event.PatientKey(key[strings.LastIndexByte(key, '.')+1:]); resolve(from) == p {
			all = append(all, from)
		}
	}
	return all, nil
}

// Corrections erases the corrections of the patient of study k, and returns how many there were.
func (i identity) Corrections(ctx context.Context, t event.Tenant, k event.StudyKey) (int, error) {
	const op = "app.Corrections"
	keys, err := i.kv.Matching(ctx, mergeKey(t, k, "*"))
	for _, key := range keys {
		if err == nil {
			_, err = i.kv.Erase(ctx, key)
		}
	}
	return len(keys), fault.Wrap(op, err)
}

// mergeKey is where the merge of patient p is kept, or the correction of one study's.
func mergeKey(t event.Tenant, k event.StudyKey, p event.PatientKey) string {
	key := string(t) + "._merged." + string(p)
	if k != "" {
		key += "." + string(k)
	}
	return key
}

// PutMerge remembers that patient from is patient to: in study k alone, or everywhere when k
// is empty. Errors: Invalid merge_contradiction when from was merged into another patient that
// is not to.
func (i identity) PutMerge(ctx context.Context, t event.Tenant, k event.StudyKey, from, to event.PatientKey) error {
	const op = "app.PutMerge"
	_, err := i.kv.Update(ctx, mergeKey(t, k, from), []byte(to), 0)
	if err == nil || fault.KindOf(err) != fault.Conflict {
		return fault.Wrap(op, err)
	}
	have, _, err := i.kv.Get(ctx, mergeKey(t, k, from))
	if err == nil && string(have) != string(to) {
		return fault.Reject(op, fault.Invalid, reasonMerged, "the patient that is given up was merged into another one before: to make the three one, merge that one")
	}
	return fault.Wrap(op, err)
}

// Merged returns the patient that from was merged into, in study k or everywhere. NotFound when
// it was not.
func (i identity) Merged(ctx context.Context, t event.Tenant, k event.StudyKey, from event.PatientKey) (event.PatientKey, error) {
	const op = "app.Merged"
	if k != "" {
		to, _, err := i.kv.Get(ctx, mergeKey(t, k, from))
		if fault.KindOf(err) != fault.NotFound || err == nil {
			return event.PatientKey(to), fault.Wrap(op, err)
		}
	}
	to, _, err := i.kv.Get(ctx, mergeKey(t, "", from))
	return event.PatientKey(to), fault.Wrap(op, err)
}

// words is a set of lists of words in a bucket, under a prefix. Lists only grow, but for what is
// erased.
type words struct {
	kv     *bus.KV
	prefix string
	limit  int // words of a list
}

var _ lists = words{}

// reasonLongList refuses what is one too many, such as the 257th report of an accession number.
const reasonLongList fault.Reason = "too_many_of_one_name"

// Add puts word into a list, once. Errors: Unsupported too_many_of_one_name; the bus's own.
func (w words) Add(ctx context.Context, t event.Tenant, list, word string) error {
	const op = "app.words.Add"
	key := string(t) + "." + w.prefix + list
	for {
		value, last, err := w.kv.Get(ctx, key)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return fault.Wrap(op, err)
		}
		all := strings.Fields(string(value))
		if slices.Contains(all, word) {
			return nil
		}
		if len(all) >= w.limit {
			return fault.Reject(op, fault.Unsupported, reasonLongList, "%d arrivals may name one accession number or wait for one patient", w.limit)
		}
		_, err = w.kv.Update(ctx, key, []byte(strings.Join(append(all, word), " ")), last)
		if err == nil || fault.KindOf(err) != fault.Conflict {
			return fault.Wrap(op, err)
		}
		if err := ctx.Err(); err != nil { // somebody else was quicker: look again
			return fault.Wrap(op, err)
		}
	}
}

// Get returns a list, in the order in which it grew.
func (w words) Get(ctx context.Context, t event.Tenant, list string) ([]string, error) {
	value, _, err := w.kv.Get(ctx, string(t)+"."+w.prefix+list)
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	return strings.Fields(string(value)), fault.Wrap("app.words.Get", err)
}

// Remove takes words out of a list, and tells whether one of them was in it.
func (w words) Remove(ctx context.Context, t event.Tenant, list string, gone map[string]bool) (bool, error) {
	const op = "app.words.Remove"
	key := string(t) + "." + w.prefix + list
	for {
		value, last, err := w.kv.Get(ctx, key)
		if err != nil && fault.KindOf(err) == fault.NotFound {
			return false, nil
		}
		if err != nil {
			return false, fault.Wrap(op, err)
		}
		all := strings.Fields(string(value))
		left := slices.DeleteFunc(slices.Clone(all), func(word string) bool { return gone[word] })
		if len(left) == len(all) {
			return false, nil
		}
		_, err = w.kv.Update(ctx, key, []byte(strings.Join(left, " ")), last)
		if err == nil || fault.KindOf(err) != fault.Conflict {
			return true, fault.Wrap(op, err)
		}
		if err := ctx.Err(); err != nil {
			return false, fault.Wrap(op, err)
		}
	}
}

// Drop removes a list.
func (w words) Drop(ctx context.Context, t event.Tenant, list string) error {
	_, err := w.kv.Erase(ctx, string(t)+"."+w.prefix+list)
	return fault.Wrap("app.words.Drop", err)
}
