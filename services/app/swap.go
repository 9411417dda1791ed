package app

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/lifecycle"
	"github.com/radstream/radstream/services/query"
	"github.com/radstream/radstream/services/registry"
)

// followEvery is how often a process looks what serves, and how far the next model has come.
const followEvery = 250 * time.Millisecond

// followAgain is how long it waits when that failed.
const followAgain = 5 * time.Second

// aliases is the part of an index that says which collection its clients search.
type aliases interface {
	SwitchAlias(ctx context.Context, alias, collection string) error
}

// startModels puts the model to work that answers, and the one that is to take its place, if any;
// then it follows the registry:
//
//	promote -> the new model begins beside the old one and embeds the archive into its collection
//	        -> has caught up: alias and registry say that it answers -> every process turns to it
//	        -> the old one's loops end, its queries end, it is freed; its collection stays
//
// Searches are answered by the old model from its own collection until then, so they miss nothing.
// A rollback is the same the other way round, and short: the old collection lacks only what
// came since.
func (a *App) startModels(ctx context.Context) (_ running, err error) {
	if a.models, err = registry.Open(ctx, a.bus); err != nil {
		return nil, err
	}
	if err := a.reread(ctx); err != nil {
		return nil, err
	}
	a.versions, a.refused = map[model.Ref]*version{}, map[model.Ref]refusal{}
	if err := a.firstModels(ctx); err != nil {
		return nil, errors.Join(err, a.stopVersions())
	}
	return func(ctx context.Context) error {
		tick := time.NewTicker(followEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return a.stopVersions()
			case <-tick.C:
			}
			for _, v := range a.atWork() {
				select {
				case <-v.done: // by itself
					return errors.Join(v.err, a.stopVersions())
				default:
				}
			}
			if err := a.follow(ctx); err != nil && ctx.Err() == nil {
				a.opt.Log.Warn().Err(err).Dur("again_after", followAgain).Msg("could not follow the models of the registry")
				tick.Reset(followAgain)
			} else {
				tick.Reset(followEvery)
			}
		}
	}, nil
}

// firstModels starts what this process begins with.
func (a *App) firstModels(ctx context.Context) error {
	if dir := a.conf.Model.Dir; dir != "" {
		v, err := a.begin(ctx, dir)
		if err != nil {
			return err
		}
		a.turnTo(v)
		if slices.Contains(a.conf.Target, "index") {
			if err := a.announce(ctx, v); err != nil {
				return err
			}
		}
		return a.follow(ctx)
	}
	home := filepath.Join(a.conf.DataDir, "models")
	serving, err := servingModel(ctx, a.models, home)
	if err != nil {
		return err
	}
	answers, err := a.models.Answers(ctx)
	switch {
	case err == nil:
		// The swap may have been under way when the process ended: it goes on.
		dir, err := pulled(ctx, a.models, answers, home)
		if err == nil && dir != serving {
			var v *version
			if v, err = a.begin(ctx, dir); err == nil {
				a.turnTo(v)
				return a.follow(ctx)
			}
		}
		switch {
		case err == nil:
		case passes(ctx, err): // the promoted model may not have its collection full
			return err
		default:
			a.opt.Log.Warn().Str("model", answers.String()).Err(err).Msg("the model that answered last cannot be used: the one that was promoted answers at once")
		}
	case fault.KindOf(err) != fault.NotFound:
		return err
	}
	v, err := a.begin(ctx, serving)
	if err != nil {
		return err
	}
	a.turnTo(v)
	return a.announce(ctx, v)
}

// follow does what the registry asks for.
func (a *App) follow(ctx context.Context) error {
	answers, err := a.models.Answers(ctx)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	if a.conf.Model.Dir != "" {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.others = model.Ref{}
		if err == nil && answers != a.current.manifest.Ref {
			a.others = answers
		}
		return nil
	}
	serving, err := a.models.Serving(ctx)
	if err != nil {
		return err
	}
	// What is on trial is at work as well, and takes nothing's place; see services/reindex.
	trial, err := a.models.Trial(ctx)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	var trialErr error       // told at the end: what serves goes on
	if trial.Refused != "" { // it has ended
		trial = registry.Trial{}
	}
	if trial.Ref != (model.Ref{}) && trial.Ref != serving.Ref {
		var refused error
		_, refused, trialErr = a.candidate(ctx, trial.Ref, trial.Since, "is on trial: it embeds the archive, and answers who names it")
		if refused != nil {
			trialErr = a.models.RefuseTrial(ctx, trial, fault.Detail(refused))
		}
		if trialErr != nil {
			trialErr = fault.Errorf("app.follow", fault.KindOf(trialErr), "the model on trial: %w", trialErr)
		}
	}
	next, _, err := a.candidate(ctx, serving.Ref, serving.Since, "was promoted: it embeds the archive, and answers when it has caught up")
	if err != nil || next == nil {
		return err
	}
	if answers != serving.Ref {
		ready := a.store != nil
		if ready {
			if ready, err = next.caughtUp(ctx); err != nil {
				return err
			}
			if ready && !next.ready.Swap(true) {
				// From here on nothing is announced that is not in its collection. What was announced before
				// is in the archive by now, and is waited for once more.
				state, err := a.bus.StreamState(ctx, event.StreamPrepared)
				if err != nil {
					next.ready.Store(false)
					return err
				}
				next.archive, ready = state.LastSeq, false
			}
		}
		if !ready {
			return errors.Join(trialErr, a.retire(next.manifest.Ref, a.serves().manifest.Ref, trial.Ref))
		}
		if err := a.announce(ctx, next); err != nil {
			return err
		}
	}
	if a.serves() != next {
		a.turnTo(next)
		a.opt.Log.Info().Str("model", serving.Ref.String()).Msg("answers from now on")
	}
	return errors.Join(trialErr, a.retire(serving.Ref, trial.Ref))
}

