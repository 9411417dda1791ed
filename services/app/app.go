// Package app wires the stages into one process: it opens what the configuration names,
// starts what it does not name, and gives each stage its worker loop.
//
//	data -> nats -> bus ---------+-> prepare, relate  <- preparer <- onnx
//	   \--> qdrantd -> store ----+-> model: embed, index
//	                             +-> query
//
// A model is a small group of its own, its encoder and the stages embed and index under it, so
// that another can work beside it and take its place while queries go on (swap.go).
//
// A target picks what runs, with what it needs. All-in-one is no special case: a server
// that was started here is dialled like any other.
//
// The files:
//
//	app.go, servers.go, worker.go                  the graph; servers that may run elsewhere; a stage with its consumer and clock
//	arrived.go, prepare.go, waiting.go, relate.go  arrivals -> revisions; reports that wait for their study; what one study changes in others
//	embed.go, index.go                             revisions -> vectors -> points
//	erase.go, erasefind.go, removed.go             erasing: the steps, what is of a request, tombstones past PREPARED
//	model.go, version.go, swap.go, relabel.go      model directories; one model at work; which one answers; which labels it scores
//	identity.go, reference.go                      KV identity; what a dead letter says of an object
//	text.go, indexfiles.go                         burned-in text; check, backup and repair of the embedded index
//	query.go, status.go, telemetry.go              the query API; status; what is counted and probed
package app

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/renameio/v2"

	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"

	"github.com/radstream/radstream/embedder/ort"
	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/indexer/qdrant"
	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/blob"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/config"
	"github.com/radstream/radstream/services/keyring"
	"github.com/radstream/radstream/services/lifecycle"
	"github.com/radstream/radstream/services/registry"
	"github.com/radstream/radstream/services/telemetry"
)

// grace is how long the whole process may take to stop.
const grace = 30 * time.Second

// dataFormat is the version of the layout of the data folder.
const dataFormat = 1

// Options are what the configuration cannot say.
type Options struct {
	Version string
	Log     zerolog.Logger
}

// Addresses are where the running system can be reached. What does not run is empty.
type Addresses struct {
	NATS   string `json:"nats"`   // URL
	Qdrant string `json:"qdrant"` // host:port, gRPC
	Query  string `json:"query"`  // host:port, HTTP
	// Telemetry is host:port, HTTP: metrics and probes at an address of their own.
	Telemetry string `json:"telemetry,omitempty"`
}

// App is a running process. Make one with [Start].
type App struct {
	conf    config.Config
	opt     Options
	group   *lifecycle.Group
	cancel  context.CancelFunc
	done    chan struct{}
	err     error // of the group; valid once done is closed
	started time.Time

	// Each is set by the service of its name and used by those that need it.
	addresses Addresses
	natsURL   string // as addresses.NATS, with the credentials that it may hold
	bus       *bus.Bus
	identity  identity
	ring      *keyring.Ring
	preparer  *ingest.Preparer
	models    *registry.Registry
	runtime   *ort.Runtime
	device    ort.Device // of the encoders
	store     indexer.Store
	// eraseIndex puts tombstones into every collection.
	eraseIndex func(context.Context, []indexer.Point) error
	metrics    *telemetry.Metrics
	traces     *telemetry.Traces // nil: no spans are made
	up         atomic.Bool       // everything has started

	mu       sync.Mutex
	clocks   []*clock               // of the stages that run here
	versions map[model.Ref]*version // of models, at work here
	current  *version               // answers queries
	others   model.Ref              // answers elsewhere, where model.dir names another one
	refused  map[model.Ref]refusal  // were chosen, and cannot be started
	workers  map[*worker]bool       // whose depth is told
}

