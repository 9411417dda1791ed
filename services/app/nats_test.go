package app

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/services/query"
)

// TestOverNATS: a service on the bus gets the vector of a text and asks the index itself, or
// has it searched; both find the same. What it asks wrongly is answered with a problem.
func TestOverNATS(t *testing.T) {
	s := start(t, t.TempDir(), io.Discard)
	for i, uid := range []string{"2.25.1", "2.25.2"} {
		s.send(t, uid, study(uid, s.object(t, film(t, i), frontal)))
		s.expect(t, uid, event.StudyIndexed, 1)
	}
	nc, err := nats.Connect(s.Addresses().NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	ask := func(subject, body string, into any) (code, problem string) {
		t.Helper()
		m, err := nc.Request(subject, []byte(body), patience)
		if err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
		if code = m.Header.Get(micro.ErrorCodeHeader); code != "" {
			return code, string(m.Data) + m.Header.Get(micro.ErrorHeader)
		}
		if err := json.Unmarshal(m.Data, into); err != nil {
			t.Fatalf("%s: %v, %s", subject, err, m.Data)
		}
		return "", ""
	}
	const text = `{"text":"left pleural effusion"}`
	var v query.EmbedResponse
	if code, p := ask("radstream.embed.text", text, &v); code != "" || v.Collection != s.serves().collection || v.Using != string(indexer.Image) || v.Model != s.serves().manifest.Ref.String() {
		t.Fatalf("%s %s %+v", code, p, v)
	}
	hits, err := s.store.Search(t.Context(), indexer.Query{Collection: v.Collection, Tenant: string(tenant), Using: indexer.VectorName(v.Using), Vector: v.Vector, K: 5})
	if err != nil {
		t.Fatal(err)
	}
	var found query.Response
	if code, p := ask("radstream.search."+string(tenant), text, &found); code != "" || len(found.Hits) != 2 || len(hits) != 2 {
		t.Fatalf("%s %s %+v, %d hits", code, p, found, len(hits))
	}
	for i, h := range found.Hits {
		if string(h.Key) != hits[i].Point.StudyKey || h.Similarity != hits[i].Score || h.Study == "" {
			t.Errorf("hit %d: %+v, and by the vector %+v", i, h, hits[i])
		}
	}
	if code, p := ask("radstream.search", text, &found); code != "" || len(found.Hits) != 0 {
		t.Errorf("the default tenant: %s %s %+v", code, p, found)
	}
	for _, c := range []struct{ subject, body, code string }{
		{"radstream.embed.text", `{"txet":"QXCANARY"}`, "400"},
		{"radstream.embed.text", `{"text":""}`, "400"},
		{"radstream.embed.text", "", "400"},
		{"radstream.embed.text", `{"text":"` + strings.Repeat("x", query.MaxText+1) + `"}`, "400"},
		{"radstream.search.north", `{"text":"x","tenant":"south"}`, "403"},
		{"radstream.search", `{"text":"x","tenant":"north"}`, "403"},
		{"radstream.search.North_QXCANARY", text, "400"},
		{"radstream.search.north", `{"study":"2.25.QXCANARY"}`, "404"},
		{"radstream.search.north", `{"text":"x","model":"tiny@0.0.1"}`, "409"},
	} {
		code, p := ask(c.subject, c.body, nil)
		var problem query.Problem
		if err := json.NewDecoder(strings.NewReader(p)).Decode(&problem); code != c.code || err != nil || problem.Detail == "" || strings.Contains(p, "QXCANARY") {
			t.Errorf("%s %.60s: %s, %v, %s", c.subject, c.body, code, err, p)
		}
	}
	if line := `radstream_query_requests_total{route="NATS embed-text",status="200"} 1`; !strings.Contains(s.metricsAt(t, s.Addresses().Query), line+"\n") {
		t.Errorf("the metrics lack %s", line)
	}
}
