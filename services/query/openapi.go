package query

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/radstream/radstream/schemas/fault"
)

// OpenAPI returns the OpenAPI 3.1 document of the API, made from routes and the types that
// they read and write.
func OpenAPI(version string) ([]byte, error) {
	schemas := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	problem := &huma.Response{Description: "What is wrong, by RFC 9457.",
		Content: map[string]*huma.MediaType{"application/problem+json": {Schema: schemas.Schema(reflect.TypeFor[Problem](), true, "")}}}
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{Title: "Radstream", Version: version, License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			Description: "Search an index of chest studies. Research infrastructure, not a medical device.\n\n" +
				"A credential is needed where the server was given query.tokens or query.oidc_issuer; it decides the tenant. Answers 429 and 503 carry Retry-After."},
		Paths: map[string]*huma.PathItem{},
		Components: &huma.Components{Schemas: schemas, Responses: map[string]*huma.Response{"Problem": problem},
			SecuritySchemes: map[string]*huma.SecurityScheme{"bearer": {Type: "http", Scheme: "bearer", Description: "A token of `radstream token new`, or a JWT of the OpenID Connect issuer."}}},
		Security: []map[string][]string{{"bearer": {}}, {}},
	}
	for _, r := range routes() {
		op := &huma.Operation{OperationID: r.id, Summary: r.summary, Responses: map[string]*huma.Response{
			"200": {Description: "The answer.", Content: map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(r.response, true, "")}}}}}
		for _, p := range r.params {
			max := p.max
			op.Parameters = append(op.Parameters, &huma.Param{Name: p.name, In: p.in, Description: p.doc, Required: p.required,
				Schema: &huma.Schema{Type: huma.TypeString, MaxLength: &max, Pattern: p.pattern}})
		}
		if r.request != nil {
			op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(r.request, true, "")}}}
		}
		for _, status := range statuses(r.errors...) {
			op.Responses[strconv.Itoa(status)] = &huma.Response{Ref: "#/components/responses/Problem"}
		}
		item := &huma.PathItem{}
		switch r.method {
		case http.MethodGet:
			item.Get = op
		case http.MethodPost:
			item.Post = op
		}
		doc.Paths[r.path] = item
	}
	for _, s := range schemas.Map() { // a list is left out or a list, and not null
		for _, p := range s.Properties {
			if p.Type == huma.TypeArray {
				p.Nullable = false
			}
		}
	}
	request := schemas.SchemaFromRef("#/components/schemas/Request")
	for _, by := range []string{"text", "image", "study", "vector", "positive"} { // tags cannot say this
		request.OneOf = append(request.OneOf, &huma.Schema{Required: []string{by}})
	}
	data, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fault.E("query.OpenAPI", fault.Internal, err)
	}
	return append(data, '\n'), nil
}
