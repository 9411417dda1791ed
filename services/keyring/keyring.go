// Package keyring keeps the secret of each tenant, from which pseudonyms are made
// (ingest/deid), as one file a tenant in a folder of its own.
//
// A secret is made when a tenant is first met. It must outlive the archive: without it
// the studies of the archive can no longer be joined with new arrivals. Processes that
// share an archive share this folder. Back it up apart from the data, since the two
// together undo the pseudonyms.
package keyring

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

// ReasonKey is the reason for which nothing of a tenant can be handled: its secret is damaged, cannot
// be read or written, or is not the one that the archive was made with.
const ReasonKey fault.Reason = "tenant_key_unusable"

// Ring reads and makes secrets. It is safe for concurrent use, also by several processes.
type Ring struct {
	dir string

	mu   sync.Mutex
	keys map[event.Tenant]deid.Key
}

// File names the file of a tenant in the folder.
func File(t event.Tenant) string { return string(t) + ".key" }

// Open uses dir, which is made when it is missing.
func Open(dir string) (*Ring, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.E("keyring.Open", fault.Usage, err)
	}
	return &Ring{dir: dir, keys: map[event.Tenant]deid.Key{}}, nil
}

// Key returns the secret of t, making it if t was never met.
//
// Errors, with ReasonKey: Corrupt when the file does not hold a secret, or this process may not read
// or write it; Transient when it cannot be read or written for another cause. They name the tenant
// and the file, and hold nothing of what is in it.
func (r *Ring) Key(t event.Tenant) (deid.Key, error) { return r.key(t, true) }

// Lookup is [Ring.Key] for those who only ask: a tenant that was never met is NotFound.
func (r *Ring) Lookup(t event.Tenant) (deid.Key, error) { return r.key(t, false) }

// Forget has the file of t read again, since what it held turned out to be wrong.
func (r *Ring) Forget(t event.Tenant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.keys, t)
}

func (r *Ring) key(t event.Tenant, create bool) (deid.Key, error) {
	const op = "keyring.Key"
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := r.keys[t]; ok {
		return k, nil
	}
	file := filepath.Join(r.dir, File(t))
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && !create {
		return deid.Key{}, fault.Errorf(op, fault.NotFound, "nothing is known of this tenant")
	}
	if errors.Is(err, fs.ErrNotExist) {
		if err := r.create(file); err != nil {
			return deid.Key{}, inaccessible(t, err)
		}
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return deid.Key{}, inaccessible(t, err)
	}
	secret, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(secret) != deid.KeySize {
		return deid.Key{}, fault.Reject(op, fault.Corrupt, ReasonKey, "the key of tenant %s is damaged: %s must hold %d bytes in hex; restore it from a backup", t, file, deid.KeySize)
	}
	k, err := deid.NewKey(secret)
	if err != nil {
		return deid.Key{}, fault.Wrap(op, err)
	}
	r.keys[t] = k
	return k, nil
}

// inaccessible is the error for a file that cannot be read or written. Permissions do not pass.
func inaccessible(t event.Tenant, err error) error {
	kind := fault.Transient
	if errors.Is(err, fs.ErrPermission) {
		kind = fault.Corrupt
	}
	return fault.Reject("keyring.Key", kind, ReasonKey, "the key of tenant %s cannot be read or written: %w", t, err)
}

// create writes a new secret to file, whole and synced or not at all. When another
// process was faster its secret stays.
func (r *Ring) create(file string) (err error) {
	secret := make([]byte, deid.KeySize)
	rand.Read(secret) // never fails (crypto/rand)
	tmp, err := os.CreateTemp(r.dir, ".key-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(hex.EncodeToString(secret) + "\n")
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	dir, err := os.Open(r.dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
