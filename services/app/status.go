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
	s := query.Status{
		Version: a.opt.Version, Ready: true, Services: map[string]string{}, Started: a.started,
		NATS: a.addresses.NATS, Qdrant: a.addresses.Qdrant,
		Model: a.manifest.Ref.String(), Untrained: a.manifest.Untrained,
	}
	for _, service := range a.group.Status() {
		s.Services[service.Name] = string(service.State)
		switch service.State {
		case lifecycle.Failed, lifecycle.Stopping, lifecycle.Stalled:
			s.Ready = false
		}
	}
	n, err := a.store.Count(ctx, indexer.CountQuery{Collection: a.collection})
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
		{stageEmbed, event.StreamPrepared, stageEmbed + "_" + a.manifest.Ref.Key()},
		{stageIndex, event.StreamEmbedded, stageIndex + "_" + a.manifest.Ref.Key()},
	} {
		state, err := a.bus.ConsumerState(ctx, c.stream, c.durable)
		if err != nil {
			s.Warnings = append(s.Warnings, "no "+c.stage+" stage has ever run on this NATS server")
			continue
		}
		s.Stages = append(s.Stages, query.StageStatus{Name: c.stage, Pending: state.Pending, Working: state.AckPending})
	}
	if serving, err := a.models.Serving(ctx); err == nil && a.conf.Model.Dir == "" && serving.Ref != a.manifest.Ref {
		s.Warnings = append(s.Warnings, "model "+serving.Ref.String()+" was promoted: start radstream again to serve it")
	}
	if a.bus.Sync(ctx) != bus.SyncAlways {
		s.Warnings = append(s.Warnings, "the NATS server does not sync every write, or does not say: a power cut may lose what it acknowledged")
	}
	return s, nil
}
