// Package registry keeps models in NATS, so that training and serving processes on any machine
// find the same ones.
//
//	push DIR  -> Object Store models, an object a file -> record in KV models
//	promote   -> KV models, key serving: what serves, and what served before
//	up        -> key answers: what queries are answered by; it follows serving
//	pull      <- a model directory again, checked by its manifest
//	reindex   -> key trial: what embeds the archive beside what serves, to be compared
//	             key queries: what they are compared by
//	relabel   -> key labels: what findings are scored, in place of what the models' manifests name
//
// A record is written behind its files, and a model that is there never changes, so what a record
// names is whole. [Registry.Promote] and [Registry.Rollback] move one key, atomically.
package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/trainer"
)

// Record says of a model what the registry knows.
type Record struct {
	Ref   model.Ref         `json:"ref"`
	Files map[string]string `json:"files"` // name -> sha256 in hex, the manifest's too
	Bytes int64             `json:"bytes"`
	Data  []string          `json:"data,omitempty"` // ids of the data manifests that it saw
	Added time.Time         `json:"added"`
	// Of a model that radtrain serve made: whose studies it was trained on, and what was decided,
	// as its event has it in JSON.
	Tenant   event.Tenant    `json:"tenant,omitempty"`
	Decision json.RawMessage `json:"decision,omitempty"`
	Serving  bool            `json:"serving"` // set by [Registry.List]
}

// Holds tells whether data is the file of that name.
func (r Record) Holds(name string, data []byte) bool {
	sum := sha256.Sum256(data)
	return r.Files[name] == hex.EncodeToString(sum[:])
}

// Serving is what serves.
type Serving struct {
	Ref    model.Ref   `json:"ref"`
	Since  time.Time   `json:"since"`
	By     string      `json:"by"`               // who said so: one of the By words
	Before []model.Ref `json:"before,omitempty"` // what served before, the last one last
}

// Who makes a model serve.
const (
	ByDefault  = "default"  // radstream up, with the model that ships: no one has chosen yet
	ByOperator = "operator" // radstream models
	ByGate     = "gate"     // radtrain serve
)

// maxBefore bounds how far back a rollback goes.
const maxBefore = 32

const (
	servingKey  = "serving"
	answersKey  = "answers"
	trialKey    = "trial"
	queriesKey  = "queries"
	labelsKey   = "labels"
	modelPrefix = "model."
	// scoredPrefix and a model's key: how far what it embedded is scored by the label set.
	scoredPrefix = "scored."
)

// Registry is the registry of one NATS system. Make one with [Open].
type Registry struct {
	kv    *bus.KV
	files jetstream.ObjectStore
}

// Open opens the registry, and makes it when it is missing.
func Open(ctx context.Context, b *bus.Bus) (*Registry, error) {
	const op = "registry.Open"
	kv, err := b.KV(ctx, bus.BucketModels, 0)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	files, _, err := b.ObjectStore(ctx, bus.BucketModels)
	return &Registry{kv, files}, fault.Wrap(op, err)
}

// Push stores the model in dir. One that is there with the same files is left as it is. tenant and
// decision are those of [Record], if it has any. Errors: those of [model.Load]; Conflict when another model has the name.
func (r *Registry) Push(ctx context.Context, dir string, tenant event.Tenant, decision json.RawMessage) (Record, error) {
	const op = "registry.Push"
	m, err := model.Load(dir)
	if err != nil {
		return Record{}, fault.Wrap(op, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, model.ManifestFile))
	if err != nil {
		return Record{}, fault.E(op, fault.Internal, err)
	}
	rec := Record{Ref: m.Ref, Files: maps.Clone(m.Files), Bytes: int64(len(text)), Data: m.DataManifests, Added: time.Now().UTC(), Tenant: tenant, Decision: decision}
	sum := sha256.Sum256(text)
	rec.Files[model.ManifestFile] = hex.EncodeToString(sum[:])
	for name := range m.Files {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return Record{}, fault.E(op, fault.Internal, err)
		}
		rec.Bytes += info.Size()
	}
	have, err := r.Record(ctx, m.Ref)
	switch {
	case err == nil && maps.Equal(have.Files, rec.Files):
		return have, nil
	case err == nil:
		return Record{}, fault.Errorf(op, fault.Conflict, "the registry holds another model named %s: give this one another version", m.Ref)
	case fault.KindOf(err) != fault.NotFound:
		return Record{}, fault.Wrap(op, err)
	}
	for name := range rec.Files {
		if err := r.put(ctx, objectName(m.Ref, name), filepath.Join(dir, name)); err != nil {
			return Record{}, fault.Wrap(op, err)
		}
	}
	if text, err = json.Marshal(rec); err != nil {
		return Record{}, fault.E(op, fault.Internal, err)
	}
	_, err = r.kv.Update(ctx, modelPrefix+m.Ref.Key(), text, 0)
	return rec, fault.Wrap(op, err)
}

