package onnxexport_test

import (
	"math"
	"strconv"

	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// reference is the model of the package doc written down a second time, in float64 and in
// plain loops, to hold the exported graphs to.
type reference struct {
	c model.Config
	w onnxexport.Weights
	// half rounds to float16 what [onnxexport.HALF] computes in it, each number on its own, as a GPU
	// does and ONNX Runtime on a CPU, which leaves such casts out, does not. w holds rounded matrices.
	half bool
}

// full is the reference where HALF computes in float32.
func (r reference) full() reference {
	r.half = false
	return r
}

// rounded rounds x in place.
func (r reference) rounded(x []float64) []float64 {
	for i := range x {
		if r.half {
			x[i] = half(x[i])
		}
	}
	return x
}

// half is the nearest float16.
func half(x float64) float64 {
	h := onnxexport.Float16(float32(x))
	if h&0x7c00 == 0x7c00 {
		return math.NaN()
	}
	return float64(onnxexport.FromFloat16(h))
}

type matrix [][]float64 // rows

type imageInput struct {
	pixels []uint8
	mask   []bool
	view   int
	prior  float64
	days   float64
}

type imageOutput struct {
	m, s   float64
	v      []float64
	tokens matrix
}

func (r reference) image(in imageInput) imageOutput {
	i := r.c.Image
	side := i.Size / i.Patch
	var x matrix
	for py := range side {
		for px := range side {
			patch := make([]float64, 0, i.Patch*i.Patch)
			for y := range i.Patch {
				for z := range i.Patch {
					p := in.pixels[(py*i.Patch+y)*i.Size+px*i.Patch+z]
					patch = append(patch, (float64(p)/255-i.Mean)/i.Std)
				}
			}
			x = append(x, r.linear(r.rounded(patch), "image.patch"))
		}
	}
	mask := in.mask
	if i.CLS {
		x = append(matrix{r.full().vector("image.cls")}, x...)
		mask = append([]bool{true}, mask...)
	}
	for t := range x {
		add(x[t], r.row("image.position", t))
		add(x[t], r.row("image.view", in.view))
		add(x[t], r.row("image.time", int(in.prior)))
		for j, d := range r.full().vector("image.days") {
			x[t][j] += in.prior * math.Log(1+in.days) * d
		}
		x[t] = r.invertible(r.rounded(x[t]), "image")
	}
	for l := range i.Layers {
		name := "image.layers." + strconv.Itoa(l)
		for t, a := range r.attention(r.norms(x, name+".norm1", i.Epsilon), mask, name, i.Tower) {
			r.add(x[t], a)
		}
		for t, n := range r.norms(x, name+".norm2", i.Epsilon) {
			r.add(x[t], r.adapters(r.mlp(n, name), name))
		}
	}
	r = r.full()
	x = r.norms(x, "image.norm", i.Epsilon)
	out := imageOutput{m: math.Inf(-1)}
	scores := make([]float64, len(x))
	for t := range x {
		scores[t] = dot(x[t], r.vector("image.pool.query")) / math.Sqrt(float64(i.Width))
		if mask[t] {
			out.m = max(out.m, scores[t])
		}
	}
	pooled := make([]float64, i.Width)
	for t := range x {
		if mask[t] {
			e := math.Exp(scores[t] - out.m)
			out.s += e
			for j := range pooled {
				pooled[j] += e * x[t][j]
			}
		}
	}
	out.v = r.multiply(pooled, "image.global.weight")
	if i.CLS {
		x = x[1:]
	}
	for _, t := range x {
		out.tokens = append(out.tokens, r.linear(t, "image.local"))
	}
	return out
}

func (r reference) text(ids []int32) (global []float64, hidden matrix) {
	t := r.c.Text
	var x matrix
	mask := make([]bool, len(ids))
	for p, id := range ids {
		mask[p] = true
		e := r.row("text.vocabulary", int(id))
		if t.VocabularyWidth > 0 {
			e = r.full().multiply(e, "text.vocabulary_projection")
		}
		add(e, r.row("text.position", p))
		x = append(x, r.invertible(r.rounded(r.full().norm(e, "text.embedding_norm", t.Epsilon)), "text"))
	}
	for l := range t.Layers {
		name := "text.layers." + strconv.Itoa(l)
		for p, a := range r.attention(x, mask, name, t.Tower) {
			r.add(a, x[p])
			h := r.norm(a, name+".norm1", t.Epsilon)
			f := r.adapters(r.mlp(h, name), name)
			r.add(f, h)
			x[p] = r.norm(f, name+".norm2", t.Epsilon)
		}
	}
	r = r.full()
	mean := make([]float64, t.Width)
	for _, row := range x {
		for j := range mean {
			mean[j] += row[j] / float64(len(x))
		}
	}
	return normalised(r.linear(mean, "text.global")), x
}

func (r reference) attention(x matrix, mask []bool, layer string, t model.Tower) matrix {
	project := func(part string) matrix {
		out := make(matrix, len(x))
		for i := range x {
			out[i] = r.linear(x[i], layer+".attention."+part)
		}
		return out
	}
	q, k, v := project("query"), project("key"), project("value")
	width := t.Width / t.Heads
	out := make(matrix, len(x))
	for i := range x {
		mixed := make([]float64, t.Width)
		for h := range t.Heads {
			lo, hi := h*width, (h+1)*width
			share, total := make([]float64, len(x)), 0.0
			for j := range x {
				if mask[j] {
					score := r.rounded([]float64{dot(q[i][lo:hi], k[j][lo:hi])})[0]
					share[j] = math.Exp(score / math.Sqrt(float64(width)))
					total += share[j]
				}
			}
			for j := range x {
				share[j] /= total
			}
			r.rounded(share)
			for j := range x {
				for d := lo; d < hi; d++ {
					mixed[d] += share[j] * v[j][d]
				}
			}
		}
		out[i] = r.linear(r.rounded(mixed), layer+".attention.output")
	}
	return out
}

func (r reference) mlp(x []float64, layer string) []float64 {
	h := r.linear(x, layer+".mlp.up")
	for i := range h {
		h[i] *= 0.5 * (1 + math.Erf(h[i]/math.Sqrt2))
	}
	return r.linear(r.rounded(h), layer+".mlp.down")
}

func (r reference) adapters(f []float64, layer string) []float64 {
	if r.c.Adapter == 0 {
		return f
	}
	la := r.bottleneck(f, layer+".language")
	r.add(la, f)
	ta := r.bottleneck(la, layer+".task")
	if r.c.TAResidual == model.ResidualR {
		r.add(ta, f)
	} else {
		r.add(ta, la)
	}
	return ta
}

func (r reference) invertible(e []float64, prefix string) []float64 {
	if !r.c.Invertible {
		return e
	}
	half := len(e) / 2
	o1 := r.bottleneck(e[half:], prefix+".invertible.f")
	r.add(o1, e[:half])
	o2 := r.bottleneck(o1, prefix+".invertible.g")
	r.add(o2, e[half:])
	return append(o1, o2...)
}

func (r reference) bottleneck(x []float64, name string) []float64 {
	down := r.multiply(x, name+".down")
	for i := range down {
		down[i] = max(down[i], 0)
	}
	return r.multiply(down, name+".up")
}

func (r reference) linear(x []float64, name string) []float64 {
	y := r.multiply(x, name+".weight")
	r.add(y, r.vector(name+".bias"))
	return r.rounded(y)
}

func (r reference) multiply(x []float64, name string) []float64 {
	w := r.w[name]
	y := make([]float64, w.Shape[0])
	for o := range y {
		for i, v := range w.Data[o*len(x) : (o+1)*len(x)] {
			y[o] += float64(v) * x[i]
		}
	}
	return r.rounded(y)
}

func (r reference) norms(x matrix, name string, epsilon float64) matrix {
	out := make(matrix, len(x))
	for i := range x {
		out[i] = r.norm(x[i], name, epsilon)
	}
	return out
}

func (r reference) norm(x []float64, name string, epsilon float64) []float64 {
	var mean, variance float64
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / float64(len(x))
	}
	y, w, b := make([]float64, len(x)), r.vector(name+".weight"), r.vector(name+".bias")
	for i := range x {
		y[i] = (x[i]-mean)/math.Sqrt(variance+epsilon)*w[i] + b[i]
	}
	return r.rounded(y)
}

func (r reference) vector(name string) []float64 {
	out := make([]float64, len(r.w[name].Data))
	for i, v := range r.w[name].Data {
		out[i] = float64(v)
	}
	return r.rounded(out)
}

func (r reference) row(name string, row int) []float64 {
	w := r.w[name]
	out := make([]float64, w.Shape[1])
	for i := range out {
		out[i] = float64(w.Data[row*w.Shape[1]+i])
	}
	return out
}

func (r reference) add(to, x []float64) {
	add(to, x)
	r.rounded(to)
}

func add(to, x []float64) {
	for i := range to {
		to[i] += x[i]
	}
}

func dot(x, y []float64) (sum float64) {
	for i := range x {
		sum += x[i] * y[i]
	}
	return sum
}

func normalised(x []float64) []float64 {
	y, n := make([]float64, len(x)), math.Sqrt(dot(x, x))
	for i := range x {
		y[i] = x[i] / n
	}
	return y
}
