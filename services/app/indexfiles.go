package app

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/indexer/flat"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/bus"
)

// rereadFile, in the directory of the embedded index, says that the index lacks some of what was
// indexed, or holds what was erased since: the next start reads EMBEDDED from its beginning, for
// every model. A study that is there already, or is newer, stays.
const rereadFile = "REREAD"

func indexDir(dataDir string) string { return filepath.Join(dataDir, "index") }

// CheckIndex reads the embedded index, which nobody has open, and says what is damaged.
func CheckIndex(dataDir string) (flat.Salvage, error) { return flat.Check(indexDir(dataDir)) }

// BackupIndex copies the embedded index, which may be in use, to a directory that does not exist.
func BackupIndex(dataDir, to string) error { return flat.Copy(indexDir(dataDir), to) }

// RestoreIndex puts a backup in the place of the embedded index, which is not there. What came and
// what was erased since the backup follows from EMBEDDED at the next start. Errors: those of
// [flat.Copy].
func RestoreIndex(dataDir, from string) error {
	return publishIndex(indexDir(dataDir), func(to string) error { return flat.Copy(from, to) })
}

// RepairIndex puts what can be read of the embedded index, which nobody has open, in its place, and
// returns where the damaged one is kept. What is missing follows from EMBEDDED at the next start.
// An index without damage stays as it is, and kept is empty.
func RepairIndex(dataDir string) (s flat.Salvage, kept string, err error) {
	const op = "app.RepairIndex"
	dir := indexDir(dataDir)
	if s, err = flat.Check(dir); err != nil || len(s.Damage) == 0 {
		return s, "", fault.Wrap(op, err)
	}
	kept = dir + ".damaged"
	if _, err := os.Lstat(kept); err == nil {
		return s, "", fault.Errorf(op, fault.Conflict, "%s is there from a repair before: move it away", kept)
	}
	err = publishIndex(dir, func(to string) error {
		if s, err = flat.Repair(dir, to); err != nil {
			return err
		}
		return fault.E(op, fault.Unavailable, os.Rename(dir, kept))
	})
	return s, kept, fault.Wrap(op, err)
}

// publishIndex gives what fill makes the name dir, to be completed from EMBEDDED.
func publishIndex(dir string, fill func(to string) error) error {
	const op = "app.publishIndex"
	made := dir + ".new"
	if err := os.RemoveAll(made); err != nil { // of a run that was ended
		return fault.E(op, fault.Unavailable, err)
	}
	err := fill(made)
	if err == nil { // on disk before the index has its name: without the mark nobody would complete it
		err = renameio.WriteFile(filepath.Join(made, rereadFile), nil, 0o644)
	}
	if err == nil {
		err = syncDir(made)
	}
	if err == nil {
		err = os.Rename(made, dir)
		if err == nil {
			err = syncDir(filepath.Dir(dir))
		}
		if errors.Is(err, os.ErrExist) {
			err = fault.Errorf(op, fault.Conflict, "%s holds an index: move it away first", dir)
		}
	}
	return errors.Join(err, os.RemoveAll(made))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fault.E("app.syncDir", fault.Unavailable, err)
	}
	defer d.Close()
	return fault.E("app.syncDir", fault.Unavailable, d.Sync())
}

// reread lets the index stages begin anew, under every model, when the embedded index says so. What
// was erased leaves the index before that: nobody is answered from it meanwhile.
func (a *App) reread(ctx context.Context) error {
	const op = "app.reread"
	mark := filepath.Join(indexDir(a.conf.DataDir), rereadFile)
	if _, err := os.Stat(mark); a.conf.Qdrant.Address != "" || !slices.Contains(a.conf.Target, "index") || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	a.opt.Log.Warn().Msg("the index was repaired or restored: what it lacks follows from EMBEDDED")
	if err := a.eraseAgain(ctx); err != nil {
		return fault.Wrap(op, err)
	}
	if err := a.bus.RewindAll(ctx, event.StreamEmbedded, stageIndex+"_"); err != nil {
		return fault.Wrap(op, err)
	}
	return fault.E(op, fault.Unavailable, os.Remove(mark))
}

// eraseAgain erases from the index every study that PREPARED has a tombstone of.
func (a *App) eraseAgain(ctx context.Context) error {
	var tombstones []indexer.Point
	err := a.bus.Each(ctx, bus.WatchConfig{
		Stream: event.StreamPrepared, Subjects: []event.Subject{event.PreparedSubject("*", "*", "*")}, Start: bus.LastPerSubject(), HeadersOnly: true,
	}, func(m bus.Message) error {
		if m.Type != event.StudyRemoved {
			return nil
		}
		tenant, err := m.Tenant()
		if err == nil {
			tombstones = append(tombstones, indexer.NewTombstone(string(tenant), string(m.StudyKey())))
		}
		return err
	})
	if err != nil || len(tombstones) == 0 {
		return err
	}
	return a.eraseIndex(ctx, tombstones)
}
