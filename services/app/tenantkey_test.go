package app

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/deadletter"
	"github.com/radstream/radstream/services/keyring"
	"github.com/radstream/radstream/services/stage"
)

// TestDamagedKey: more arrivals than may be under way at once, of a tenant whose key file was damaged,
// do not keep another tenant waiting, and are taken when the file was restored and they were requeued.
func TestDamagedKey(t *testing.T) {
	const south event.Tenant = "south"
	dir := t.TempDir()
	s := start(t, dir, io.Discard)
	s.send(t, "before", report("2.25.1", "FINDINGS: Clear lungs."))
	s.expect(t, "before", event.StudyIndexed, 1)
	before := s.key(t, tenant).Study("2.25.1")
	s.stop(t)
	file := filepath.Join(dir, "keys", keyring.File(tenant))
	secret, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	damaged := secret[:len(secret)/2]
	write(damaged)

	log := &lockedBuffer{}
	s = start(t, dir, log)
	warned := func() bool {
		t.Helper()
		status, err := s.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return status.Ready && slices.ContainsFunc(status.Warnings, func(w string) bool {
			return strings.Contains(w, "tenant north") && strings.Contains(w, file) && strings.Contains(w, "restore") && strings.Contains(w, string(keyring.ReasonKey))
		})
	}
	if !warned() {
		t.Error("status does not name the tenant and its file")
	}
	n := bus.DefaultSourceConfig("", "").MaxAckPending + 1
	for i := range n {
		s.send(t, "north "+strconv.Itoa(i), report("2.25."+strconv.Itoa(100+i), "FINDINGS: Clear lungs."))
	}
	s.send(t, "erase", &radstreamv1.StudyErased{StudyUid: "2.25.1"})
	s.sendAs(t, south, "south", report("2.25.1", "FINDINGS: Clear lungs.")) // never met: its key is made
	s.expect(t, "south", event.StudyIndexed, 1)
	refused := map[event.MessageID]bool{}
	awaitMessage(t, s.bus, event.StreamRejected, event.RejectedSubject(tenant, stagePrepare), func(m bus.Message) bool {
		refused[m.Cause] = true
		return len(refused) == n+1
	})
	if n := len(s.points(t)); n != 2 {
		t.Errorf("%d studies are indexed, want that of before and the other tenant's", n)
	}
	s.metricsAt(t, s.Addresses().Query) // ready

	write(secret)
	if warned() {
		t.Error("status warns of a key that was restored")
	}
	all := deadletter.Filter{Tenant: tenant, Stage: stagePrepare, Reason: string(keyring.ReasonKey)}
	if done, err := deadletter.Each(t.Context(), s.bus, all, deadletter.Requeue); done != n+1 || err != nil {
		t.Fatalf("%d were requeued, want %d: %v", done, n+1, err)
	}
	awaitRemoved(t, s.bus, before)
	s.receipt(t, "erase")
	indexed := map[event.StudyKey]bool{}
	awaitMessage(t, s.bus, event.StreamIndexed, event.IndexedSubject(tenant, "*"), func(m bus.Message) bool {
		if m.Type == event.StudyIndexed {
			indexed[m.StudyKey()] = true
		}
		return len(indexed) == n
	})
	for i := range n {
		if !indexed[s.key(t, tenant).Study(event.StudyUID("2.25."+strconv.Itoa(100+i)))] {
			t.Fatalf("arrival %d is lost", i)
		}
	}
	if n := s.messages(t, event.StreamRejected); n != 0 {
		t.Errorf("%d dead letters are left", n)
	}
	awaitNothingPending(t, s) // a request goes behind its receipt
	if left, err := s.bus.On(t.Context(), event.StreamStudies, event.StudyErasedSubject(tenant)); len(left) > 0 || err != nil {
		t.Errorf("%d requests to erase are left, %v", len(left), err)
	}
	s.stop(t)
	if text := log.String(); strings.Count(text, "the key of tenant north is damaged: "+file) < n+1 || strings.Contains(text, string(damaged)) {
		t.Error("the log does not name the tenant and its file, or holds bytes of the key")
	}
}

// TestUnusableKey: what a key that cannot be used does to an input, and that a restored file counts
// without a restart.
func TestUnusableKey(t *testing.T) {
	s := start(t, t.TempDir(), io.Discard)
	s.send(t, "one", report("2.25.1", "FINDINGS: Clear lungs."))
	s.expect(t, "one", event.StudyIndexed, 1)
	want := s.key(t, tenant)
	study, _ := s.prepared(t, tenant, "2.25.1")
	file := filepath.Join(s.conf.KeyDir(), keyring.File(tenant))
	secret, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spoil func() error
		first fault.Kind // at the first delivery
	}{
		"damaged": {func() error { return os.WriteFile(file, []byte("12"), 0o600) }, fault.Corrupt},
		"another": {func() error { return os.WriteFile(file, []byte(strings.Repeat("01", deid.KeySize)), 0o600) }, fault.Corrupt},
		"missing": {func() error { return os.Remove(file) }, fault.Corrupt}, // another is made in its place
		"unread":  {func() error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o700)) }, fault.Transient},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.spoil(); err != nil {
				t.Fatal(err)
			}
			ring, err := keyring.Open(s.conf.KeyDir()) // of a process that starts now
			if err != nil {
				t.Fatal(err)
			}
			h := &prepareHandler{archive: s.bus, identities: s.identity, keys: ring}
			for attempt, kind := range map[uint64]fault.Kind{1: c.first, keyTries: fault.Corrupt} {
				_, err := h.key(t.Context(), stage.Input{Attempt: attempt}, tenant)
				if fault.KindOf(err) != kind || fault.ReasonOf(err) != keyring.ReasonKey || !strings.Contains(fault.Detail(err), "the key of tenant north") || !strings.Contains(fault.Detail(err), "north.key") {
					t.Errorf("delivery %d: %v", attempt, err)
				}
			}
			// What needs no key goes on: a revision of a study that stays with its patient.
			if _, err := (&relateHandler{h}).relate(t.Context(), relation{in: stage.Input{Attempt: 1}, tenant: tenant,
				patient: event.PatientKey(study.GetPatientKey()), study: event.StudyKey(study.GetStudyKey())}); err != nil {
				t.Errorf("relate: %v", err)
			}
			if err := errors.Join(os.RemoveAll(file), os.WriteFile(file, secret, 0o600)); err != nil {
				t.Fatal(err)
			}
			if got, err := h.key(t.Context(), stage.Input{Attempt: 1}, tenant); err != nil || got.Fingerprint() != want.Fingerprint() {
				t.Errorf("restored: %v", err)
			}
		})
	}
}
