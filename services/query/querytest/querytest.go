// Package querytest asks a server of the query API whatever its OpenAPI document allows, and
// what it does not: for each call random requests that follow the schemas, and the same with
// something wrong in them. No answer may be a 500, have a status that the document does not
// list, be of another form than it says, or repeat what was asked in an error.
package querytest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mark is in every text that a request makes up.
const mark = "QXMARK"

type schema struct {
	Ref                string             `json:"$ref"`
	Type               json.RawMessage    `json:"type"`
	Encoding           string             `json:"contentEncoding"`
	Enum               []string           `json:"enum"`
	MaxLength          *int               `json:"maxLength"`
	MaxItems           *int               `json:"maxItems"`
	Minimum            *float64           `json:"minimum"`
	Maximum            *float64           `json:"maximum"`
	Items              *schema            `json:"items"`
	Properties         map[string]*schema `json:"properties"`
	Required           []string           `json:"required"`
	OneOf              []*schema          `json:"oneOf"`
	AdditionalAsSchema json.RawMessage    `json:"additionalProperties"`
}

type operation struct {
	Parameters []struct {
		Name, In string
		Required bool
		Schema   *schema
	}
	RequestBody *struct {
		Content map[string]struct{ Schema *schema }
	}
	Responses map[string]json.RawMessage
}

type document struct {
	OpenAPI    string
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]*schema }
}

// Check asks the server at base (http://host:port) n times for each of its calls, in an order
// that follows from seed. studies are ids that the server knows, vector is the width of its
// vectors with the model in model.
func Check(t *testing.T, base string, n int, seed uint64, studies []string, model string, width int) {
	t.Helper()
	var doc document
	r, err := http.Get(base + "/openapi.json")
	if err == nil {
		defer r.Body.Close()
		err = json.NewDecoder(r.Body).Decode(&doc)
	}
	if err != nil || !strings.HasPrefix(doc.OpenAPI, "3.1") || len(doc.Paths) < 4 {
		t.Fatalf("no OpenAPI document: %v, %s, %d paths", err, doc.OpenAPI, len(doc.Paths))
	}
	g := &generator{rand.New(rand.NewPCG(seed, 0)), doc, studies, model, width}
	answered := map[int]int{}
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(doc.Paths[path])) {
			for range n {
				req := g.request(base, strings.ToUpper(method), path, doc.Paths[path][method])
				answered[g.judge(t, req, doc.Paths[path][method])]++
				if t.Failed() {
					return
				}
			}
		}
	}
	t.Logf("answers by status: %v", answered)
	for _, status := range []int{200, 400, 404} {
		if answered[status] == 0 {
			t.Errorf("of all those requests none was answered with %d", status)
		}
	}
}

type generator struct {
	*rand.Rand
	doc     document
	studies []string
	model   string
	width   int
}

// request is one that follows the document, but for a mistake in every other.
type request struct {
	method, url, media string
	body               []byte
}

func (g *generator) request(base, method, path string, op operation) request {
	wrong := g.IntN(2) == 0
	r := request{method: method, media: "application/json"}
	q := url.Values{}
	for _, p := range op.Parameters {
		v := fmt.Sprint(g.value(p.Name, p.Schema, wrong && g.IntN(2) == 0))
		switch {
		case p.In == "path":
			if v == "" || v == "." || v == ".." { // a client leaves the path with these
				v = mark
			}
			path = strings.ReplaceAll(path, "{"+p.Name+"}", url.PathEscape(v))
		case p.Required && !(wrong && g.IntN(4) == 0) || g.IntN(2) == 0:
			q.Set(p.Name, v)
		}
	}
	if wrong && g.IntN(4) == 0 {
		q.Add(mark, g.text(40))
	}
	if r.url = base + path; len(q) > 0 {
		r.url += "?" + q.Encode()
	}
	if wrong && g.IntN(8) == 0 {
		r.url += map[bool]string{true: "&", false: "?"}[len(q) > 0] + "%zz=;" + mark
	}
	if op.RequestBody == nil {
		return r
	}
	v := g.value("", op.RequestBody.Content["application/json"].Schema, wrong)
	r.body, _ = json.Marshal(v)
	if !wrong {
		return r
	}
	switch g.IntN(8) {
	case 0: // cut off
		r.body = r.body[:g.IntN(len(r.body)+1)]
	case 1: // a byte is another
		if len(r.body) > 0 {
			r.body[g.IntN(len(r.body))] = byte(g.IntN(256))
		}
	case 2: // more behind it
		r.body = append(r.body, r.body...)
	case 3: // deep
		r.body = []byte(strings.Repeat(`{"labels":[`, 20_000) + mark)
	case 4:
		r.media = []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=" + mark}[g.IntN(4)]
	}
	return r
}

func (g *generator) resolve(s *schema) *schema {
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		return g.doc.Components.Schemas[name]
	}
	return s
}

