package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/radstream/radstream/services/bus"
)

// TestDocumentedEncryption starts a server with the configuration of docs/OPERATIONS.md and
// looks for what was stored on its disk: in vain, but with the key it is there.
func TestDocumentedEncryption(t *testing.T) {
	m := regexp.MustCompile("(?s)```\n(jetstream \\{.*?)```").FindStringSubmatch(document(t, "docs/OPERATIONS.md"))
	if m == nil {
		t.Fatal("docs/OPERATIONS.md shows no configuration of JetStream")
	}
	t.Setenv("JS_KEY", "secret-of-this-test")
	for _, encrypted := range []bool{true, false} {
		dir := t.TempDir()
		text := strings.Replace(m[1], "/var/lib/nats", dir, 1)
		if !encrypted { // what the test would see without
			text = regexp.MustCompile(`(?m)^  (cipher|key):.*$`).ReplaceAllString(text, "")
		}
		config := filepath.Join(t.TempDir(), "nats.conf")
		if err := os.WriteFile(config, []byte("port: -1\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		put(t, config, "CANARY")
		if found := onDisk(t, dir, "CANARY"); found == encrypted {
			t.Errorf("encrypted %v: what was stored is on disk: %v", encrypted, found)
		}
	}
}

// put stores a value in KV identity of a server with this configuration, and reads it back.
func put(t *testing.T, config, value string) {
	t.Helper()
	options, err := natsserver.ProcessConfigFile(config)
	if err != nil {
		t.Fatal(err)
	}
	options.NoSigs, options.NoLog = true, true
	srv, err := natsserver.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	defer srv.WaitForShutdown()
	defer srv.Shutdown()
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bus.BucketIdentity})
	if err == nil {
		_, err = kv.PutString(t.Context(), "key", value)
	}
	if err != nil {
		t.Fatal(err)
	}
	if e, err := kv.Get(t.Context(), "key"); err != nil || string(e.Value()) != value {
		t.Fatalf("%v", err)
	}
}

func onDisk(t *testing.T, dir, text string) (found bool) {
	t.Helper()
	bytesSeen := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		bytesSeen += len(data)
		found = found || bytes.Contains(data, []byte(text))
		return err
	})
	if err != nil || bytesSeen == 0 {
		t.Fatalf("%d bytes, %v", bytesSeen, err)
	}
	return found
}
