package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/services/bus/bustest"
)

// TestPublishCounts: a study of more objects than fit into one arrival is counted by its arrivals,
// against the number of arrivals.
func TestPublishCounts(t *testing.T) {
	dir := t.TempDir()
	list := "study_id,image\n"
	for i := range event.MaxObjects + 1 {
		name := fmt.Sprintf("%d.png", i)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		list += "s1," + name + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "studies.csv"), []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	url := bustest.Serve(t)
	bustest.Connect(t, url)
	code, stdout, stderr := runLine(t, "", "publish", dir, "--nats-url", url)
	if code != 0 || !strings.HasPrefix(stdout, "2 published in ") || !strings.Contains(stderr, "published 2/2") {
		t.Errorf("exit code %d:\n%s%s", code, stdout, stderr)
	}
}
