package query

import (
	"net/http"
	"net/url"
	"reflect"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/auth"
)

// route is one call of the API: what answers it and what describes it are one thing.
type route struct {
	method, path string
	id, summary  string
	params       []param
	request      reflect.Type // nil: no body
	response     reflect.Type
	errors       []int
	answer       func(s *Server, w http.ResponseWriter, r *http.Request, c auth.Caller) (any, error)
}

// param is a parameter in the path or the query.
type param struct {
	name, in, doc string
	required      bool
	max           int // bytes
	pattern       string
}

var (
	tenantParam = param{name: "tenant", in: "query", doc: "Tenant of the study; by default that of the credential, or \"default\" where there are no credentials. Another than the credential's is refused.", max: 63, pattern: "^[a-z0-9][a-z0-9-]*$"}
	studyParam  = param{name: "study", in: "query", doc: "StudyUID of the study.", required: true, max: maxUID}
	idParam     = param{name: "id", in: "path", doc: "StudyUID of the study.", required: true, max: maxUID}
)

// routes lists the calls.
func routes() []route {
	return []route{
		{
			method: http.MethodPost, path: "/v1/search", id: "search",
			summary: "The studies nearest to a text, a film, a study, a vector or examples, best first.",
			request: reflect.TypeFor[Request](), response: reflect.TypeFor[Response](),
			errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusGone, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity},
			answer: func(s *Server, w http.ResponseWriter, r *http.Request, c auth.Caller) (any, error) {
				if _, err := s.query(r, c); err != nil {
					return nil, err
				}
				data, err := body(w, r)
				if err != nil {
					return nil, err
				}
				req, err := decodeRequest(data)
				if err != nil {
					return nil, err
				}
				if req.Tenant, err = s.tenant(c, req.Tenant); err != nil {
					return nil, err
				}
				return s.answer.Search(r.Context(), req)
			},
		},
		{
			method: http.MethodPost, path: "/v1/explain", id: "explain",
			summary: "What of a study makes it similar to a text: a heat map of each view, and the nearest sentence of its report.",
			request: reflect.TypeFor[ExplainRequest](), response: reflect.TypeFor[Explanation](),
			errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusGone, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType},
			answer: func(s *Server, w http.ResponseWriter, r *http.Request, c auth.Caller) (any, error) {
				if _, err := s.query(r, c); err != nil {
					return nil, err
				}
				data, err := body(w, r)
				if err != nil {
					return nil, err
				}
				var req ExplainRequest
				if !decode(data, &req) {
					return nil, fault.Reject("query.explain", fault.Invalid, ReasonRequest, "the body must be one JSON object with study and text, and optionally tenant; other fields are refused")
				}
				if req.Tenant, err = s.tenant(c, req.Tenant); err != nil {
					return nil, err
				}
				return s.answer.Explain(r.Context(), req)
			},
		},
		{
			method: http.MethodGet, path: "/v1/studies/{id}", id: "study",
			summary: "What the index knows of a study.",
			params:  []param{idParam, tenantParam}, response: reflect.TypeFor[StudyResponse](),
			errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusGone},
			answer: func(s *Server, _ http.ResponseWriter, r *http.Request, c auth.Caller) (any, error) {
				q, err := s.query(r, c, tenantParam)
				if err != nil {
					return nil, err
				}
				return s.answer.Study(r.Context(), event.Tenant(q.Get("tenant")), event.StudyUID(r.PathValue("id")))
			},
		},
		{
			method: http.MethodGet, path: "/v1/labels", id: "labels",
			summary: "The zero-shot label scores of a study, with the prompts and the calibration that made them, highest first.",
			params:  []param{studyParam, tenantParam}, response: reflect.TypeFor[LabelsResponse](),
			errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusGone},
			answer: func(s *Server, _ http.ResponseWriter, r *http.Request, c auth.Caller) (any, error) {
				q, err := s.query(r, c, studyParam, tenantParam)
				if err != nil {
					return nil, err
				}
				return s.answer.Labels(r.Context(), event.Tenant(q.Get("tenant")), event.StudyUID(q.Get("study")))
			},
		},
		{
			method: http.MethodGet, path: "/v1/status", id: "status",
			summary:  "How the system is: services, streams, what is pending, what is indexed; of all tenants together.",
			response: reflect.TypeFor[Status](),
			answer: func(s *Server, _ http.ResponseWriter, r *http.Request, c auth.Caller) (any, error) {
				if _, err := s.query(r, c); err != nil {
					return nil, err
				}
				return s.Status(r.Context())
			},
		},
	}
}

// query reads the parameters behind the question mark: those that the call has, each once at
// most, and the tenant put right.
func (s *Server) query(r *http.Request, c auth.Caller, known ...param) (url.Values, error) {
	const op = "query.params"
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fault.Reject(op, fault.Invalid, ReasonRequest, "the parameters of the request cannot be read")
	}
	given := 0
	for _, p := range known {
		given += min(1, len(q[p.name]))
		if len(q[p.name]) > 1 || len(q.Get(p.name)) > p.max {
			return nil, fault.Reject(op, fault.Invalid, ReasonRequest, "parameter %s is given once at most, with at most %d bytes", p.name, p.max)
		}
	}
	if given != len(q) {
		return nil, fault.Reject(op, fault.Invalid, ReasonRequest, "the call has no parameter of that name; GET /openapi.json lists those it has")
	}
	t, err := s.tenant(c, event.Tenant(q.Get("tenant")))
	if err != nil {
		return nil, err
	}
	q.Set("tenant", string(t))
	return q, nil
}
