package bus

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/micro"

	"github.com/radstream/radstream/schemas/fault"
)

// Service is a NATS micro service: endpoints that anybody finds by `nats micro list`, and that
// several processes share.
type Service struct {
	Name, Version, Description string
	Endpoints                  []Endpoint
	Concurrency                int           // requests being answered at once, all endpoints together
	Timeout                    time.Duration // of one request
}

// Endpoint answers the requests of one subject.
type Endpoint struct {
	Name    string
	Subject string // may hold wildcards
	// Answer gets the subject that was asked and the body. It must be safe for concurrent use.
	Answer func(ctx context.Context, subject string, body []byte) ([]byte, error)
	// Failed makes of an error its code, which travels in the header Nats-Service-Error-Code,
	// and the body of the answer.
	Failed func(err error) (code int, body []byte)
}

// Serve answers requests until stop is called, which lets finish what is being answered.
func (b *Bus) Serve(s Service) (stop func() error, err error) {
	const op = "bus.Serve"
	svc, err := micro.AddService(b.nc, micro.Config{Name: s.Name, Version: s.Version, Description: s.Description})
	if err != nil {
		return nil, fault.E(op, fault.Internal, err)
	}
	places := make(chan struct{}, s.Concurrency)
	var running sync.WaitGroup
	for _, e := range s.Endpoints {
		err := svc.AddEndpoint(e.Name, micro.HandlerFunc(func(r micro.Request) {
			select {
			case places <- struct{}{}:
			default:
				fail(r, e, fault.Errorf(op, fault.Unavailable, "%d requests are being answered already", s.Concurrency))
				return
			}
			running.Go(func() { // the library calls one handler at a time
				defer func() { <-places }()
				ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
				defer cancel()
				answer, err := e.Answer(ctx, r.Subject(), r.Data())
				if err != nil {
					fail(r, e, err)
					return
				}
				_ = r.Respond(answer) // nobody waits for it any more if this fails
			})
		}), micro.WithEndpointSubject(e.Subject))
		if err != nil {
			_ = svc.Stop()
			return nil, fault.E(op, fault.Internal, err)
		}
	}
	return func() error {
		err := svc.Stop()
		running.Wait()
		return fault.E(op, fault.Unavailable, err)
	}, nil
}

func fail(r micro.Request, e Endpoint, err error) {
	code, body := e.Failed(err)
	_ = r.Error(strconv.Itoa(code), fault.Detail(err), body) // as above
}
