package bus_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/bus/bustest"
)

// TestServe: who asks is answered, also when the answer is one that the server does not carry.
func TestServe(t *testing.T) {
	url := bustest.Serve(t)
	b := bustest.Connect(t, url)
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	stop, err := b.Serve(bus.Service{Name: "test", Version: "1.0.0", Endpoints: []bus.Endpoint{{
		Name: "bytes", Subject: "test.bytes",
		Answer: func(_ context.Context, _ string, _ event.Trace, body []byte) ([]byte, error) {
			if string(body) == "many" {
				return make([]byte, nc.MaxPayload()+1), nil
			}
			return body, nil
		},
		Failed: func(err error) (int, map[string][]string, []byte) { return 422, nil, []byte(fault.ReasonOf(err)) },
	}}})
	if err != nil {
		t.Fatal(err)
	}
	for ask, want := range map[string]struct{ code, body string }{"few": {"", "few"}, "many": {"422", string(bus.ReasonAnswer)}} {
		m, err := nc.Request("test.bytes", []byte(ask), time.Minute)
		if err != nil {
			t.Fatal(ask, err)
		}
		if m.Header.Get(micro.ErrorCodeHeader) != want.code || string(m.Data) != want.body {
			t.Errorf("%s: %v %q", ask, m.Header, m.Data)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
