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

// The subjects of the NATS endpoints. A search is for the tenant that its subject ends in, so
// that an account's permission on subjects is a permission on tenants; SubjectSearch itself is
// for the default one.
const (
	SubjectEmbedText = "radstream.embed.text"
	SubjectSearch    = "radstream.search"
)

// EmbedRequest asks for the vector of a text.
type EmbedRequest struct {
	Text string `json:"text"` // of at most MaxText bytes
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
// with its status in the header Nats-Service-Error-Code.
func (s *Service) NATS(concurrency int, timeout time.Duration) bus.Service {
	failed := func(err error) (int, []byte) {
		p := problemOf(err)
		body, _ := json.Marshal(p) // text and a number
		return p.Status, body
	}
	endpoint := func(name, subject string, answer func(context.Context, string, []byte) ([]byte, error)) bus.Endpoint {
		counted := func(ctx context.Context, subject string, body []byte) ([]byte, error) {
			begun, status := time.Now(), http.StatusOK
			out, err := answer(ctx, subject, body)
			if err != nil {
				status = httpStatus(err)
			}
			s.metrics.Answered("NATS "+name, status, time.Since(begun))
			return out, err
		}
		return bus.Endpoint{Name: name, Subject: subject, Answer: counted, Failed: failed}
	}
	return bus.Service{
		Name: "radstream", Version: apiVersion, Description: "Encodes texts and searches chest studies",
		Concurrency: concurrency, Timeout: timeout,
		Endpoints: []bus.Endpoint{
			endpoint("embed-text", SubjectEmbedText, s.embedText),
			endpoint("search", SubjectSearch, s.searchNATS),
			endpoint("search-tenant", SubjectSearch+".*", s.searchNATS),
		},
	}
}

func (s *Service) embedText(ctx context.Context, _ string, body []byte) ([]byte, error) {
	const op = "query.embedText"
	var r EmbedRequest
	if !decode(body, &r) || r.Text == "" || len(r.Text) > MaxText {
		return nil, fault.Reject(op, fault.Invalid, ReasonRequest, `the body must be {"text": "..."}, with 1 to %d bytes of text`, MaxText)
	}
	s, release, err := s.on("")
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	defer release()
	var v embedder.Vector
	err = s.timed("text", func() (err error) { v, err = s.encoder.EncodeText(ctx, r.Text); return err })
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	m := s.encoder.Model()
	return json.Marshal(EmbedResponse{Model: m.Ref.String(), Untrained: m.Untrained, Collection: s.collection, Using: "image", Vector: v})
}

func (s *Service) searchNATS(ctx context.Context, subject string, body []byte) ([]byte, error) {
	const op = "query.searchNATS"
	r, err := decodeRequest(body)
	if err != nil {
		return nil, err
	}
	tenant := event.DefaultTenant
	if word, ok := strings.CutPrefix(subject, SubjectSearch+"."); ok {
		if tenant, err = event.ParseTenant(word); err != nil {
			return nil, fault.Wrap(op, err)
		}
	}
	if r.Tenant != "" && r.Tenant != tenant {
		return nil, fault.Reject(op, fault.Usage, reasonForbidden, "the subject is that of another tenant than the one that is named")
	}
	r.Tenant = tenant
	found, err := s.Search(ctx, r)
	if err != nil {
		return nil, err
	}
	return json.Marshal(found)
}
