package app

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/lifecycle"
	"github.com/radstream/radstream/services/telemetry"
)

// serviceTelemetry names the listener of metrics and probes.
const serviceTelemetry = "telemetry"

// startTelemetry serves metrics and probes at an address of their own. It is the first to
// start, so that a supervisor can watch the rest.
func (a *App) startTelemetry(ctx context.Context) (running, error) {
	if a.conf.Telemetry.Listen.Off() {
		return nil, nil
	}
	listener, err := a.conf.Telemetry.Listen.Open(ctx)
	if err != nil {
		return nil, err
	}
	a.addresses.Telemetry = listener.Addr().String()
	return func(ctx context.Context) error { return a.metrics.Serve(ctx, listener, a.ready) }, nil
}

// ready returns nil when everything that this process was told to run is ready and what it
// stands on answers.
func (a *App) ready(ctx context.Context) error {
	const op = "app.ready"
	if !a.up.Load() {
		return fault.Errorf(op, fault.Unavailable, "not everything has started")
	}
	for _, s := range a.states() {
		switch s.State {
		case lifecycle.Failed, lifecycle.Stopping, lifecycle.Stalled:
			return fault.Errorf(op, fault.Unavailable, "service %s is %s", s.Name, s.State)
		}
	}
	if _, err := a.bus.StreamState(ctx, event.StreamStudies); err != nil {
		return fault.Wrap(op, err)
	}
	v := a.serves()
	if a.store == nil || v == nil { // no stage here needs the index
		return nil
	}
	_, err := a.store.Get(ctx, v.collection, []indexer.PointID{{}}) // of nobody
	return fault.Wrap(op, err)
}

// watch lets the depth of a worker's stage be read until the returned function is called.
func (a *App) watch(w worker) (unwatch func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.workers[&w] = true
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.workers, &w)
	}
}

// depths tells what lies before each stage that runs here; workers of one stage are added up.
func (a *App) depths(ctx context.Context) ([]telemetry.Depth, error) {
	a.mu.Lock()
	workers := slices.Collect(maps.Keys(a.workers))
	a.mu.Unlock()
	at := map[string]int{}
	var all []telemetry.Depth
	for _, w := range workers {
		state, err := a.bus.ConsumerState(ctx, w.stream, w.durable)
		if err != nil {
			return nil, fault.Wrap("app.depths", err)
		}
		i, seen := at[w.stage]
		if !seen {
			i = len(all)
			at[w.stage], all = i, append(all, telemetry.Depth{Stage: w.stage})
		}
		all[i].Pending += state.Pending
		all[i].Working += state.AckPending
	}
	return all, nil
}

// measured is a store whose operations are counted, and told to the traces of queries.
type measured struct {
	indexer.Store
	metrics *telemetry.Metrics
	traces  *telemetry.Traces
}

func (m measured) Upsert(ctx context.Context, collection string, points []indexer.Point) (_ []indexer.Result, err error) {
	defer m.count(ctx, "upsert", collection, time.Now(), &err)
	return m.Store.Upsert(ctx, collection, points)
}

func (m measured) Get(ctx context.Context, collection string, ids []indexer.PointID) (_ []indexer.Point, err error) {
	defer m.count(ctx, "get", collection, time.Now(), &err)
	return m.Store.Get(ctx, collection, ids)
}

func (m measured) Search(ctx context.Context, q indexer.Query) (_ []indexer.Hit, err error) {
	defer m.count(ctx, "search", q.Collection, time.Now(), &err)
	return m.Store.Search(ctx, q)
}

func (m measured) count(ctx context.Context, operation, collection string, begun time.Time, err *error) {
	m.traces.Indexed(ctx, operation, collection, begun, *err)
	m.metrics.Indexed(operation, *err, time.Since(begun))
}