// Start starts what c targets and returns when all of it is ready. It then runs until ctx
// ends or [App.Stop]; [App.Wait] returns what came of it.
//
// Errors: Usage for addresses that are taken and settings that do not fit together,
// Unavailable for servers that cannot be reached, Unsupported for a newer data folder.
func Start(ctx context.Context, c config.Config, o Options) (*App, error) {
	a := &App{conf: c, opt: o, done: make(chan struct{}), started: time.Now(), metrics: telemetry.New(o.Version), workers: map[*worker]bool{}}
	a.metrics.Depths(a.depths)
	targets := []string{serviceTelemetry}
	for _, t := range c.Target {
		targets = append(targets, map[string]string{"ingest": stagePrepare, "embed": "model", "index": "model", "query": "query"}[t])
	}
	var err error
	if a.group, err = lifecycle.New(grace, a.services()...); err != nil {
		return nil, err
	}
	if a.traces, err = telemetry.OpenTraces(ctx, c.Telemetry.Traces, c.Telemetry.TracesPercent, o.Version, o.Log); err != nil {
		return nil, err
	}
	ctx, a.cancel = context.WithCancel(ctx)
	go func() {
		defer close(a.done)
		a.err = a.group.Run(ctx, targets...)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace/6)
		defer cancel()
		a.traces.Close(end) // behind all that makes spans
	}()
	if err := a.group.Ready(ctx); err != nil {
		a.cancel()
		if stopped := a.Wait(); stopped != nil {
			return nil, stopped
		}
		return nil, err
	}
	a.up.Store(true)
	return a, nil
}

// Wait returns when everything has stopped; nil after a clean stop.
func (a *App) Wait() error {
	<-a.done
	return a.err
}

// Stop asks everything to stop; [App.Wait] tells when it has.
func (a *App) Stop() { a.cancel() }

// Addresses tells where the system can be reached.
func (a *App) Addresses() Addresses { return a.addresses }

// services lists every service, whether targeted or not.
func (a *App) services() []lifecycle.Service {
	return []lifecycle.Service{
		{Name: serviceTelemetry, Start: a.startTelemetry},
		{Name: "data", Start: a.startData},
		{Name: "nats", Needs: []string{"data"}, Start: a.startNATS},
		{Name: "bus", Needs: []string{"nats"}, Start: a.startBus},
		{Name: "qdrantd", Needs: []string{"data"}, Start: a.startQdrant},
		{Name: "onnx", Start: a.startRuntime},
		{Name: "preparer", Needs: preparerNeeds(a.conf.Ingest), Start: a.startPreparer},
		{Name: "store", Needs: []string{"qdrantd"}, Start: a.startStore},
		{Name: "model", Needs: modelNeeds(a.conf), Start: a.startModels},
		{Name: stageRelate, Needs: []string{"bus"}, Start: a.startRelate},
		{Name: stagePrepare, Needs: []string{"bus", "preparer", stageRelate}, Start: a.startPrepare},
		{Name: "query", Needs: []string{"bus", "model", "store"}, Start: a.startQuery},
	}
}

type running = func(context.Context) error

// startData makes the data folder or checks that this program can use it.
func (a *App) startData(context.Context) (running, error) {
	const op = "app.data"
	if err := os.MkdirAll(a.conf.DataDir, 0o755); err != nil {
		return nil, fault.E(op, fault.Usage, err)
	}
	file := filepath.Join(a.conf.DataDir, "FORMAT")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		text = []byte(strconv.Itoa(dataFormat) + "\n")
		// Whole or not at all: a crash must not leave a folder that looks damaged.
		err = renameio.WriteFile(file, text, 0o644)
	}
	if err != nil {
		return nil, fault.E(op, fault.Usage, err)
	}
	format, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || format < 1 {
		return nil, fault.Errorf(op, fault.Corrupt, "%s must hold a number: this is not a data folder of radstream, or it is damaged", file)
	}
	if format > dataFormat {
		return nil, fault.Reject(op, fault.Unsupported, "newer_data_folder", "%s was written by a newer radstream (format %d, this one knows %d): use that version, or another folder with --data", a.conf.DataDir, format, dataFormat)
	}
	a.ring, err = keyring.Open(a.conf.KeyDir())
	return nil, err
}

// startRuntime opens ONNX Runtime for whoever needs sessions.
func (a *App) startRuntime(context.Context) (_ running, err error) {
	if a.runtime, err = ort.Open(a.conf.ONNXRuntime.Library, ort.Options{IntraThreads: a.conf.ONNXRuntime.Threads}); err != nil {
		return nil, err
	}
	if slices.Contains(a.conf.Target, "embed") || slices.Contains(a.conf.Target, "query") {
		var why error
		if a.device, why, err = a.runtime.Device(ort.Device(a.conf.Embed.Device)); err != nil {
			return nil, errors.Join(err, a.runtime.Close())
		}
		if why != nil {
			a.opt.Log.Info().Err(why).Msg("the encoders run on the CPU: CUDA cannot be used (embed.device: auto)")
		}
	}
	return func(ctx context.Context) error {
		<-ctx.Done()
		return a.runtime.Close()
	}, nil
}

