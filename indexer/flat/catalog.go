package flat

import (
	"maps"
	"slices"

	"github.com/radstream/radstream/schemas/fault"
)

// Info describes a collection.
type Info struct {
	Name    string // the collection's own name when asked by alias
	Config  Config
	Indexes map[string]Index
	Points  int
	Vectors int // over all names
}

// AliasAction is one step of UpdateAliases: From empty creates (or moves) alias To onto
// Collection; To empty deletes alias From; with both, From is renamed To.
type AliasAction struct{ From, To, Collection string }

// CreateCollection makes an empty collection. Conflict: the name is taken by a collection
// or an alias.
func (db *DB) CreateCollection(name string, cfg Config) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := cfg.validate(); err != nil {
		return err
	}
	cfg.Vectors = maps.Clone(cfg.Vectors)
	return db.mutate(func(t *txn) error {
		if _, err := db.collection(name); err == nil {
			return fault.Errorf("flat.CreateCollection", fault.Conflict, "collection %q already exists", name)
		}
		return t.emit(record{kind: recCreate, collection: db.nextID, name: name, config: cfg})
	})
}

// DeleteCollection removes a collection, its points and its aliases; ok is false when no
// collection has this name. An alias is not followed.
func (db *DB) DeleteCollection(name string) (ok bool, err error) {
	err = db.mutate(func(t *txn) error {
		db.mu.RLock()
		id, known := db.names[name]
		db.mu.RUnlock()
		if ok = known; !ok {
			return nil
		}
		return t.emit(record{kind: recDrop, collection: id})
	})
	return ok, err
}

// UpdateAliases applies all actions or none, in one record: a reader sees the state before
// or after. NotFound: a collection to point at, or an alias to rename, is not there.
// Conflict: a collection has the alias's name.
func (db *DB) UpdateAliases(actions []AliasAction) error {
	return db.mutate(func(t *txn) error {
		next := db.aliasMap()
		for _, a := range actions {
			if a.To == "" {
				delete(next, a.From)
				continue
			}
			if err := checkName(a.To); err != nil {
				return err
			}
			db.mu.RLock()
			id, known := db.names[a.Collection]
			_, taken := db.names[a.To]
			db.mu.RUnlock()
			if a.From != "" {
				if id, known = next[a.From]; !known {
					return fault.Errorf("flat.UpdateAliases", fault.NotFound, "alias %q doesn't exist", a.From)
				}
			}
			switch {
			case !known:
				return fault.Errorf("flat.UpdateAliases", fault.NotFound, "collection %q doesn't exist", a.Collection)
			case taken:
				return fault.Errorf("flat.UpdateAliases", fault.Conflict, "collection %q already exists", a.To)
			}
			delete(next, a.From)
			next[a.To] = id
		}
		return t.emit(record{kind: recAliases, aliases: next})
	})
}

// CreateIndex declares a payload field; an index that exists is replaced.
func (db *DB) CreateIndex(name, field string, ix Index) error {
	if _, err := ParsePath(field); err != nil {
		return err
	}
	return db.onCollection(name, func(t *txn, c *collection) error {
		return t.emit(record{kind: recIndex, collection: c.id, name: field, index: ix})
	})
}

// DeleteIndex forgets a payload field's declaration; without one it does nothing.
func (db *DB) DeleteIndex(name, field string) error {
	return db.onCollection(name, func(t *txn, c *collection) error {
		return t.emit(record{kind: recUnindex, collection: c.id, name: field})
	})
}

// SetSettings replaces what a caller keeps beside a collection; the store does not look at it.
func (db *DB) SetSettings(name, settings string) error {
	return db.onCollection(name, func(t *txn, c *collection) error {
		return t.emit(record{kind: recSetting, collection: c.id, name: settings})
	})
}

// Settings returns what was kept by [DB.SetSettings], and whether a field has an index.
func (db *DB) Settings(name string) (settings string, indexed func(field string) bool, err error) {
	c, err := db.collection(name)
	if err != nil {
		return "", nil, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.settings, func(field string) bool {
		c.mu.RLock()
		defer c.mu.RUnlock()
		_, ok := c.indexes[field]
		return ok
	}, nil
}

// Collections lists the names in alphabetical order.
func (db *DB) Collections() []string {
	db.mu.RLock()
	defer db.mu.RUnlock()
	return slices.Sorted(maps.Keys(db.names))
}

// Aliases maps each alias to the name of its collection.
func (db *DB) Aliases() map[string]string {
	db.mu.RLock()
	defer db.mu.RUnlock()
	out := make(map[string]string, len(db.aliases))
	for alias, id := range db.aliases {
		out[alias] = db.collections[id].name
	}
	return out
}

// Info describes the collection of this name or alias.
func (db *DB) Info(collection string) (Info, error) {
	c, err := db.collection(collection)
	if err != nil {
		return Info{}, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	info := Info{Name: c.name, Config: Config{maps.Clone(c.cfg.Vectors)}, Indexes: maps.Clone(c.indexes), Points: len(c.slots)}
	for _, col := range c.columns {
		for _, has := range col.present {
			if has {
				info.Vectors++
			}
		}
	}
	return info, nil
}

func (db *DB) aliasMap() map[string]uint64 {
	db.mu.RLock()
	defer db.mu.RUnlock()
	return maps.Clone(db.aliases)
}
