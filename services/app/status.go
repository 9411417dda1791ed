package app

import (
	"context"

	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/keyring"
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
	unusable, err := a.unusableKeys(ctx)
	if err != nil {
		return s, err
	}
	for _, err := range unusable {
		s.Warnings = append(s.Warnings, fault.Detail(err)+"; then requeue the dead letters with the reason "+string(keyring.ReasonKey))
	}
	if a.bus.Full() {
		s.Warnings = append(s.Warnings, "the NATS server has no room for another event: make room where it stores them, then restart it")
	}
	if a.bus.Sync(ctx) != bus.SyncAlways {
		s.Warnings = append(s.Warnings, "the NATS server does not sync every write, or does not say: a power cut may lose what it acknowledged")
	}
	return s, nil
}

// unusableKeys returns, for each tenant of the archive whose key cannot be used here, the error that
// says why.
func (a *App) unusableKeys(ctx context.Context) (unusable []error, err error) {
	tenants, err := a.identity.Tenants(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range tenants {
		key, err := a.ring.Lookup(t)
		if err == nil {
			err = a.identity.CheckKey(ctx, t, key)
		} else if fault.KindOf(err) == fault.NotFound {
			err = fault.Reject("app.unusableKeys", fault.Corrupt, keyring.ReasonKey, "the key of tenant %s is missing: restore %s in tenants.keys_dir from a backup", t, keyring.File(t))
		}
		switch {
		case fault.ReasonOf(err) == keyring.ReasonKey:
			a.ring.Forget(t)
			unusable = append(unusable, err)
		case err != nil:
			return nil, err
		}
	}
	return unusable, nil
}