// SetDecision replaces what was decided of a model. NotFound when it was not pushed.
func (r *Registry) SetDecision(ctx context.Context, ref model.Ref, decision json.RawMessage) error {
	const op = "registry.SetDecision"
	rec, err := r.Record(ctx, ref)
	if err != nil {
		return fault.Wrap(op, err)
	}
	rec.Decision = decision
	text, err := json.Marshal(rec)
	if err != nil {
		return fault.E(op, fault.Internal, err)
	}
	_, err = r.kv.Put(ctx, modelPrefix+ref.Key(), text)
	return fault.Wrap(op, err)
}

// PutData keeps the data manifest in a file, so that [Registry.Saw] can tell.
func (r *Registry) PutData(ctx context.Context, m *trainer.Manifest, path string) error {
	return fault.Wrap("registry.PutData", r.put(ctx, dataName(m.ID), path))
}

func dataName(id string) string { return "data/" + id + ".json" }

// Saw returns the models that were trained on a study or measured on it, and those of which nobody
// can tell, since a data manifest that they saw was not kept.
func (r *Registry) Saw(ctx context.Context, study event.StudyKey) (saw, unknown []model.Ref, err error) {
	const op = "registry.Saw"
	all, err := r.List(ctx)
	if err != nil {
		return nil, nil, fault.Wrap(op, err)
	}
	dir, err := os.MkdirTemp("", "radstream-data-*")
	if err != nil {
		return nil, nil, fault.E(op, fault.Usage, err)
	}
	defer os.RemoveAll(dir)
	holds := map[string]bool{} // by id of a manifest; one that was not kept is not in it
	for _, rec := range all {
		for _, id := range rec.Data {
			if _, known := holds[id]; known {
				continue
			}
			m, err := r.data(ctx, id, dir)
			if err != nil && fault.KindOf(err) == fault.NotFound {
				continue
			}
			if err != nil {
				return nil, nil, fault.Wrap(op, err)
			}
			holds[id] = slices.ContainsFunc(m.Studies, func(e trainer.Entry) bool { return e.StudyKey == string(study) })
		}
		kept := func(id string) bool { _, known := holds[id]; return known }
		switch {
		case slices.ContainsFunc(rec.Data, func(id string) bool { return holds[id] }):
			saw = append(saw, rec.Ref)
		case slices.ContainsFunc(rec.Data, func(id string) bool { return !kept(id) }):
			unknown = append(unknown, rec.Ref)
		}
	}
	return saw, unknown, nil
}

// TrainedOn returns the studies that data manifests say were trained on. Manifests that were not
// kept say nothing.
func (r *Registry) TrainedOn(ctx context.Context, ids []string) (map[event.StudyKey]bool, error) {
	const op = "registry.TrainedOn"
	dir, err := os.MkdirTemp("", "radstream-data-*")
	if err != nil {
		return nil, fault.E(op, fault.Usage, err)
	}
	defer os.RemoveAll(dir)
	studies := map[event.StudyKey]bool{}
	for _, id := range ids {
		m, err := r.data(ctx, id, dir)
		if err != nil && fault.KindOf(err) == fault.NotFound {
			continue
		}
		if err != nil {
			return nil, fault.Wrap(op, err)
		}
		for _, e := range m.Studies {
			if e.Split == trainer.Train {
				studies[event.StudyKey(e.StudyKey)] = true
			}
		}
	}
	return studies, nil
}

