package ingest_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/ingest/report"
)

// TestPhantomReports guards the text that the shipped model was trained on: whoever changes
// it raises preparation and trains again.
func TestPhantomReports(t *testing.T) {
	tok, err := tokenizer.BERTBaseCased()
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.New()
	c := phantom.Defaults()
	c.Studies, c.Side = 120, 96 // the text does not depend on the size of the films
	for i := range c.Studies {
		s, err := phantom.Generate(c, i)
		if err != nil {
			t.Fatal(err)
		}
		p, err := report.Prepare(s.Report, deid.Known{}, tok, 128)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(digest, p.Text, p.Tokens, len(p.Sections))
		for _, section := range p.Sections {
			fmt.Fprintln(digest, section.Name, section.Text)
		}
	}
	const want = "ff83cbc89e70cb1e226c7e8b7a1f4032fd6872bdbb36952985cce5ce16b0b97b"
	if got := hex.EncodeToString(digest.Sum(nil)); got != want {
		t.Errorf("the prepared reports of phantoms have digest %s, not %s", got, want)
	}
}
