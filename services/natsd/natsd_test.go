package natsd_test

import (
	"context"
	"encoding/json"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/natsd"
)

func config(dir string) natsd.Config {
	c := natsd.DefaultConfig(dir)
	c.Port = 0
	return c
}

func start(t *testing.T, c natsd.Config) *natsd.Server {
	t.Helper()
	s, err := natsd.Start(t.Context(), c, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

func dial(t *testing.T, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func TestKeepsWhatItAcknowledged(t *testing.T) {
	c := config(t.TempDir())
	s := start(t, c)
	js, err := jetstream.New(dial(t, s.ClientURL()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	s.Shutdown() // harmless

	s = start(t, c)
	js, err = jetstream.New(dial(t, s.ClientURL()))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetMsg(t.Context(), 1)
	if err != nil || string(m.Data) != "kept" {
		t.Fatalf("after a restart: %v, %v", m, err)
	}
}

func TestAnswersThatItSyncsAlways(t *testing.T) {
	s := start(t, config(t.TempDir()))
	m, err := dial(t, s.ClientURL()).Request("$SYS.REQ.SERVER.PING.JSZ", nil, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Data struct {
			Config struct {
				SyncAlways bool `json:"sync_always"`
			} `json:"config"`
		} `json:"data"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil || !answer.Data.Config.SyncAlways {
		t.Fatalf("sync_always is not in %s (%v)", m.Data, err)
	}
}

func TestRefusesStoreInUse(t *testing.T) {
	c := config(t.TempDir())
	s := start(t, c)
	_, err := natsd.Start(t.Context(), c, zerolog.Nop())
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), c.StoreDir) {
		t.Fatalf("a second server on the store: %v", err)
	}
	s.Shutdown()
	start(t, c)
}

func TestRefusesAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c := config(t.TempDir())
	c.Port = l.Addr().(*net.TCPAddr).Port
	_, err = natsd.Start(t.Context(), c, zerolog.Nop())
	want := "127.0.0.1:" + strconv.Itoa(c.Port) + " is in use"
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Fatalf("got %v, want one line with %q", err, want)
	}
	c.Port = 0
	start(t, c) // the failed start gave the store back
}

func TestToken(t *testing.T) {
	c := config(t.TempDir())
	c.Host, c.Token = "0.0.0.0", "secret"
	s := start(t, c)
	if _, err := nats.Connect(s.ClientURL()); err == nil {
		t.Fatal("a client without the token was let in")
	}
	dial(t, s.ClientURL(), nats.Token("secret"))
}

func TestCanceledStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := config(t.TempDir())
	if _, err := natsd.Start(ctx, c, zerolog.Nop()); fault.KindOf(err) != fault.Canceled {
		t.Fatal(err)
	}
	start(t, c)
}

func TestValidate(t *testing.T) {
	for name, spoil := range map[string]func(*natsd.Config){
		"store dir": func(c *natsd.Config) { c.StoreDir = "" },
		"port":      func(c *natsd.Config) { c.Port = 70000 },
		"host must": func(c *natsd.Config) { c.Host = "example" },
		"token":     func(c *natsd.Config) { c.Host = "0.0.0.0" },
	} {
		c := natsd.DefaultConfig(filepath.Join(t.TempDir(), "x"))
		if err := c.Validate(); err != nil {
			t.Fatalf("default: %v", err)
		}
		spoil(&c)
		if err := c.Validate(); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
