package app

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/config"
	"github.com/radstream/radstream/services/query"
)

// TestRepairIndex: a damaged index is refused by name; repaired, it holds the rest, and what was lost
// is found again after the next start.
func TestRepairIndex(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, io.Discard)
	const studies = 5
	for i := range studies {
		id := strconv.Itoa(i + 1)
		s.send(t, id, study("2.25."+id, s.object(t, film(t, i), frontal)))
		s.expect(t, id, event.StudyIndexed, 1)
	}
	s.stop(t)
	if whole, kept, err := RepairIndex(dir); err != nil || kept != "" || len(whole.Damage) > 0 {
		t.Fatalf("a whole index: %+v, %q, %v", whole, kept, err)
	}
	logs, err := filepath.Glob(filepath.Join(dir, "index", "wal-*.log"))
	if err != nil || len(logs) != 1 {
		t.Fatal(logs, err)
	}
	data, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(logs[0], data, 0o644); err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.DataDir, c.NATS.Listen, c.Qdrant.Listen, c.Query.Listen = dir, "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	if _, err := Start(t.Context(), c, Options{Version: "test", Log: zerolog.Nop()}); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), filepath.Base(logs[0])) || !strings.Contains(err.Error(), "radstream index repair") {
		t.Fatalf("a start on a damaged index: %v", err)
	}
	salvage, kept, err := RepairIndex(dir)
	if err != nil || len(salvage.Damage) != 1 || kept == "" {
		t.Fatalf("%+v, %q, %v", salvage, kept, err)
	}
	s = start(t, dir, io.Discard)
	awaitNothingPending(t, s)
	for i := range studies {
		s.findsItself(t, "2.25."+strconv.Itoa(i+1))
	}
}

// TestRestoreIndex: a backup of a running index, restored, finds what came after it, and nothing that
// was erased since.
func TestRestoreIndex(t *testing.T) {
	dir, backup := t.TempDir(), filepath.Join(t.TempDir(), "backup")
	s := start(t, dir, io.Discard)
	send := func(id string) {
		n, _ := strconv.Atoi(id)
		s.send(t, id, study("2.25."+id, s.object(t, film(t, n), frontal)))
		s.expect(t, id, event.StudyIndexed, 1)
	}
	send("1")
	send("2")
	if err := BackupIndex(dir, backup); err != nil {
		t.Fatal(err)
	}
	send("3")
	s.erase(t, "gone", &radstreamv1.StudyErased{StudyUid: "2.25.1"})
	awaitNothingPending(t, s)
	gone := s.key(t, tenant).Study("2.25.1")
	told, err := s.bus.On(t.Context(), event.StreamEmbedded, event.EmbeddedSubject(tenant, "*", gone))
	if err != nil || len(told) != 1 || told[0].Type != event.StudyRemoved {
		t.Fatalf("EMBEDDED does not end in a tombstone: %v, %v", told, err)
	}
	// Without it the study can be kept from answers only by what the next start does first.
	if err := s.bus.SecureDelete(t.Context(), event.StreamEmbedded, told[0].Sequence); err != nil {
		t.Fatal(err)
	}
	s.stop(t)
	if err := RestoreIndex(dir, backup); fault.KindOf(err) != fault.Conflict {
		t.Fatalf("over an index: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
		t.Fatal(err)
	}
	if err := RestoreIndex(dir, backup); err != nil {
		t.Fatal(err)
	}
	s = start(t, dir, io.Discard)
	if _, err := s.client.Search(t.Context(), query.Request{Tenant: tenant, Study: "2.25.1"}); fault.KindOf(err) != fault.Erased {
		t.Errorf("a study that was erased after the backup: %v", err)
	}
	for _, p := range s.points(t) {
		if p.StudyKey == string(gone) {
			t.Error("its vectors are back")
		}
	}
	awaitNothingPending(t, s)
	s.findsItself(t, "2.25.2")
	s.findsItself(t, "2.25.3")
}
