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

// killDir tells the child process of TestKill where to write.
const killDir = "RADSTREAM_FLAT_KILL_DIR"

// TestKill runs a child that writes from several goroutines and prints each id once it is
// acknowledged, kills it without warning, and looks for every id that was printed.
func TestKill(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		writeForever(t, dir)
		return
	}
	dir := t.TempDir()
	acknowledged := make(map[uint64]bool)
	for round := range 4 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$", "-test.count=1")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s", killDir, dir))
		out, err := cmd.StdoutPipe()
		check(t, err)
		check(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if id, err := strconv.ParseUint(lines.Text(), 10, 64); err == nil {
				acknowledged[id] = true
			}
			if n == 300+170*round {
				check(t, cmd.Process.Kill())
			}
		}
		_ = cmd.Wait() // killed
		db, err := Open(dir, Options{})
		check(t, err)
		lost := 0
		for id := range acknowledged {
			if r, err := db.Get("c", []PointID{NumID(id)}, VectorSelection{}); err != nil || len(r) != 1 {
				lost++
			}
		}
		if lost > 0 || len(acknowledged) < 300 {
			t.Fatalf("round %d: %d of %d acknowledged writes are lost", round, lost, len(acknowledged))
		}
		check(t, db.Close())
	}
}

func writeForever(t *testing.T, dir string) {
	db, err := Open(dir, Options{CompactAt: 16 << 10})
	check(t, err)
	if len(db.Collections()) == 0 {
		check(t, db.CreateCollection("c", testConfig()))
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
			for {
				id := rng.Uint64() >> 1
				if _, err := db.Upsert("c", []Point{numbered(t, id, rng)}, UpsertOptions{}); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				fmt.Println(id)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}
