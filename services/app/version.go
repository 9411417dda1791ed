package app

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/lifecycle"
	"github.com/radstream/radstream/services/query"
	"github.com/radstream/radstream/services/registry"
)

// version is one model at work in this process: its encoder, its collection, and the loops of
// embed and index that fill it, as far as this process is to run them. While a model takes the
// place of another two versions are at work beside each other.
type version struct {
	app        *App
	manifest   *model.Manifest
	dir        string
	collection string
	archive    uint64       // last sequence of PREPARED when the version began, or was ready
	ready      atomic.Bool  // is about to answer: what is announced must be in its collection too
	model      *loadedModel // nil where neither embed nor query runs here

	labels     atomic.Pointer[labelSet] // that was taken up last
	labelsMu   sync.Mutex               // held by who takes another up
	rescored   registry.Scored          // by the loop of [version.startLabels]
	rescoredTo uint64                   // sequence of EMBEDDED that holds the last of them

	group  *lifecycle.Group
	cancel context.CancelFunc
	done   chan struct{}
	err    error          // of the group; valid once done is closed
	hangs  []string       // graphs that do not answer; App.mu
	users  sync.WaitGroup // queries under way; App.mu is held to add
}

// startVersion puts the model in dir to work and returns when it is ready. [version.stop] it.
func (a *App) startVersion(ctx context.Context, dir string) (_ *version, err error) {
	v := &version{app: a, dir: dir, done: make(chan struct{})}
	if v.manifest, err = model.Load(dir); err != nil {
		return nil, err
	}
	v.collection = indexer.CollectionFor(v.manifest.Ref.Key())
	state, err := a.bus.StreamState(ctx, event.StreamPrepared)
	if err != nil {
		return nil, err
	}
	v.archive = state.LastSeq
	v.group, err = lifecycle.New(grace,
		lifecycle.Service{Name: serviceEncoder, Start: v.startEncoder},
		lifecycle.Service{Name: "collection", Start: v.startCollection},
		lifecycle.Service{Name: stageIndex, Needs: []string{"collection"}, Start: v.startIndex},
		lifecycle.Service{Name: serviceLabels, Needs: []string{serviceEncoder}, Start: v.startLabels},
		lifecycle.Service{Name: stageEmbed, Needs: []string{serviceLabels}, Start: v.startEmbed},
	)
	if err != nil {
		return nil, err
	}
	var targets []string
	for _, t := range a.conf.Target {
		targets = append(targets, map[string][]string{"embed": {stageEmbed}, "index": {stageIndex}, "query": {serviceLabels, "collection"}}[t]...)
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	v.cancel = cancel
	go func() {
		defer close(v.done)
		v.err = v.group.Run(own, targets...)
	}()
	if err := v.group.Ready(ctx); err != nil {
		return nil, errors.Join(v.stop(), ctx.Err())
	}
	return v, nil
}

// stop ends the loops, waits for the queries under way, and frees the model.
func (v *version) stop() error {
	v.cancel()
	<-v.done
	return v.err
}

func (v *version) startEncoder(ctx context.Context) (_ running, err error) {
	a := v.app
	stalled := func(graph string, stalled bool) { a.stalled(v, graph, stalled) }
	if v.model, err = loadModel(ctx, a.conf, a.runtime, a.device, v.dir, a.preparer.Version(), stalled); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		<-ctx.Done()
		v.users.Wait()
		return v.model.Close()
	}, nil
}

func (v *version) startCollection(ctx context.Context) (running, error) {
	set, err := v.app.models.LabelSet(ctx)
	if err != nil {
		return nil, err
	}
	return nil, v.app.store.Ensure(ctx, v.indexSpec(set.Of(v.manifest)))
}

func (v *version) startEmbed(ctx context.Context) (running, error) {
	conf := v.app.conf.Embed
	h := &embedHandler{encoder: v.model.encoder, labels: v.labelSet}
	return startWorker(ctx, v.app, worker{
		stage: stageEmbed, stream: event.StreamPrepared, durable: v.durable(stageEmbed), model: v.manifest.Ref.String(),
		// The encoder makes the batches, of all who ask. Two workers, so that one reads and stores
		// while the other's images are encoded; what does not fit into the encoder stays in JetStream.
		batch: 2 * conf.BatchSize, deadline: shortWait, workers: 2,
	}, h)
}

