//go:build !torch

package main

// limitSpinning has nothing to do without libtorch.
func limitSpinning() {}
