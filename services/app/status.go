package app

import (
	"context"

	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/lifecycle"
	"github.com/radstream/radstream/services/query"
)

// Status says how the system is, as far as this process can see.
func (a *App) Status(ctx context.Context) (query.Status, error) {
	v := a.serves()
	s := query.Status{
		Version: a.opt.Version, Ready: true, Services: map[string]string{}, Started: a.started,
		NATS: a.addresses.NATS, Qdrant: a.addresses.Qdrant,
		Model: v.manifest.Ref.String(), Untrained: v.manifest.Untrained,
	}
	for _, service := range a.states() {
		s.Services[service.Name] = string(service.State)
		switch service.State {
		case lifecycle.Failed, lifecycle.Stopping, lifecycle.Stalled:
			s.Ready = false
		}
	}
	n, err := a.store.Count(ctx, indexer.CountQuery{Collection: v.collection})
	if err != nil {
		return s, err
	}
	s.Indexed = uint64(n)
	for _, stream := range event.Streams() {
		state, err := a.bus.StreamState(ctx, stream.Name)
		if err != nil {
			return s, err
		}
		s.Streams = append(s.Streams, query.StreamStatus{Name: stream.Name, Messages: state.Messages, Bytes: state.Bytes})
	}
	for _, c := range []struct{ stage, stream, durable string }{
		{stagePrepare, event.StreamStudies, stagePrepare},
		{stageEmbed, event.StreamPrepared, v.durable(stageEmbed)},
		{stageIndex, event.StreamEmbedded, v.durable(stageIndex)},
	} {
		state, err := a.bus.ConsumerState(ctx, c.stream, c.durable)
		if err != nil {
			s.Warnings = append(s.Warnings, "no "+c.stage+" stage has ever run on this NATS server")
			continue
		}
		s.Stages = append(s.Stages, query.StageStatus{Name: c.stage, Pending: state.Pending, Working: state.AckPending})
	}
	if serving, err := a.models.Serving(ctx); err == nil && a.conf.Model.Dir == "" && serving.Ref != v.manifest.Ref {
		what := " was promoted: it answers when it has embedded the archive"
		a.mu.Lock()
		if a.refused[serving.Ref].since.Equal(serving.Since) {
			what = " was promoted and cannot be used: see the log, promote another, or roll back"
		}
		a.mu.Unlock()
		s.Warnings = append(s.Warnings, "model "+serving.Ref.String()+what)
	}
	if a.bus.Sync(ctx) != bus.SyncAlways {
		s.Warnings = append(s.Warnings, "the NATS server does not sync every write, or does not say: a power cut may lose what it acknowledged")
	}
	return s, nil
}
