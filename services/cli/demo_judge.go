package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/services/query"
)

// depth is how many hits of a query are judged: P@5.
const depth = 5

// demoTexts are the demo's text queries and the finding that makes a hit right; "" is a
// study without any.
var demoTexts = []struct {
	text string
	kind phantom.Kind
}{
	{"left pleural effusion", phantom.Effusion},
	{"the heart is enlarged", phantom.Cardiomegaly},
	{"right pneumothorax", phantom.Pneumothorax},
	{"pulmonary edema", phantom.Edema},
	{"no acute cardiopulmonary abnormality", ""},
}

// shows tells whether a study truly shows a finding, or none for "".
func shows(t phantom.Truth, kind phantom.Kind) bool {
	if kind == "" {
		return len(t.Findings) == 0
	}
	return slices.ContainsFunc(t.Findings, func(f phantom.Finding) bool { return f.Kind == kind })
}

// alike tells whether two studies share a finding, or are both without.
func alike(a, b phantom.Truth) bool {
	if len(a.Findings) == 0 {
		return len(b.Findings) == 0
	}
	return slices.ContainsFunc(a.Findings, func(f phantom.Finding) bool { return shows(b, f.Kind) })
}

// findings names what a study truly shows.
func findings(t phantom.Truth) string {
	if len(t.Findings) == 0 {
		return "normal"
	}
	var out []string
	for _, f := range t.Findings {
		name := strings.ReplaceAll(string(f.Kind), "_", " ")
		if f.Side != phantom.NoSide {
			name += " " + string(f.Side)
		}
		out = append(out, name)
	}
	return strings.Join(out, ", ")
}

// precision adds up P@5 over queries.
type precision struct {
	queries int
	sum     float64
}

// add judges the first hits of one query.
func (p *precision) add(hits []query.Hit, right func(query.Hit) bool) {
	n := 0
	for _, h := range hits[:min(depth, len(hits))] {
		if right(h) {
			n++
		}
	}
	p.queries++
	p.sum += float64(n) / depth
}

func (p *precision) mean() float64 { return p.sum / float64(max(p.queries, 1)) }

func (p *precision) String() string { return fmt.Sprintf("%.2f over %d queries", p.mean(), p.queries) }
