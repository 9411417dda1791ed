package bench

import "golang.org/x/sys/cpu"

// cpuFeatures lists what this CPU has of that which decides how fast matrices are multiplied.
func cpuFeatures() []string {
	have := []string{}
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"AVX2", cpu.X86.HasAVX2}, {"FMA", cpu.X86.HasFMA}, {"AVX512F", cpu.X86.HasAVX512F}, {"AVX512-VNNI", cpu.X86.HasAVX512VNNI},
		{"AVX512-BF16", cpu.X86.HasAVX512BF16}, {"AVX-VNNI", cpu.X86.HasAVXVNNI}, {"AMX", cpu.X86.HasAMXTile},
	} {
		if f.has {
			have = append(have, f.name)
		}
	}
	return have
}