func (v *version) startIndex(ctx context.Context) (running, error) {
	if err := v.rebuild(ctx); err != nil {
		return nil, err
	}
	h := &indexHandler{store: measured{v.app.store, v.app.metrics, v.app.traces}, collection: v.collection, erase: v.app.eraseIndex, wipe: v.app.bus.SecureDelete, findable: v.findable}
	return startWorker(ctx, v.app, worker{
		stage: stageIndex, stream: event.StreamEmbedded, durable: v.durable(stageIndex), model: v.manifest.Ref.String(),
		subjects: []event.Subject{v.embedded()}, batch: v.app.conf.Index.BatchSize, deadline: shortWait,
	}, h)
}

// behind is how long a model waits for another one before it announces a study: it is no fault of the
// study if that one never takes it.
const behind = 5 * time.Second

// findable returns when points that v has stored are also in the collection that answers, and in the
// one that is about to: a study is announced when it can be found, and is found from then on. It does
// not wait for what is behind for too long.
func (v *version) findable(ctx context.Context, points []indexer.Point) error {
	for _, other := range v.app.atWork() {
		if other == v || other != v.app.serves() && !other.ready.Load() {
			continue
		}
		if err := v.awaitIn(ctx, other, points); err != nil {
			return err
		}
	}
	return nil
}

// awaitIn returns when points are in the collection of another version, that version ends, or it is behind for too long.
func (v *version) awaitIn(ctx context.Context, other *version, points []indexer.Point) error {
	ids := make([]indexer.PointID, len(points))
	for i, p := range points {
		ids[i] = p.ID
	}
	for limit := time.Now().Add(behind); len(points) > 0 && time.Now().Before(limit); {
		found, err := v.app.store.Get(ctx, other.collection, ids)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
		rev := map[indexer.PointID]uint64{}
		for _, p := range found {
			rev[p.ID] = p.Rev
		}
		if !slices.ContainsFunc(points, func(p indexer.Point) bool { return rev[p.ID] < p.Rev }) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.E("app.findable", fault.Canceled, ctx.Err())
		case <-other.done:
			return nil
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// durable names the consumer of a stage under this model.
func (v *version) durable(stage string) string { return stage + "_" + v.manifest.Ref.Key() }

// embedded matches what this model embedded.
func (v *version) embedded() event.Subject {
	return event.EmbeddedSubject("*", v.manifest.Ref.Key(), "*")
}

// rebuild lets the index stage begin anew when its collection is empty though it has handled
// vectors: the index was lost, or is a new one.
func (v *version) rebuild(ctx context.Context) error {
	n, err := v.app.store.Count(ctx, indexer.CountQuery{Collection: v.collection})
	if err != nil || n > 0 {
		return err
	}
	state, err := v.app.bus.ConsumerState(ctx, event.StreamEmbedded, v.durable(stageIndex))
	if fault.KindOf(err) == fault.NotFound && err != nil || err == nil && state.AckedTo == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	v.app.opt.Log.Warn().Str("collection", v.collection).Msg("the index is empty though studies were indexed: it is made again from EMBEDDED")
	return v.app.bus.Rewind(ctx, event.StreamEmbedded, v.durable(stageIndex))
}

// caughtUp tells whether the collection holds the archive as it was when the version began, and so
// whether a search misses nothing in it. Which processes fill it does not matter.
func (v *version) caughtUp(ctx context.Context) (bool, error) {
	if done, err := v.reached(ctx, stageEmbed, v.archive); !done || err != nil {
		return false, err
	}
	_, last, err := v.app.bus.LastForSubject(ctx, event.StreamEmbedded, v.embedded())
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return true, nil // nothing in the archive can be embedded
	}
	if err != nil {
		return false, err
	}
	return v.reached(ctx, stageIndex, last)
}

// reached tells whether embed or index has settled everything of its stream up to a sequence.
func (v *version) reached(ctx context.Context, stage string, to uint64) (bool, error) {
	stream, subjects := event.StreamPrepared, event.PreparedSubject("*", "*", "*")
	if stage == stageIndex {
		stream, subjects = event.StreamEmbedded, v.embedded()
	}
	done, _, err := v.app.bus.Settled(ctx, stream, v.durable(stage), subjects, to)
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return false, nil // the process that runs it has not begun
	}
	return done, err
}

// lend gives the version's encoder to a query until release; App.mu is held.
func (v *version) lend() (l query.Lent, release func()) {
	v.users.Add(1)
	return query.Lent{Encoder: v.model.encoder, Collection: v.collection, Labels: v.scoredBy()}, v.users.Done
}