// data reads a data manifest by way of a file in dir. NotFound for one that was not kept.
func (r *Registry) data(ctx context.Context, id, dir string) (*trainer.Manifest, error) {
	path := filepath.Join(dir, "data.json")
	if _, err := r.get(ctx, dataName(id), path); err != nil {
		return nil, err
	}
	return trainer.ReadManifest(path)
}

func objectName(r model.Ref, file string) string { return r.Key() + "/" + file }

func (r *Registry) put(ctx context.Context, name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fault.E("registry.put", fault.Internal, err)
	}
	defer f.Close()
	_, err = r.files.Put(ctx, jetstream.ObjectMeta{Name: name}, f)
	return bus.Failure("registry.put", err)
}

// Record returns the record of a model. NotFound when there is none.
func (r *Registry) Record(ctx context.Context, ref model.Ref) (Record, error) {
	const op = "registry.Record"
	var rec Record
	text, _, err := r.kv.Get(ctx, modelPrefix+ref.Key())
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return rec, fault.Errorf(op, fault.NotFound, "the registry holds no model %s: see radstream models list", ref)
	}
	if err == nil && json.Unmarshal(text, &rec) != nil {
		err = fault.Errorf(op, fault.Corrupt, "the record of %s cannot be read", ref)
	}
	return rec, fault.Wrap(op, err)
}

// Manifest returns the manifest of a model. Errors: NotFound; Corrupt when it is not what the record says.
func (r *Registry) Manifest(ctx context.Context, ref model.Ref) (*model.Manifest, error) {
	const op = "registry.Manifest"
	rec, err := r.Record(ctx, ref)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	text, err := r.files.GetBytes(ctx, objectName(ref, model.ManifestFile))
	if err != nil {
		return nil, bus.Failure(op, err)
	}
	var m model.Manifest
	if !rec.Holds(model.ManifestFile, text) || json.Unmarshal(text, &m) != nil {
		return nil, fault.Errorf(op, fault.Corrupt, "file %s of model %s is not what was pushed", model.ManifestFile, ref)
	}
	return &m, nil
}

// List returns all records, oldest first.
func (r *Registry) List(ctx context.Context) ([]Record, error) {
	const op = "registry.List"
	keys, err := r.kv.Keys(ctx)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	serving, err := r.Serving(ctx)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return nil, fault.Wrap(op, err)
	}
	var all []Record
	for _, key := range keys {
		name, ok := strings.CutPrefix(key, modelPrefix)
		if !ok {
			continue
		}
		ref, err := model.ParseKey(name)
		if err != nil {
			return nil, fault.Errorf(op, fault.Corrupt, "the bucket %s holds a key that is none of a model", bus.BucketModels)
		}
		rec, err := r.Record(ctx, ref)
		if err != nil {
			return nil, fault.Wrap(op, err)
		}
		rec.Serving = rec.Ref == serving.Ref
		all = append(all, rec)
	}
	slices.SortFunc(all, func(a, b Record) int { return a.Added.Compare(b.Added) })
	return all, nil
}

// Pull writes a model into the directory dir, which must not be there, whole or not at all.
// Errors: NotFound; Corrupt when a file is not what the record says; Conflict when dir is there.
func (r *Registry) Pull(ctx context.Context, ref model.Ref, dir string) (err error) {
	const op = "registry.Pull"
	rec, err := r.Record(ctx, ref)
	if err != nil {
		return fault.Wrap(op, err)
	}
	if _, err := os.Stat(dir); err == nil {
		return fault.Errorf(op, fault.Conflict, "%s is there already", dir)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fault.E(op, fault.Usage, err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".pulling-*")
	if err != nil {
		return fault.E(op, fault.Usage, err)
	}
	defer os.RemoveAll(tmp)
	for name, sum := range rec.Files {
		have, err := r.get(ctx, objectName(ref, name), filepath.Join(tmp, filepath.Base(name)))
		if err != nil {
			return fault.Wrap(op, err)
		}
		if have != sum {
			return fault.Errorf(op, fault.Corrupt, "file %s of model %s is not what was pushed", name, ref)
		}
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return fault.E(op, fault.Usage, err)
	}
	return fault.E(op, fault.Usage, os.Rename(tmp, dir))
}

// get writes an object to a file, synced, and returns its sha256 in hex.
func (r *Registry) get(ctx context.Context, name, path string) (string, error) {
	const op = "registry.get"
	o, err := r.files.Get(ctx, name)
	if err != nil {
		return "", bus.Failure(op, err)
	}
	defer o.Close()
	f, err := os.Create(path)
	if err != nil {
		return "", fault.E(op, fault.Usage, err)
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, h), o)
	err = bus.Failure(op, err)
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, fault.E(op, fault.Usage, errors.Join(f.Sync(), f.Close())))
}