// preparerNeeds lists what the preparation stands on: the runtime, where it reads text.
func preparerNeeds(c config.Ingest) []string {
	if deid.TextPolicy(c.BurnedInText) == deid.TextOff {
		return []string{"data"}
	}
	return []string{"data", "onnx"}
}

func (a *App) startPreparer(context.Context) (running, error) {
	tok, err := tokenizer.BERTBaseCased()
	if err != nil {
		return nil, err
	}
	burned, err := OpenText(a.conf.Ingest, a.runtime)
	if err != nil {
		return nil, err
	}
	prep := ingest.Default()
	prep.Policy, prep.Burned = pixel.Policy(a.conf.Ingest.WindowPolicy), burned.Burned
	if a.conf.Ingest.QualityGate == "off" {
		prep.Limits = pixel.Limits{}
	}
	if a.preparer, err = ingest.New(prep, tok); err != nil {
		return nil, errors.Join(err, burned.Close())
	}
	return func(ctx context.Context) error {
		<-ctx.Done()
		return burned.Close()
	}, nil
}

func (a *App) startStore(context.Context) (running, error) {
	store, err := qdrant.Dial(a.addresses.Qdrant, string(a.conf.Qdrant.APIKey), a.conf.Qdrant.TLS)
	if err != nil {
		return nil, err
	}
	a.store, a.eraseIndex = store, store.Erase
	return func(ctx context.Context) error {
		<-ctx.Done()
		return store.Close()
	}, nil
}

// modelNeeds lists what the versions of models stand on, as far as they are to do anything here.
func modelNeeds(c config.Config) []string {
	needs := []string{"data", "bus"}
	embeds, indexes, queries := slices.Contains(c.Target, "embed"), slices.Contains(c.Target, "index"), slices.Contains(c.Target, "query")
	if embeds || queries {
		needs = append(needs, "onnx", "preparer")
	}
	if indexes || queries {
		needs = append(needs, "store")
	}
	return needs
}

func (a *App) startPrepare(ctx context.Context) (running, error) {
	unusable, err := a.unusableKeys(ctx)
	if err != nil {
		return nil, err
	}
	for _, err := range unusable { // found out now, since a key in use is not read again
		a.opt.Log.Error().Err(err).Msg("what arrives of this tenant is refused until its key file is restored")
	}
	bucket, stream, err := a.bus.ObjectStore(ctx, bus.BucketObjects)
	if err != nil {
		return nil, err
	}
	limit := uint64(a.conf.Ingest.MaxObjectBytes)
	objects := blob.NewJetStream(bucket, stream, limit)
	reader, err := blob.NewReader(objects, a.conf.Ingest.AllowedRoots, limit)
	if err != nil {
		return nil, err
	}
	models, err := registry.Open(ctx, a.bus)
	if err != nil {
		return nil, errors.Join(err, reader.Close())
	}
	pending, err := a.bus.KV(ctx, bus.BucketPending, 0)
	if err != nil {
		return nil, errors.Join(err, reader.Close())
	}
	h := &prepareHandler{preparer: a.preparer, objects: reader, archive: a.bus, identities: a.identity, keys: a.ring,
		accessions: words{a.identity.kv, "_accession.", listLimit}, pending: words{pending, "", listLimit},
		parallel: a.conf.Ingest.Workers, maxObject: limit, memory: semaphore.NewWeighted(arrivalBytes)}
	h.eraser = &eraser{h: h, bus: a.bus, store: objects, identity: a.identity, models: models,
		journal: words{pending, "_erasing.", mostErased}}
	run, err := startWorker(ctx, a, worker{stage: stagePrepare, stream: event.StreamStudies, durable: stagePrepare, batch: 16, deadline: shortWait}, h)
	if err != nil {
		return nil, errors.Join(err, reader.Close())
	}
	return func(ctx context.Context) error { return errors.Join(run(ctx), reader.Close()) }, nil
}

// startRelate follows what prepare stores.
func (a *App) startRelate(ctx context.Context) (running, error) {
	h := &relateHandler{&prepareHandler{archive: a.bus, identities: a.identity, keys: a.ring}}
	return startWorker(ctx, a, worker{stage: stageRelate, stream: event.StreamPrepared, durable: stageRelate, batch: 16, deadline: shortWait}, h)
}
