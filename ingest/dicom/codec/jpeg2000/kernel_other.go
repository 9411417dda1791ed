//go:build !amd64

package jpeg2000

// ways are those from the fastest to the one that always works.
var ways = [...]kernels{portable}
