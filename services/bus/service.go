package bus

import (
	"context"
	"maps"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go/micro"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

// ReasonAnswer refuses a request whose answer the server does not carry for its size.
const ReasonAnswer fault.Reason = "answer_too_large"

// Service is a NATS micro service: endpoints that anybody finds by `nats micro list`, and that
// several processes share.
type Service struct {
	Name, Version, Description string
	Endpoints                  []Endpoint
}

// Endpoint answers the requests of one subject.
type Endpoint struct {
	Name    string
	Subject string // may hold wildcards
	// Answer gets the subject that was asked, the trace of the request and its body. Each request has a goroutine of its
	// own: it is for Answer to bound how many are worked on at once, and for how long.
	Answer func(ctx context.Context, subject string, from event.Trace, body []byte) ([]byte, error)
	// Failed makes of an error its code, which travels in the header Nats-Service-Error-Code,
	// other headers and the body of the answer.
	Failed func(err error) (code int, header map[string][]string, body []byte)
}

// Serve answers requests from when it returns until stop is called, which lets finish what is being
// answered.
func (b *Bus) Serve(s Service) (stop func() error, err error) {
	const op = "bus.Serve"
	svc, err := micro.AddService(b.nc, micro.Config{Name: s.Name, Version: s.Version, Description: s.Description})
	if err != nil {
		return nil, fault.E(op, fault.Internal, err)
	}
	var running sync.WaitGroup
	for _, e := range s.Endpoints {
		err := svc.AddEndpoint(e.Name, micro.HandlerFunc(func(r micro.Request) {
			running.Go(func() { // the library calls one handler at a time
				answer, err := e.Answer(context.Background(), r.Subject(), event.TraceOf(r.Headers()), r.Data())
				if most := b.nc.MaxPayload(); err == nil && int64(len(answer)) > most { // else who asked would wait in vain
					err = fault.Reject(op, fault.Unsupported, ReasonAnswer, "the answer has %d bytes, and the NATS server carries %d: ask for less at once", len(answer), most)
				}
				if err != nil {
					code, header, body := e.Failed(err)
					said := micro.Headers{micro.ErrorCodeHeader: {strconv.Itoa(code)}, micro.ErrorHeader: {fault.Detail(err)}}
					maps.Copy(said, header)
					// Not r.Error, whose note the library reads as soon as the handler returns. Nobody
					// waits for the answer any more if this fails.
					_ = r.Respond(body, micro.WithHeaders(said))
					return
				}
				_ = r.Respond(answer) // as above
			})
		}), micro.WithEndpointSubject(e.Subject))
		if err != nil {
			_ = svc.Stop()
			return nil, fault.E(op, fault.Internal, err)
		}
	}
	// The library does not wait until the server knows of the endpoints: who asked at once would be told that there are none.
	if err := b.nc.FlushTimeout(b.timeout); err != nil {
		_ = svc.Stop()
		return nil, Failure(op, err)
	}
	return func() error {
		err := svc.Stop()
		running.Wait()
		return fault.E(op, fault.Unavailable, err)
	}, nil
}