// Serving returns what serves. NotFound when nothing was promoted yet.
func (r *Registry) Serving(ctx context.Context) (Serving, error) {
	s, _, err := r.serving(ctx)
	return s, err
}

func (r *Registry) serving(ctx context.Context) (s Serving, revision uint64, err error) {
	const op = "registry.Serving"
	text, revision, err := r.kv.Get(ctx, servingKey)
	if err != nil {
		return s, 0, fault.Wrap(op, err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, 0, fault.Errorf(op, fault.Corrupt, "what serves cannot be read from the bucket %s", bus.BucketModels)
	}
	return s, revision, nil
}

// Answers returns the model that queries are answered by: what serves, or what served before while
// the archive is being embedded under the new one. NotFound before the first.
func (r *Registry) Answers(ctx context.Context) (model.Ref, error) {
	const op = "registry.Answers"
	text, _, err := r.kv.Get(ctx, answersKey)
	if err != nil {
		return model.Ref{}, fault.Wrap(op, err)
	}
	ref, err := model.ParseRef(string(text))
	if err != nil {
		return ref, fault.Errorf(op, fault.Corrupt, "what answers cannot be read from the bucket %s", bus.BucketModels)
	}
	return ref, nil
}

// SetAnswers records that queries are answered by ref from now on.
func (r *Registry) SetAnswers(ctx context.Context, ref model.Ref) error {
	_, err := r.kv.Put(ctx, answersKey, []byte(ref.String()))
	return fault.Wrap("registry.SetAnswers", err)
}

// Promote makes ref what serves. With instead, only if that is what serves now; the zero Ref
// stands for whatever does. One that serves already goes on. The default does not take the place
// of what was chosen. Errors: NotFound for a model that was not pushed; Conflict when another one
// serves than instead, or somebody else promotes at the same time.
func (r *Registry) Promote(ctx context.Context, ref, instead model.Ref, by string) (Serving, error) {
	const op = "registry.Promote"
	if _, err := r.Record(ctx, ref); err != nil {
		return Serving{}, fault.Wrap(op, err)
	}
	now, revision, err := r.serving(ctx)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return Serving{}, fault.Wrap(op, err)
	}
	if now.Ref == ref {
		return now, nil
	}
	if instead != (model.Ref{}) && now.Ref != instead {
		return Serving{}, fault.Errorf(op, fault.Conflict, "%s serves by now, not %s", now.Ref, instead)
	}
	if by == ByDefault && now.Ref != (model.Ref{}) && now.By != ByDefault {
		return Serving{}, fault.Errorf(op, fault.Conflict, "%s was chosen by now", now.Ref)
	}
	next := Serving{Ref: ref, Since: time.Now().UTC(), By: by, Before: now.Before}
	if now.Ref != (model.Ref{}) {
		next.Before = append(slices.Clone(next.Before), now.Ref)
	}
	next.Before = next.Before[max(0, len(next.Before)-maxBefore):]
	return next, fault.Wrap(op, r.setServing(ctx, next, revision))
}

// Rollback makes what served before serve again. Errors: NotFound when nothing did.
func (r *Registry) Rollback(ctx context.Context) (Serving, error) {
	const op = "registry.Rollback"
	now, revision, err := r.serving(ctx)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return Serving{}, fault.Wrap(op, err)
	}
	if len(now.Before) == 0 {
		return Serving{}, fault.Errorf(op, fault.NotFound, "no model served before")
	}
	last := len(now.Before) - 1
	next := Serving{Ref: now.Before[last], Since: time.Now().UTC(), By: ByOperator, Before: now.Before[:last]}
	return next, fault.Wrap(op, r.setServing(ctx, next, revision))
}

func (r *Registry) setServing(ctx context.Context, s Serving, last uint64) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fault.E("registry.set", fault.Internal, err)
	}
	_, err = r.kv.Update(ctx, servingKey, text, last)
	return err
}
