package app

import (
	"bytes"
	"context"
	"testing"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/config"
)

// dim makes a film that the quality gate refuses: a slope far below white.
func dim(t *testing.T) (dicom.Film, []byte) {
	t.Helper()
	f := written(t)
	for i := range f.Pixels {
		f.Pixels[i] = uint16(100 + i%f.Columns)
	}
	var film bytes.Buffer
	if err := dicom.Encode(&film, f); err != nil {
		t.Fatal(err)
	}
	return f, film.Bytes()
}

// TestQualityGateSwitch: ingest.quality_gate decides whether a film is refused for how it looks.
func TestQualityGateSwitch(t *testing.T) {
	_, film := dim(t)
	for gate, want := range map[string]fault.Reason{"on": pixel.ReasonUnderExposed, "off": ""} {
		c := config.Default()
		c.Ingest.QualityGate, c.Ingest.BurnedInText = gate, "off"
		a := &App{conf: c}
		if _, err := a.startPreparer(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := a.preparer.View(context.Background(), ingest.Object{Data: film}); fault.ReasonOf(err) != want {
			t.Errorf("gate %s: %v, want %q", gate, err, want)
		}
	}
}