// refusal is why a model that was chosen at a time cannot be started.
type refusal struct {
	since time.Time
	why   error
}

// candidate returns what works with the model that somebody chose, since then, and starts it where it
// does not run yet. One that cannot be started is reported once, and left out until it is chosen again:
// then refused says why.
func (a *App) candidate(ctx context.Context, ref model.Ref, since time.Time, why string) (v *version, refused, err error) {
	a.mu.Lock()
	v, before := a.versions[ref], a.refused[ref]
	a.mu.Unlock()
	if v != nil {
		return v, nil, nil
	}
	if before.since.Equal(since) {
		return nil, before.why, nil
	}
	dir, err := pulled(ctx, a.models, ref, filepath.Join(a.conf.DataDir, "models"))
	if err == nil {
		v, err = a.begin(ctx, dir)
	}
	switch {
	case err == nil:
		a.opt.Log.Info().Str("model", ref.String()).Msg(why)
		return v, nil, nil
	case passes(ctx, err):
		return nil, nil, err
	}
	a.mu.Lock()
	a.refused[ref] = refusal{since, err}
	a.mu.Unlock()
	a.opt.Log.Error().Str("model", ref.String()).Err(err).Msg("was chosen and cannot be used: the model before goes on; choose another, or roll back")
	return nil, err, nil
}

// passes reports whether an error says nothing of a model: a server is away, or the process ends.
func passes(ctx context.Context, err error) bool {
	kind := fault.KindOf(err)
	return ctx.Err() != nil || kind == fault.Transient || kind == fault.Unavailable
}

// begin starts a version and remembers it.
func (a *App) begin(ctx context.Context, dir string) (*version, error) {
	v, err := a.startVersion(ctx, dir)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.versions[v.manifest.Ref] = v
	return v, nil
}

// announce lets clients of the index, and the other processes, turn to a version.
func (a *App) announce(ctx context.Context, v *version) error {
	if a.store == nil {
		return nil
	}
	if s, ok := a.store.(aliases); ok {
		if err := s.SwitchAlias(ctx, a.conf.Index.Collection, v.collection); err != nil {
			return err
		}
	}
	return a.models.SetAnswers(ctx, v.manifest.Ref)
}

// turnTo makes a version answer the queries that come from now on.
func (a *App) turnTo(v *version) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.current = v
	a.metrics.Model(v.manifest.Ref.String())
}

// retire stops every version but those to keep.
func (a *App) retire(keep ...model.Ref) error {
	var errs []error
	for _, v := range a.atWork() {
		if slices.Contains(keep, v.manifest.Ref) {
			continue
		}
		a.mu.Lock()
		delete(a.versions, v.manifest.Ref)
		a.mu.Unlock()
		errs = append(errs, v.stop())
		a.opt.Log.Info().Str("model", v.manifest.Ref.String()).Msg("was freed")
	}
	return errors.Join(errs...)
}

func (a *App) stopVersions() error {
	var errs []error
	for _, v := range a.atWork() {
		errs = append(errs, v.stop())
	}
	return errors.Join(errs...)
}

// atWork lists the versions that run here.
func (a *App) atWork() []*version {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]*version, 0, len(a.versions))
	for _, v := range a.versions {
		all = append(all, v)
	}
	return all
}

// serves returns the version that answers.
func (a *App) serves() *version {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current
}

// Lend gives a query a model that is at work here and the collection of its vectors; both stay until
// release. It is the model named, or the one that answers where no model of that name is at work.
// Errors: Conflict where the index is of another model than this process was told to use.
func (a *App) Lend(named string) (l query.Lent, release func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.others != (model.Ref{}) {
		return query.Lent{}, nil, fault.Reject("app.Lend", fault.Conflict, query.ReasonOtherModel,
			"the index holds vectors of model %s, this process queries by %s of model.dir: start it with the same model, or without model.dir", a.others, a.current.manifest.Ref)
	}
	v := a.current
	if ref, err := model.ParseRef(named); err == nil && a.versions[ref] != nil {
		v = a.versions[ref]
	}
	l, release = v.lend()
	return l, release, nil
}

// stalled hears that a graph of a version hangs, or answers again.
func (a *App) stalled(v *version, graph string, stalled bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if stalled {
		v.hangs = append(v.hangs, graph)
		a.opt.Log.Error().Str("graph", graph).Dur("patience", a.conf.Embed.Patience).Msg("the device does not answer: not ready, queries are refused, bulk work waits")
	} else {
		v.hangs = slices.DeleteFunc(v.hangs, func(g string) bool { return g == graph })
		a.opt.Log.Info().Str("graph", graph).Msg("the device answers again")
	}
	v.group.SetStalled(serviceEncoder, len(v.hangs) > 0)
}

// states lists the states of the services and of the version that answers, and of others under their model's name.
func (a *App) states() []lifecycle.Status {
	all := a.group.Status()
	current := a.serves()
	for _, v := range a.atWork() {
		for _, s := range v.group.Status() {
			if v != current {
				s.Name += " " + v.manifest.Ref.String()
			}
			all = append(all, s)
		}
	}
	return all
}
