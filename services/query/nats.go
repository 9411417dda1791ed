package query

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/bus"
)

// The subjects of the NATS endpoints. A request is for the tenant that its subject ends in, so
// that an account's permission on subjects is a permission on tenants; without one it is for the
// default tenant. A text has the same vector for all; its tenant is whose rate it counts against.
const (
	SubjectEmbedText = "radstream.embed.text"
	SubjectSearch    = "radstream.search"
)

// EmbedRequest asks for the vector of a text.
type EmbedRequest struct {
	Text string `json:"text"` // of 1 to MaxText bytes
}

// EmbedResponse is a vector for the image vectors of the model's collection.
type EmbedResponse struct {
	Model      string    `json:"model"` // name@version
	Untrained  bool      `json:"untrained,omitempty"`
	Collection string    `json:"collection"` // of Qdrant, which holds that model's vectors
	Using      string    `json:"using"`      // the named vector to compare with
	Vector     []float32 `json:"vector"`     // of length 1
}

// apiVersion is that of the endpoints, which the library wants in the form of semver.
const apiVersion = "1.0.0"

// NATS returns the endpoints for services on the bus: radstream.embed.text for those that then
// ask Qdrant themselves, radstream.search for the others. Answers are JSON, failures a Problem
// with its status in the header Nats-Service-Error-Code and, where HTTP has it, Retry-After. The
// caller that limits are for is the tenant.
func (s *Server) NATS() bus.Service {
	failed := func(err error) (int, map[string][]string, []byte) {
		p, header := s.problem(err), http.Header{}
		setRetryAfter(header, err)
		body, _ := json.Marshal(p) // text and a number
		return p.Status, header, body
	}
	endpoint := func(name, subject string, answer func(context.Context, event.Tenant, []byte) (any, error)) bus.Endpoint {
		prefix := strings.TrimSuffix(subject, "*")
		return bus.Endpoint{Name: name, Subject: subject, Failed: failed, Answer: func(ctx context.Context, asked string, from event.Trace, body []byte) ([]byte, error) {
			begun := time.Now()
			out, err := s.onBus(ctx, strings.TrimPrefix(asked, prefix), body, func(ctx context.Context, t event.Tenant, body []byte) (v any, err error) {
				ctx, end := s.Traces.NATS(ctx, from, strings.TrimSuffix(prefix, "."))
				defer func() { end(busStatus(err)) }()
				return answer(ctx, t, body)
			})
			status := busStatus(err)
			s.Metrics.Answered("NATS "+name, status, time.Since(begun))
			return out, err
		}}
	}
	return bus.Service{
		Name: "radstream", Version: apiVersion, Description: "Encodes texts and searches chest studies",
		Endpoints: []bus.Endpoint{
			endpoint("embed-text", SubjectEmbedText, s.embedText),
			endpoint("embed-text-tenant", SubjectEmbedText+".*", s.embedText),
			endpoint("search", SubjectSearch, s.search),
			endpoint("search-tenant", SubjectSearch+".*", s.search),
		},
	}
}

// busStatus is the status of an answer, as HTTP would have it.
func busStatus(err error) int {
	if err != nil {
		return httpStatus(err)
	}
	return http.StatusOK
}

// onBus answers one request; word is what its subject has for a tenant, empty for none.
func (s *Server) onBus(ctx context.Context, word string, body []byte, answer func(context.Context, event.Tenant, []byte) (any, error)) ([]byte, error) {
	const op = "query.onBus"
	tenant := event.DefaultTenant
	if word != "" {
		var err error
		if tenant, err = event.ParseTenant(word); err != nil {
			return nil, fault.Wrap(op, err)
		}
	}
	ctx, done, err := s.admit(ctx, "bus "+string(tenant))
	if err != nil {
		return nil, err
	}
	defer done()
	if len(body) > maxBody {
		return nil, errTooLarge()
	}
	v, err := answer(ctx, tenant, body)
	if err != nil {
		return nil, err
	}
	out, err := json.Marshal(v)
	return out, fault.E(op, fault.Internal, err)
}

func (s *Server) embedText(ctx context.Context, _ event.Tenant, body []byte) (any, error) {
	var r EmbedRequest
	if !decode(body, &r) {
		return nil, fault.Reject("query.embedText", fault.Invalid, ReasonRequest, `the body must be {"text": "..."}`)
	}
	return s.answer.EmbedText(ctx, r)
}

func (s *Server) search(ctx context.Context, tenant event.Tenant, body []byte) (any, error) {
	r, err := decodeRequest(body)
	if err != nil {
		return nil, err
	}
	if r.Tenant != "" && r.Tenant != tenant {
		return nil, fault.Reject("query.search", fault.Usage, reasonForbidden, "the subject is that of another tenant than the one that is named")
	}
	r.Tenant = tenant
	return s.answer.Search(ctx, r)
}

// EmbedText returns the vector of a text. Errors: Invalid for none and for one that is too long;
// Unavailable.
func (s *Service) EmbedText(ctx context.Context, r EmbedRequest) (EmbedResponse, error) {
	const op = "query.EmbedText"
	if blank(r.Text) || len(r.Text) > MaxText {
		return EmbedResponse{}, fault.Reject(op, fault.Invalid, ReasonRequest, "a text has 1 to %d bytes, not all of them spaces", MaxText)
	}
	s, release, err := s.on("")
	if err != nil {
		return EmbedResponse{}, fault.Wrap(op, err)
	}
	defer release()
	var v embedder.Vector
	err = s.timed(ctx, "text", func() (err error) { v, err = s.encoder.EncodeText(ctx, r.Text); return err })
	if err != nil {
		return EmbedResponse{}, fault.Wrap(op, err)
	}
	m := s.encoder.Model()
	return EmbedResponse{Model: m.Ref.String(), Untrained: m.Untrained, Collection: s.collection, Using: "image", Vector: v}, nil
}
