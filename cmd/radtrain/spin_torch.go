//go:build torch

package main

import (
	"os"
	"syscall"
)

// spins is for how long a thread of libtorch's arithmetic looks for more work before it sleeps.
// As libgomp comes it looks for milliseconds, which is free while the machine does nothing else.
// Beside other work (a server on the same machine, another run) all wait for threads that got no
// core: two runs on two cores made 0.7 steps a second each in the place of 5.8, and with this
// one run alone makes 10.0 in the place of 11.2 (docs/TRAINING.md).
const spins = "1000"

// limitSpinning says so to libgomp, which reads its environment once, when it is loaded, before main:
// the program starts once more. Who has set one of its variables is left in peace.
func limitSpinning() {
	for _, name := range []string{"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} {
		if _, set := os.LookupEnv(name); set {
			return
		}
	}
	self, err := os.Executable()
	if err != nil {
		return // it only takes longer
	}
	// No error is handled: where there is one the program goes on, which only takes longer.
	_ = syscall.Exec(self, os.Args, append(os.Environ(), "GOMP_SPINCOUNT="+spins))
}