// value is one of a schema, or one that is off. name is that of the property or parameter.
func (g *generator) value(name string, s *schema, wrong bool) any {
	if s = g.resolve(s); wrong && g.IntN(6) == 0 {
		return []any{nil, true, -1, 1e300, "", g.text(30), []any{}, map[string]any{mark: mark}, []any{nil}, json.Number("1e9999")}[g.IntN(9)]
	}
	switch kind := string(s.Type); {
	case strings.Contains(kind, "object"):
		return g.object(s, wrong)
	case strings.Contains(kind, "array"):
		n := g.IntN(4)
		if name == "vector" {
			n = g.width
		}
		if wrong && g.IntN(4) == 0 {
			n = 2000
		}
		list := make([]any, n)
		for i := range list {
			list[i] = g.value(name, s.Items, wrong && g.IntN(8) == 0)
		}
		return list
	case strings.Contains(kind, "integer"), strings.Contains(kind, "number"):
		low, high := -1e6, 1e6
		if s.Minimum != nil {
			low = *s.Minimum
		}
		if s.Maximum != nil {
			high = *s.Maximum
		}
		if wrong {
			low, high = low-5, high+5
		}
		x := low + g.Float64()*(high-low)
		if strings.Contains(kind, "integer") && !wrong {
			return int(x)
		}
		return x
	case strings.Contains(kind, "boolean"):
		return g.IntN(2) == 0
	}
	if len(s.Enum) > 0 && !wrong {
		return s.Enum[g.IntN(len(s.Enum))]
	}
	if s.Encoding == "base64" {
		return base64.StdEncoding.EncodeToString(g.bytes())
	}
	return g.word(name, s, wrong)
}

// object has the required properties, some of the others, and of a oneOf one alternative.
func (g *generator) object(s *schema, wrong bool) any {
	take := map[string]bool{}
	for _, name := range s.Required {
		take[name] = !wrong || g.IntN(8) > 0
	}
	var alternatives []string
	for _, o := range s.OneOf {
		alternatives = append(alternatives, o.Required...)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if !slices.Contains(alternatives, name) && g.IntN(4) == 0 || wrong && g.IntN(8) == 0 {
			take[name] = true
		}
	}
	if len(alternatives) > 0 && (!wrong || g.IntN(4) > 0) {
		one := alternatives[g.IntN(len(alternatives))]
		if take[one] = true; one == "vector" {
			take["model"] = true
		}
		if one != "positive" && !wrong {
			delete(take, "negative")
		}
	}
	out := map[string]any{}
	for name := range take {
		if p := s.Properties[name]; take[name] && p != nil {
			out[name] = g.value(name, p, wrong && g.IntN(3) == 0)
		}
	}
	if wrong && g.IntN(6) == 0 {
		out[mark] = g.text(20)
	}
	return out
}

// word is a text that may mean something in its place.
func (g *generator) word(name string, s *schema, wrong bool) string {
	if !wrong {
		switch name {
		case "study", "id", "positive", "negative":
			if g.IntN(2) == 0 && len(g.studies) > 0 {
				return g.studies[g.IntN(len(g.studies))]
			}
		case "model":
			return g.model
		case "tenant":
			return "default"
		case "after", "before":
			return fmt.Sprintf("20%02d-%02d-%02d", g.IntN(100), 1+g.IntN(12), 1+g.IntN(28))
		}
	}
	n := 60
	if s.MaxLength != nil {
		n = *s.MaxLength
		if wrong && g.IntN(2) == 0 {
			n = 4 * n
		}
	}
	return g.text(n)
}

// text has at most n bytes, most of them of the kinds that make trouble, and the mark.
func (g *generator) text(n int) string {
	pieces := []string{"a", "Z", "0", " ", "\x00", "\n", "%", "%2e", "/", "\\", "..", "'", `"`, "<", "ß", "心", "\u202e", "\ufeff", "𝔸", "*", ">", ".", "$", "{", "}"}
	var b strings.Builder
	b.WriteString(mark)
	for size := g.IntN(max(1, min(n, 4*4096))); b.Len() < size; {
		b.WriteString(pieces[g.IntN(len(pieces))])
	}
	return strings.ToValidUTF8(b.String()[:min(b.Len(), max(n, len(mark)))], "")
}

// bytes is a film, or what begins like one.
func (g *generator) bytes() []byte {
	heads := []string{"", "\x89PNG\r\n\x1a\n", "\xff\xd8\xff\xe0\x00\x10JFIF", strings.Repeat("\x00", 128) + "DICM", "GIF89a"}
	b := []byte(heads[g.IntN(len(heads))])
	for range g.IntN(300) {
		b = append(b, byte(g.IntN(256)))
	}
	return b
}

// judge sends a request and looks at its answer; it returns the status.
func (g *generator) judge(t *testing.T, r request, op operation) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), r.method, r.url, bytes.NewReader(r.body))
	if err != nil {
		t.Fatalf("%s: %v", r.url, err)
	}
	req.Header.Set("Content-Type", r.media)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", r.method, r.url, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	asked := fmt.Sprintf("%s %s %.600q", r.method, r.url, r.body)
	status := resp.StatusCode
	if status >= 500 || op.Responses[strconv.Itoa(status)] == nil {
		t.Errorf("%s\nis answered with %d, which the document does not have or should not need: %.600s", asked, status, body)
	}
	if status == http.StatusOK {
		if resp.Header.Get("Content-Type") != "application/json" || !json.Valid(body) {
			t.Errorf("%s\nis answered with no JSON: %.300s", asked, body)
		}
		return status
	}
	var p struct {
		Type, Title, Detail, Kind string
		Status                    int
	}
	if err := json.Unmarshal(body, &p); err != nil || resp.Header.Get("Content-Type") != "application/problem+json" || p.Status != status || p.Detail == "" || p.Kind == "" || p.Type == "" {
		t.Errorf("%s\nis answered with no problem: %v, %.300s", asked, err, body)
	}
	if bytes.Contains(body, []byte(mark)) {
		t.Errorf("%s\nis repeated by its answer: %.300s", asked, body)
	}
	return status
}
