package main

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/indexer/qdrant"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/services/publish"
)

// TestKill kills the server with SIGKILL at ten random moments of a publish run, starts it
// again, lets the publisher finish, and holds the index to that of an undisturbed run: the
// same studies of the same patients, prepared alike, with the same vectors and labels. Revisions
// are not compared: a prior that comes after its follow-up costs one, and studies are
// published and prepared side by side.
func TestKill(t *testing.T) {
	const studies, broken = 24, 3
	films := filepath.Join(t.TempDir(), "films")
	if r := run(t, "phantom", films, "--studies", strconv.Itoa(studies), "--broken", strconv.Itoa(broken), "--side", "256", "--seed", "7"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	keys := filepath.Join(t.TempDir(), "keys") // the same pseudonyms in every run
	p := freePorts(t)

	s := up(t, t.TempDir(), p, "--tenants-keys-dir", keys)
	start := time.Now()
	sum := s.publish(t, films)
	whole := time.Since(start)
	if sum.Published != studies || sum.Indexed != studies-broken || sum.Rejected != broken {
		t.Fatalf("undisturbed: %+v", sum)
	}
	want := points(t, s)
	s.stop(t)
	if len(want) != studies-broken {
		t.Fatalf("%d points in the index, want %d", len(want), studies-broken)
	}

	seed := uint64(time.Now().UnixNano())
	t.Logf("an undisturbed run takes %v; seed %d", whole.Round(time.Millisecond), seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range 10 {
		dir := t.TempDir()
		s := up(t, dir, p, "--tenants-keys-dir", keys)
		publisher := publishInBackground(t, s, films)
		moment := time.Duration(random.Int64N(int64(whole)))
		select {
		case <-time.After(moment):
		case <-publisher.done:
		}
		s.kill(t)
		s = up(t, dir, p, "--tenants-keys-dir", keys)
		sum, published := publisher.wait(t)
		if !published { // it was killed before the publisher had reached it
			sum = s.publish(t, films)
		}
		if sum.Published != studies || sum.Indexed != studies-broken || sum.Rejected != broken {
			t.Errorf("round %d, killed after %v: %+v", round, moment, sum)
		}
		if d := cmp.Diff(want, points(t, s)); d != "" {
			t.Errorf("round %d, killed after %v: the index differs (-want +got):\n%s", round, moment, d)
		}
		s.stop(t)
	}
}

// point is what must be the same after a kill.
type point struct {
	Patient     string
	Preparation string
	Vectors     map[indexer.VectorName][]float32
	Labels      map[string]float32
}

// points reads the whole index by the Qdrant API.
func points(t *testing.T, s *server) map[indexer.PointID]point {
	t.Helper()
	c, err := qdrant.Dial(s.Qdrant, "", false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	collection := indexer.CollectionFor(model.Ref{Name: "tiny", Version: "1.0.1"}.Key())
	found, next, err := c.Scan(t.Context(), collection, nil, 1000)
	if err != nil || next != nil {
		t.Fatalf("%v, more: %v", err, next)
	}
	ids := make([]indexer.PointID, len(found))
	for i, f := range found {
		ids[i] = f.ID
	}
	if found, err = c.Get(t.Context(), collection, ids); err != nil || len(found) != len(ids) {
		t.Fatalf("%d of %d points, %v", len(found), len(ids), err)
	}
	all := map[indexer.PointID]point{}
	for _, f := range found {
		all[f.ID] = point{f.PatientKey, f.PreparationVersion, f.Vectors, f.Labels}
	}
	return all
}

type background struct {
	done   chan struct{}
	cmd    *exec.Cmd
	stdout bytes.Buffer
	stderr bytes.Buffer
}

func publishInBackground(t *testing.T, s *server, dir string) *background {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	b := &background{done: make(chan struct{})}
	b.cmd = exec.CommandContext(ctx, binary, "publish", "--wait", "--json", "--nats-url", s.NATS, dir)
	b.cmd.Stdout, b.cmd.Stderr = &b.stdout, &b.stderr
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(b.done)
		_ = b.cmd.Wait() // wait looks at the exit code
	}()
	return b
}

// wait returns what the publisher says at its end; false when it found no server at first.
func (b *background) wait(t *testing.T) (publish.Summary, bool) {
	t.Helper()
	<-b.done
	var sum publish.Summary
	switch code := b.cmd.ProcessState.ExitCode(); code {
	case 0:
	case 4:
		return sum, false
	default:
		t.Fatalf("publish ended with %d: %s", code, b.stderr.String())
	}
	if err := json.Unmarshal([]byte(strings.TrimSpace(b.stdout.String())), &sum); err != nil {
		t.Fatal(err)
	}
	return sum, true
}
