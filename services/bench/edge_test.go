package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/radstream/radstream/indexer/flat"
	"github.com/radstream/radstream/services/bench/venv"
)

// The form of a round that testdata/edge.py reads.
type (
	edgeRound struct {
		Width    int               `json:"width"`
		Distance string            `json:"distance"`
		Indexes  map[string]string `json:"indexes"`
		Points   []edgePoint       `json:"points"`
		Cases    []edgeCase        `json:"cases"`
	}
	edgePoint struct {
		ID      any            `json:"id"`
		Vector  []float32      `json:"vector"`
		Payload map[string]any `json:"payload"`
	}
	edgeCase struct {
		Kind      string         `json:"kind"`
		Vector    []float32      `json:"vector,omitempty"`
		Positives [][]float32    `json:"positives"`
		Negatives [][]float32    `json:"negatives"`
		Filter    map[string]any `json:"filter,omitempty"`
		Threshold *float32       `json:"threshold,omitempty"`
		Limit     int            `json:"limit"`
		Offset    int            `json:"offset"`
	}
	edgeHit struct {
		id    string
		score float32
	}
)

// TestEdge asks the same of the embedded index and of Qdrant's own engine: 2,160 random filters
// and queries over random points, in a Python environment that it makes on first use. Only
// points of equal score may come in another order.
func TestEdge(t *testing.T) {
	const rounds, cases = 24, 90 // 2,160
	dir, err := filepath.Abs(filepath.Join("..", "..", ".deps", "venv-edge"))
	if err != nil {
		t.Fatal(err)
	}
	python, err := venv.Make(t.Context(), dir, searchPins)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(edgeSeed(t), 1))
	all := make([]edgeRound, rounds)
	for i := range all {
		all[i] = randomRound(rng, i, cases)
	}
	in, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, filepath.Join("testdata", "edge.py"))
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var answers [][]json.RawMessage
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != rounds {
		t.Fatalf("%d answers, %v", len(answers), err)
	}
	different, found := 0, 0
	for i, round := range all {
		db := round.store(t)
		for j, c := range round.Cases {
			var theirs []edgeHit
			var count int
			if c.Kind == "count" {
				err = json.Unmarshal(answers[i][j], &count)
			} else {
				var pairs [][2]any
				if err = json.Unmarshal(answers[i][j], &pairs); err == nil {
					for _, p := range pairs {
						theirs = append(theirs, edgeHit{p[0].(string), float32(p[1].(float64))})
					}
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			ours, n, err := c.ask(t, db)
			if found += n + len(ours); err != nil || n != count || !sameHits(ours, theirs) {
				different++
				text, _ := json.Marshal(c)
				t.Errorf("round %d, %s, indexes %v: %s\nours   %v %d %v\nedge   %v %d", i, round.Distance, round.Indexes, text, ours, n, err, theirs, count)
				if different == 5 {
					t.FailNow()
				}
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if found < rounds*cases {
		t.Errorf("only %d points were found in %d cases: the filters select too little", found, rounds*cases)
	}
}

// edgeSeed is 1, or what RADSTREAM_SEED says.
func edgeSeed(t *testing.T) uint64 {
	text := os.Getenv("RADSTREAM_SEED")
	if text == "" {
		return 1
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal("RADSTREAM_SEED is not a number")
	}
	return seed
}

// sameHits allows rounding in the last digits, and another order or choice among equals.
func sameHits(a, b []edgeHit) bool {
	if len(a) != len(b) {
		return false
	}
	near := func(x, y float32) bool { return math.Abs(float64(x-y)) <= 2e-5*max(1, math.Abs(float64(x))) }
	for i := range a {
		if !near(a[i].score, b[i].score) {
			return false
		}
		// The same point stands somewhere among theirs, or fell off the end with the last.
		at := slices.IndexFunc(b, func(h edgeHit) bool { return h.id == a[i].id })
		if at < 0 && !near(a[i].score, b[len(b)-1].score) || at >= 0 && !near(a[i].score, b[at].score) {
			return false
		}
	}
	return true
}

var edgeDistances = []struct {
	name string
	d    flat.Distance
}{{"Cosine", flat.Cosine}, {"Dot", flat.Dot}, {"Euclid", flat.Euclid}, {"Manhattan", flat.Manhattan}}

var edgeIndexes = map[string]string{"word": "Keyword", "int": "Integer", "float": "Float", "flag": "Bool", "time": "Datetime", "in.int": "Integer"}

func randomRound(rng *rand.Rand, number, cases int) edgeRound {
	r := edgeRound{Width: []int{2, 8, 40}[number%3], Distance: edgeDistances[number%4].name, Indexes: map[string]string{}}
	for key, kind := range edgeIndexes {
		if rng.IntN(2) == 0 {
			r.Indexes[key] = kind
		}
	}
	vector := func() []float32 {
		v := make([]float32, r.Width)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		return v
	}
	for i := range 120 {
		p := edgePoint{ID: uint64(i), Vector: vector(), Payload: randomPayload(rng)}
		if rng.IntN(3) == 0 {
			p.ID = uuid.NewSHA1(uuid.Nil, []byte{byte(number), byte(i)}).String()
		}
		r.Points = append(r.Points, p)
	}
	for range cases {
		c := edgeCase{Kind: []string{"nearest", "nearest", "nearest", "count", "scroll", "best", "sum", "rrf"}[rng.IntN(8)], Limit: 1 + rng.IntN(12), Vector: vector()}
		if rng.IntN(8) > 0 {
			c.Filter = r.filter(rng, 2)
		}
		switch c.Kind {
		case "nearest":
			c.Offset = rng.IntN(4)
			if rng.IntN(3) == 0 {
				threshold := float32(rng.NormFloat64())
				c.Threshold = &threshold
			}
		case "best", "sum", "rrf":
			c.Positives, c.Negatives = [][]float32{vector(), vector()}, [][]float32{vector()}[:rng.IntN(2)]
		}
		r.Cases = append(r.Cases, c)
	}
	return r
}

func randomPayload(rng *rand.Rand) map[string]any {
	values := map[string]func() any{
		"word":  func() any { return fmt.Sprint("w", rng.IntN(4)) },
		"int":   func() any { return int64(rng.IntN(9) - 4) },
		"float": func() any { return float64(rng.IntN(9)-4) + 0.25 },
		"flag":  func() any { return rng.IntN(2) == 0 },
		"time":  func() any { return randomTime(rng) },
	}
	out := map[string]any{}
	for key, value := range values {
		switch rng.IntN(8) {
		case 0: // absent
		case 1:
			out[key] = nil
		case 2:
			list := []any{}
			for range rng.IntN(3) {
				list = append(list, value())
			}
			out[key] = list
		default:
			out[key] = value()
		}
	}
	if rng.IntN(3) > 0 {
		out["in"] = map[string]any{"int": values["int"](), "word": values["word"]()}
	}
	if rng.IntN(2) > 0 {
		list := []any{}
		for range rng.IntN(4) {
			list = append(list, map[string]any{"int": values["int"](), "word": values["word"]()})
		}
		out["list"] = list
	}
	return out
}

func randomTime(rng *rand.Rand) string {
	return time.Date(2026, 1, 1+rng.IntN(4), rng.IntN(24), 0, 0, 0, time.UTC).Format(time.RFC3339)
}

func (r edgeRound) filter(rng *rand.Rand, depth int) map[string]any {
	list := func(most int) []any {
		out := []any{}
		for range rng.IntN(most + 1) {
			out = append(out, r.condition(rng, depth))
		}
		return out
	}
	f := map[string]any{"must": list(2), "should": list(2), "must_not": list(1)}
	if rng.IntN(6) == 0 {
		f["min_should"] = map[string]any{"conditions": append(list(2), r.condition(rng, depth)), "count": 1}
	}
	return f
}

func (r edgeRound) condition(rng *rand.Rand, depth int) map[string]any {
	// One bound a side: of gt and gte together the engine applies both where it looks at the payload,
	// and only gt where it goes by an index, and which of these it does differs from run to run.
	bounds := func(value func() any) map[string]any {
		out := map[string]any{}
		for _, side := range [][]string{{"lt", "lte"}, {"gt", "gte"}} {
			if n := rng.IntN(4); n < 2 {
				out[side[n]] = value()
			}
		}
		return out
	}
	words := []any{"w0", "w1", "w2", "w9"}[rng.IntN(3):]
	ints := []any{-2, 0, 1, 3}[rng.IntN(3):]
	intKey := []string{"int", "in.int", "list[].int"}[rng.IntN(3)]
	wordKey := []string{"word", "in.word", "list[].word"}[rng.IntN(3)]
	anyKey := []string{"word", "int", "float", "flag", "time", "in", "in.int", "list", "list[].int", "nothing"}[rng.IntN(10)]
	switch rng.IntN(13) {
	case 0:
		return map[string]any{"key": wordKey, "value": words[0]}
	case 1:
		return map[string]any{"key": intKey, "value": ints[0]}
	case 2: // the package turns the bools of a match into integers
		return map[string]any{"empty": "flag"}
	case 3:
		return map[string]any{"key": wordKey, "any": words}
	case 4:
		return map[string]any{"key": intKey, "any": ints}
	case 5:
		return map[string]any{"key": wordKey, "except": words}
	case 6:
		return map[string]any{"key": intKey, "except": ints}
	case 7:
		return map[string]any{"key": intKey, "range": bounds(func() any { return float64(rng.IntN(9) - 4) })}
	case 8:
		return map[string]any{"key": "float", "range": bounds(func() any { return float64(rng.IntN(9)-4) + 0.25*float64(rng.IntN(2)) })}
	case 9:
		return map[string]any{"key": "time", "time": bounds(func() any { return randomTime(rng) })}
	case 10:
		if rng.IntN(2) == 0 {
			return map[string]any{"empty": anyKey}
		}
		return map[string]any{"null": anyKey}
	case 11: // of at least 0, which absent keys meet here, Qdrant 1.17.1 has not been asked
		return map[string]any{"key": anyKey, "count": map[string]any{"gte": 1 + rng.IntN(2)}}
	case 12:
		ids := []any{}
		for range 30 {
			ids = append(ids, r.Points[rng.IntN(len(r.Points))].ID)
		}
		return map[string]any{"ids": ids}
	}
	if depth == 0 {
		return map[string]any{"key": "word", "value": "w1"}
	}
	if rng.IntN(2) == 0 {
		return map[string]any{"nested": "list", "filter": map[string]any{"must": []any{
			map[string]any{"key": "int", "range": map[string]any{"gte": float64(rng.IntN(5) - 2)}}, map[string]any{"key": "word", "any": words}}}}
	}
	return map[string]any{"filter": r.filter(rng, depth-1)}
}
