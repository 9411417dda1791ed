// Package model describes a ClinVLA model: what it is called ([Ref]), how large each part is
// ([Config]) and what lies in its directory ([Manifest]).
//
// A model is a directory: manifest.json, image.onnx, text.onnx, the vocabulary and, for
// training, adapters. The manifest names every file with its SHA-256, so that whoever loads
// the directory knows that all parts belong together. Training writes one (Manifest.Write), the
// registry carries it, the embedder loads it ([Load]).
package model
