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

// Ring reads and makes secrets. It is safe for concurrent use, also by several processes.
type Ring struct {
	dir string

	mu   sync.Mutex
	keys map[event.Tenant]deid.Key
}

// Open uses dir, which is made when it is missing.
func Open(dir string) (*Ring, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.E("keyring.Open", fault.Usage, err)
	}
	return &Ring{dir: dir, keys: map[event.Tenant]deid.Key{}}, nil
}

// Key returns the secret of t, making it if t was never met.
//
// Errors: Usage when the file does not hold a secret, so that nothing is rejected for it;
// Transient when it cannot be read or written.
func (r *Ring) Key(t event.Tenant) (deid.Key, error) { return r.key(t, true) }

// Lookup is [Ring.Key] for those who only ask: a tenant that was never met is NotFound.
func (r *Ring) Lookup(t event.Tenant) (deid.Key, error) { return r.key(t, false) }

func (r *Ring) key(t event.Tenant, create bool) (deid.Key, error) {
	const op = "keyring.Key"
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := r.keys[t]; ok {
		return k, nil
	}
	file := filepath.Join(r.dir, string(t)+".key")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && !create {
		return deid.Key{}, fault.Errorf(op, fault.NotFound, "nothing is known of this tenant")
	}
	if errors.Is(err, fs.ErrNotExist) {
		if err := r.create(file); err != nil {
			return deid.Key{}, fault.E(op, fault.Transient, err)
		}
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return deid.Key{}, fault.E(op, fault.Transient, err)
	}
	secret, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(secret) != deid.KeySize {
		return deid.Key{}, fault.Errorf(op, fault.Usage, "%s must hold %d bytes in hex; restore it from a backup", file, deid.KeySize)
	}
	k, err := deid.NewKey(secret)
	if err != nil {
		return deid.Key{}, fault.Wrap(op, err)
	}
	r.keys[t] = k
	return k, nil
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
