package flat

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
)

const (
	killDir = "RADSTREAM_FLAT_KILL_DIR" // tells the child process of TestKill where to write
	kills   = "RADSTREAM_KILLS"         // how often TestKill kills; make proof asks for 200
)

// TestKill runs a child that upserts, changes payloads, deletes and compacts from several
// goroutines, saying what it begins and what was acknowledged, and kills it without warning
// at a random moment. Then every point has to be as the last acknowledged write left it, or
// as the one that was under way would.
func TestKill(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		writeForever(t, dir)
		return
	}
	rounds := 4
	if text := os.Getenv(kills); text != "" {
		var err error
		rounds, err = strconv.Atoi(text)
		check(t, err)
	}
	dir := t.TempDir()
	acknowledged, begun := map[uint64]int64{}, map[uint64]int64{}
	writes := 0
	for round := range rounds {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$", "-test.count=1")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s", killDir, dir))
		out, err := cmd.StdoutPipe()
		check(t, err)
		check(t, cmd.Start())
		lines := bufio.NewScanner(out)
		moment, killed := 200+rand.IntN(1000), false
		for n := 0; lines.Scan(); n++ {
			var what string
			var id uint64
			var rev int64
			if k, err := fmt.Sscanf(lines.Text(), "%s %d %d", &what, &id, &rev); err == nil && k == 3 {
				begun[id] = rev
				if what == "acknowledged" {
					acknowledged[id] = rev
					writes++
				}
			}
			if n == moment {
				check(t, cmd.Process.Kill())
				killed = true
			}
			if what != "begun" && what != "acknowledged" {
				t.Log(lines.Text())
			}
		}
		_ = cmd.Wait() // killed
		if !killed {
			t.Fatalf("round %d: the writer ended by itself", round)
		}
		db, err := Open(dir, Options{})
		check(t, err)
		for id, want := range acknowledged {
			r, err := db.Get("c", []PointID{NumID(id)}, VectorSelection{All: true})
			check(t, err)
			have := int64(0) // deleted
			if len(r) == 1 {
				v, _ := r[0].Payload.Get("rev")
				have, _ = v.(int64)
			}
			if have != want && have != begun[id] {
				t.Errorf("round %d, killed after %d lines: point %d is at %d, acknowledged was %d and begun %d", round, moment, id, have, want, begun[id])
			}
			// What was under way is decided now.
			acknowledged[id], begun[id] = have, have
		}
		check(t, db.Close())
		if t.Failed() {
			return
		}
	}
	if writes < 50*rounds {
		t.Errorf("only %d writes were acknowledged before %d kills", writes, rounds)
	}
}

// writeForever writes from four goroutines, each with points of its own, so that the order of
// the writes to a point is known.
func writeForever(t *testing.T, dir string) {
	db, err := Open(dir, Options{CompactAt: 16 << 10})
	check(t, err)
	if len(db.Collections()) == 0 {
		check(t, db.CreateCollection("c", testConfig()))
		check(t, db.CreateIndex("c", "rev", Index{Type: IntegerIndex}))
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	say := func(what string, id uint64, rev int64) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(what, id, rev)
	}
	for w := range uint64(4) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
			for {
				id, rev := 4*rng.Uint64N(40)+w, 1+rng.Int64N(1<<62)
				payload := obj(t, Member{"rev", rev})
				one := Selector{IDs: []PointID{NumID(id)}}
				stored, err := db.Get("c", one.IDs, VectorSelection{})
				if err == nil {
					switch op := rng.IntN(5); {
					case op == 0:
						rev = 0
						say("begun", id, rev)
						err = db.Delete("c", one)
					case op == 1 && len(stored) == 1:
						say("begun", id, rev)
						err = db.SetPayload("c", one, nil, payload)
					default:
						p := numbered(t, id, rng)
						p.Payload = payload
						say("begun", id, rev)
						_, err = db.Upsert("c", []Point{p}, UpsertOptions{})
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
				say("acknowledged", id, rev)
			}
		})
	}
	wg.Wait()
}
