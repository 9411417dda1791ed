package onnxexport_test

import (
	"testing"

	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// TestCost holds what is counted to what is known of the paper's sizes: ViT-B/16 has 16.9 billion
// multiplications and additions an image at 224 pixels (Touvron et al. 2021 say 17.6 with three
// channels and a class token), BERT-base 85 million weights in its layers.
func TestCost(t *testing.T) {
	c := model.Base()
	c.Adapter, c.Invertible = 0, false
	got := onnxexport.CostOf(c, 128)
	if macs := got.Image / 2e9; macs < 16.7 || macs > 17.6 {
		t.Errorf("an image takes %.2f billion multiplications", macs)
	}
	// Twice the weights for each token, and attention's two products of T x T x h.
	layers, attention := 2*128*85e6, 2*2*12*128.0*128*768
	if ratio := got.Text / (layers + attention); ratio < 0.99 || ratio > 1.01 {
		t.Errorf("a text takes %.3g operations, %.3f of what it should", got.Text, ratio)
	}
	plain := got.Parameters
	if with := onnxexport.CostOf(model.Base(), 128); with.Parameters <= plain || with.Image <= got.Image || with.Text <= got.Text {
		t.Error("adapters cost nothing")
	}
}
