package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

// maxAnswer bounds an answer in bytes; MaxK hits with their scores fit many times.
const maxAnswer = 64 << 20

// Client asks a running system over HTTP.
type Client struct {
	base  string // http://host:port
	token string
	http  *http.Client
}

// NewClient talks to the query service at address, host:port or a URL with its scheme, with a
// token where it asks for one ("" for none).
func NewClient(address, token string) *Client {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	return &Client{base: strings.TrimSuffix(address, "/"), token: token, http: &http.Client{Timeout: 2 * time.Minute}}
}

// Search asks for the nearest studies. Errors carry the kind that the service gave;
// Unavailable means that nobody answers at the address.
func (c *Client) Search(ctx context.Context, r Request) (Response, error) {
	var out Response
	body, err := json.Marshal(r)
	if err != nil {
		return out, fault.E("query.Search", fault.Internal, err)
	}
	return out, c.do(ctx, http.MethodPost, "/v1/search", body, &out)
}

// Explain asks what of a study makes it similar to a text.
func (c *Client) Explain(ctx context.Context, r ExplainRequest) (Explanation, error) {
	var out Explanation
	body, err := json.Marshal(r)
	if err != nil {
		return out, fault.E("query.Explain", fault.Internal, err)
	}
	return out, c.do(ctx, http.MethodPost, "/v1/explain", body, &out)
}

// Labels asks for the label scores of one study.
func (c *Client) Labels(ctx context.Context, t event.Tenant, s event.StudyUID) (LabelsResponse, error) {
	var out LabelsResponse
	return out, c.do(ctx, http.MethodGet, "/v1/labels?"+of(t, url.Values{"study": {string(s)}}), nil, &out)
}

// Study asks what the index knows of one study.
func (c *Client) Study(ctx context.Context, t event.Tenant, s event.StudyUID) (StudyResponse, error) {
	var out StudyResponse
	return out, c.do(ctx, http.MethodGet, "/v1/studies/"+url.PathEscape(string(s))+"?"+of(t, url.Values{}), nil, &out)
}

// Status asks how the system is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var out Status
	return out, c.do(ctx, http.MethodGet, "/v1/status", nil, &out)
}

// of adds the tenant to the parameters, unless the server shall choose it.
func of(t event.Tenant, q url.Values) string {
	if t != "" {
		q.Set("tenant", string(t))
	}
	return q.Encode()
}

func (c *Client) do(ctx context.Context, method, path string, body []byte, out any) error {
	const op = "query.Client"
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return fault.E(op, fault.Usage, err)
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return fault.E(op, fault.Canceled, ctx.Err())
		}
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL, which holds the study
		}
		return fault.Errorf(op, fault.Unavailable, "no radstream answers at %s: %w; start one with `radstream up`, or name another address with --server", c.base, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fault.E(op, fault.Unavailable, err)
	}
	if resp.StatusCode != http.StatusOK {
		var p Problem
		if err := json.Unmarshal(data, &p); err != nil || p.Kind == "" {
			return fault.Errorf(op, fault.Unavailable, "%s answers %s, but it is not a radstream", c.base, resp.Status)
		}
		kind, err := fault.ParseKind(p.Kind)
		if err != nil {
			kind = fault.Internal
		}
		return fault.Reject(op, kind, fault.Reason(p.Reason), "%s", p.Detail)
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fault.Errorf(op, fault.Unavailable, "%s does not answer as a radstream does: %w", c.base, err)
	}
	return nil
}
