package app

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/radstream/radstream/indexer"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/auth"
	"github.com/radstream/radstream/services/config"
	"github.com/radstream/radstream/services/query"
	"github.com/radstream/radstream/services/query/querytest"
)

// TestSearch asks in every way and with every filter over real studies: eight of eight patients,
// one a month from January 2024 on, the odd ones with a lateral view; and one without a date.
func TestSearch(t *testing.T) {
	s := start(t, t.TempDir(), io.Discard)
	const studies = 8
	day := func(i int) time.Time { return time.Date(2024, time.Month(1+i), 15, 22, 30, 0, 0, time.UTC) }
	uid := func(i int) event.StudyUID { return event.StudyUID(fmt.Sprint("2.25.", i+1)) }
	for i := range studies + 1 {
		m := study(string(uid(i)), s.object(t, film(t, i), frontal))
		if i%2 == 1 {
			m.Objects = append(m.Objects, s.object(t, film(t, 100+i), lateral))
		}
		if m.PatientId = fmt.Sprint("P", i); i < studies {
			m.StudyTime = timestamppb.New(day(i))
		}
		s.send(t, string(uid(i)), m)
	}
	for i := range studies + 1 {
		s.expect(t, string(uid(i)), event.StudyIndexed, 1)
	}
	points := s.points(t)
	key := s.key(t, tenant)
	vector := func(i int) []float32 { return points[string(key.Study(uid(i)))].Vectors[indexer.Image] }
	similarity := func(a, b []float32) float64 {
		var ab, aa, bb float64
		for i := range a {
			ab, aa, bb = ab+float64(a[i])*float64(b[i]), aa+float64(a[i])*float64(a[i]), bb+float64(b[i])*float64(b[i])
		}
		return ab / math.Sqrt(aa*bb)
	}
	search := func(r query.Request) query.Response {
		t.Helper()
		r.Tenant = tenant
		resp, err := s.client.Search(t.Context(), r)
		if err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		for _, h := range resp.Hits {
			if h.Model != resp.Model || h.Rev != 1 || len(h.Labels) == 0 || len(h.Views) == 0 || h.Key != key.Study(h.Study) {
				t.Errorf("a hit lacks something: %+v", h)
			}
		}
		return resp
	}
	found := func(r query.Response) []int {
		var out []int
		for _, h := range r.Hits {
			var n int
			if _, err := fmt.Sscanf(string(h.Study), "2.25.%d", &n); err != nil {
				t.Fatal(err)
			}
			out = append(out, n-1)
		}
		slices.Sort(out)
		return out
	}

	ref := points[string(key.Study(uid(0)))].ModelRef
	scaled := slices.Clone(vector(3))
	for i := range scaled {
		scaled[i] *= 1e30
	}
	if r := search(query.Request{Vector: scaled, Model: ref, K: 1}); r.Hits[0].Study != uid(3) || r.Hits[0].Similarity < 0.999 {
		t.Errorf("a vector does not find its study: %+v", r.Hits)
	}
	like := search(query.Request{Positive: []event.StudyUID{uid(1), uid(2)}, Negative: []event.StudyUID{uid(3)}, K: 20})
	if got := found(like); !slices.Equal(got, []int{0, 4, 5, 6, 7, 8}) {
		t.Errorf("examples find %v", got)
	}
	direction := make([]float32, len(vector(0)))
	for i := range direction {
		direction[i] = vector(1)[i] + vector(2)[i] - vector(3)[i]
	}
	for _, h := range like.Hits {
		if want := similarity(direction, points[string(h.Key)].Vectors[indexer.Image]); math.Abs(float64(h.Similarity)-want) > 1e-4 {
			t.Errorf("similarity %v to the examples, want %v", h.Similarity, want)
		}
	}
	for _, c := range []struct {
		name string
		r    query.Request
		want []int
	}{
		{"all", query.Request{}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8}},
		{"lateral", query.Request{Views: []string{"lateral"}}, []int{1, 3, 5, 7}},
		{"after", query.Request{After: "2024-05-15"}, []int{4, 5, 6, 7}},
		{"after, to the second", query.Request{After: "2024-05-15T22:30:01Z"}, []int{5, 6, 7}},
		{"before, to the second", query.Request{Before: "2024-05-16T00:30:00+02:00"}, []int{0, 1, 2, 3}},
		{"between", query.Request{After: "2024-02-01", Before: "2024-04-01"}, []int{1, 2}},
		{"between, lateral", query.Request{After: "2024-02-01", Before: "2024-05-01", Views: []string{"lateral"}}, []int{1, 3}},
		{"never", query.Request{After: "2025-01-01"}, nil},
		{"upside down", query.Request{After: "2024-04-01", Before: "2024-02-01"}, nil},
		{"no such score", query.Request{Labels: []query.LabelAtLeast{{Label: "effusion", Score: 1}}, Before: "2024-02-01"}, nil},
	} {
		c.r.Text, c.r.K = "left pleural effusion", 20
		if got := found(search(c.r)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if r, err := s.client.Search(t.Context(), query.Request{Tenant: "south", Text: "x", After: "2024-01-01"}); err != nil || len(r.Hits) != 0 {
		t.Errorf("another tenant: %+v, %v", r, err)
	}
	for name, c := range map[string]struct {
		r    query.Request
		kind fault.Kind
	}{
		"another model":   {query.Request{Text: "x", Model: "tiny@0.0.1"}, fault.Conflict},
		"no model":        {query.Request{Text: "x", Model: "QXCANARY"}, fault.Invalid},
		"narrow vector":   {query.Request{Vector: []float32{1}, Model: ref}, fault.Invalid},
		"unknown example": {query.Request{Positive: []event.StudyUID{uid(1), "2.25.99"}}, fault.NotFound},
	} {
		c.r.Tenant = tenant
		if _, err := s.client.Search(t.Context(), c.r); fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}

	st, err := s.client.Study(t.Context(), tenant, uid(1))
	if err != nil || st.Model != ref || st.Rev != 1 || !slices.Equal(st.Views, []string{"frontal", "lateral"}) || !slices.Equal(st.Vectors, []string{"image", "frontal", "lateral"}) ||
		len(st.Labels) == 0 || st.Provenance.PointID != points[string(st.Key)].ID.String() || st.Provenance.PrepID == "" || st.Provenance.PreparationVersion == "" {
		t.Errorf("%+v, %v", st, err)
	}
	if _, err := s.client.Study(t.Context(), "south", uid(1)); fault.KindOf(err) != fault.NotFound {
		t.Errorf("another tenant's study: %v", err)
	}

	// Whatever else is asked, of the real thing; see package querytest.
	querytest.Check(t, "http://"+s.Addresses().Query, 80, uint64(time.Now().UnixNano()), []string{string(uid(0)), string(uid(1))}, ref, len(vector(0)))
}

// TestCredentials: with a file of tokens the tenant is the token's, whatever is asked.
func TestCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	token, line, err := auth.NewToken(tenant, "")
	if err == nil {
		err = os.WriteFile(file, []byte(line+"\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, t.TempDir(), io.Discard, func(c *config.Config) { c.Query.Tokens = file })
	const uid = "2.25.1"
	s.send(t, uid, study(uid, s.object(t, film(t, 1), frontal)))
	s.expect(t, uid, event.StudyIndexed, 1)
	if _, err := s.client.Labels(t.Context(), tenant, uid); fault.ReasonOf(err) != auth.ReasonUnauthenticated {
		t.Errorf("without a token: %v", err)
	}
	s.client = query.NewClient("http://"+s.Addresses().Query+"/", token)
	s.findsItself(t, uid)
	if r, err := s.client.Study(t.Context(), "", uid); err != nil || r.Key != s.key(t, tenant).Study(uid) {
		t.Errorf("the token's own tenant: %+v, %v", r, err)
	}
	if _, err := s.client.Search(t.Context(), query.Request{Tenant: "south", Text: "x"}); fault.ReasonOf(err) != auth.ReasonForbidden {
		t.Errorf("another tenant: %v", err)
	}
}
