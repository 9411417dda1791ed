//go:build !torch

package main

// settle has nothing to do without libtorch.
func settle() {}
