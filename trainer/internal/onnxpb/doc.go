// Package onnxpb is the ONNX file format: onnx.proto as shipped in the onnx 1.23.2 Python wheel
// (github.com/onnx/onnx, (c) ONNX Project Contributors, Apache-2.0, the licence of this
// repository), unchanged, and the Go that protoc-gen-go makes of it. Only trainer packages
// that write or read ONNX files use it.
package onnxpb

//go:generate protoc -I. --go_out=. --go_opt=paths=source_relative --go_opt=Monnx.proto=github.com/radstream/radstream/trainer/internal/onnxpb onnx.proto
