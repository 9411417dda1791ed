package ort_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/radstream/radstream/embedder/ort"
)

// own is a graph of one node of Radstream's own. Floats without a value are its inputs.
type own struct {
	kind    string
	inputs  []ownInput
	outputs int
	unnamed int // outputs that follow, without a name
	ints    map[string]int64
	floats  map[string]float32
}

type ownInput struct {
	name  string
	data  any // []float32, []int32 or []int8; nil: given at run time; without a name: left out
	shape []int
}

func (o own) graph(t *testing.T) []byte {
	t.Helper()
	message := func(to []byte, field protowire.Number, m []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(to, field, protowire.BytesType), m)
	}
	number := func(to []byte, field protowire.Number, n int64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(to, field, protowire.VarintType), uint64(n))
	}
	info := func(name string) []byte {
		return message(message(nil, 1, []byte(name)), 2, message(nil, 1, number(nil, 1, 1)))
	}
	var node, graph []byte
	for _, in := range o.inputs {
		node = message(node, 1, []byte(in.name))
		kind := map[string]int64{"[]float32": 1, "[]int8": 3, "[]int32": 6}[fmt.Sprintf("%T", in.data)]
		switch {
		case in.name == "":
		case in.data == nil:
			graph = message(graph, 11, info(in.name))
		default:
			raw, err := binary.Append(nil, binary.LittleEndian, in.data)
			if err != nil {
				t.Fatal(err)
			}
			var tensor []byte
			for _, d := range in.shape {
				tensor = number(tensor, 1, int64(d))
			}
			graph = message(graph, 5, message(message(number(tensor, 2, kind), 8, []byte(in.name)), 9, raw))
		}
	}
	for i := range o.outputs {
		name := fmt.Sprintf("y%d", i)
		node, graph = message(node, 2, []byte(name)), message(graph, 12, info(name))
	}
	for range o.unnamed {
		node = message(node, 2, nil)
	}
	node = message(node, 4, []byte(o.kind))
	for name, n := range o.ints {
		node = message(node, 5, number(number(message(nil, 1, []byte(name)), 3, n), 20, 2))
	}
	for name, f := range o.floats {
		value := protowire.AppendFixed32(protowire.AppendTag(message(nil, 1, []byte(name)), 2, protowire.Fixed32Type), math.Float32bits(f))
		node = message(node, 5, number(value, 20, 1))
	}
	graph = message(message(graph, 1, message(node, 7, []byte(ort.Domain))), 2, []byte("own"))
	file := message(number(nil, 1, 9), 7, graph)
	return message(message(file, 8, number(nil, 2, 20)), 8, number(message(nil, 1, []byte(ort.Domain)), 2, 1))
}

// product is one in int8, with what the operators read of it.
type product struct {
	in, out, names int
	scale          float32
	zero           int64
	weights        []int8 // [names * out][in]
	steps, bias    []float32
}

func newProduct(rng *rand.Rand, in, out, names int, scale float32) product {
	p := product{in: in, out: out, names: names, scale: scale, zero: rng.Int64N(256)}
	for range names * out * in {
		p.weights = append(p.weights, int8(rng.IntN(127)-63))
	}
	for range names * out {
		p.steps, p.bias = append(p.steps, 0.01+rng.Float32()), append(p.bias, rng.Float32()*10-5)
	}
	return p
}

// inputs are the four that the operators take.
func (p product) inputs(prefix string) []ownInput {
	var weights []int8
	var starts []int32
	var scales, biases []float32
	var dims []int
	for n := range p.names {
		var part []int8
		part, dims = ort.PackWeights(p.weights[n*p.out*p.in:(n+1)*p.out*p.in], p.out, p.in)
		weights = append(weights, part...)
		var start []int32
		var scale []float32
		for o := range p.out {
			sum := int32(0)
			for _, w := range p.weights[(n*p.out+o)*p.in : (n*p.out+o+1)*p.in] {
				sum += int32(w)
			}
			start, scale = append(start, -int32(p.zero)*sum), append(scale, p.scale*p.steps[n*p.out+o])
		}
		starts, scales = append(starts, ort.PackColumns(start)...), append(scales, ort.PackColumns(scale)...)
		biases = append(biases, ort.PackColumns(slices.Clone(p.bias[n*p.out:(n+1)*p.out]))...)
	}
	dims[0] *= p.names
	columns := []int{len(starts)}
	return []ownInput{{prefix + "w", weights, dims}, {prefix + "start", starts, columns}, {prefix + "scale", scales, columns}, {prefix + "bias", biases, columns}}
}

// of returns the columns of a row, rounded to bytes as the operators do.
func (p product) of(x []float64) []float64 {
	y := make([]float64, p.names*p.out)
	for o := range y {
		sum := 0.0
		for i, v := range x {
			b := min(max(math.RoundToEven(v/float64(p.scale)+float64(p.zero)), 0), 255)
			sum += (b - float64(p.zero)) * float64(p.weights[o*p.in+i])
		}
		y[o] = sum*float64(p.scale)*float64(p.steps[o]) + float64(p.bias[o])
	}
	return y
}

// normalised is layer normalisation in float64.
func normalised(x []float64, gain, shift []float32, epsilon float64) []float64 {
	var mean, square float64
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		square += (v - mean) * (v - mean) / float64(len(x))
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = (v-mean)/math.Sqrt(square+epsilon)*float64(gain[i]) + float64(shift[i])
	}
	return y
}

func someFloats(rng *rand.Rand, n int, by float32) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = (rng.Float32()*2 - 1) * by
	}
	return x
}

func runOwn(t *testing.T, kernel string, o own, inputs ...ort.Tensor) ([]ort.Tensor, error) {
	t.Helper()
	s, err := runtime.Session(ort.Model{Name: o.kind, Data: o.graph(t), Kernel: kernel}, nil, nil)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s.Run(t.Context(), inputs...)
}

// TestProducts holds both products, in each kernel, to integers and float64, in widths that fill no
// panel and numbers of rows that fill no tile.
func TestProducts(t *testing.T) {
	for _, kernel := range ort.Kernels() {
		for i, c := range []struct {
			in, hidden, out, names, rows int
			norm, residual               bool
		}{
			{in: 4, out: 32, names: 1, rows: 1},
			{in: 7, out: 5, names: 1, rows: 3},
			{in: 33, out: 33, names: 3, rows: 13},
			{in: 64, out: 96, names: 3, rows: 100, norm: true},
			{in: 50, out: 50, names: 1, rows: 30, norm: true, residual: true},
			{in: 64, out: 64, names: 1, rows: 500, residual: true},
			{in: 9, hidden: 20, out: 9, names: 1, rows: 14},
			{in: 64, hidden: 128, out: 64, names: 1, rows: 49, norm: true, residual: true},
		} {
			t.Run(fmt.Sprint(kernel, i), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(uint64(i), 1))
				x, gain, shift := someFloats(rng, c.rows*c.in, 50), someFloats(rng, c.in, 30), someFloats(rng, c.in, 30)
				residual := someFloats(rng, c.rows*c.out, 10)
				x[0] = 1e6 // beyond what a byte can tell
				first := newProduct(rng, c.in, cmp.Or(c.hidden, c.out), c.names, 0.37)
				o := own{kind: "QuantizedLinear", outputs: c.names,
					ints:   map[string]int64{"zero": first.zero, "width": int64(c.out)},
					floats: map[string]float32{"scale": first.scale, "epsilon": 1e-5}}
				o.inputs = append([]ownInput{{name: "x"}}, first.inputs("")...)
				var second product
				tolerance := 1e-5
				if c.hidden > 0 {
					second = newProduct(rng, c.hidden, c.out, 1, 11)
					o.kind, o.ints["hidden_zero"], o.floats["hidden_scale"] = "QuantizedMLP", second.zero, second.scale
					o.inputs = append(o.inputs, second.inputs("hidden_")...)
				}
				if c.norm || c.hidden > 0 {
					tolerance = 0.01 // now and then a float rounds to the next byte
				}
				if c.norm {
					o.inputs = append(o.inputs, ownInput{"gain", gain, []int{c.in}}, ownInput{"shift", shift, []int{c.in}})
				} else {
					o.inputs = append(o.inputs, ownInput{}, ownInput{})
				}
				if c.residual {
					o.inputs = append(o.inputs, ownInput{"residual", residual, []int{c.rows, c.out}})
				}
				got, err := runOwn(t, kernel, o, ort.Tensor{Shape: []int64{1, int64(c.rows), int64(c.in)}, Data: x})
				if err != nil {
					t.Fatal(err)
				}
				var off, size float64
				for r := range c.rows {
					row := make([]float64, c.in)
					for i := range row {
						row[i] = float64(x[r*c.in+i])
					}
					if c.norm {
						row = normalised(row, gain, shift, 1e-5)
					}
					want := first.of(row)
					if c.hidden > 0 {
						for i, v := range want {
							want[i] = v * 0.5 * (1 + math.Erf(v/math.Sqrt2))
						}
						want = second.of(want)
					}
					for n := range got {
						y := got[n].Data.([]float32)[r*c.out : (r+1)*c.out]
						for i := range y {
							w := want[n*c.out+i]
							if c.residual {
								w += float64(residual[r*c.out+i])
							}
							off, size = off+(float64(y[i])-w)*(float64(y[i])-w), size+w*w
						}
					}
				}
				if by := math.Sqrt(off / size); !(by < tolerance) {
					t.Errorf("off by %.2g of the length", by)
				}
			})
		}
	}
}

// TestAttention holds attention, in each kernel, to float64, and what is masked away to leaving no trace.
func TestAttention(t *testing.T) {
	for _, kernel := range ort.Kernels() {
		for i, c := range []struct{ images, tokens, heads, width int }{{1, 1, 1, 1}, {2, 33, 2, 5}, {2, 50, 3, 64}, {1, 197, 2, 40}} {
			t.Run(fmt.Sprint(kernel, i), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(uint64(i), 2))
				all := c.heads * c.width
				q, k, v := someFloats(rng, c.images*c.tokens*all, 3), someFloats(rng, c.images*c.tokens*all, 3), someFloats(rng, c.images*c.tokens*all, 3)
				bias := make([]float32, c.images*c.tokens)
				for i := range bias {
					if i%c.tokens > 0 && rng.IntN(4) == 0 {
						bias[i] = -1e9
					}
				}
				shape := []int64{int64(c.images), int64(c.tokens), int64(all)}
				run := func(k, v []float32) []float32 {
					o := own{kind: "Attention", outputs: 1, ints: map[string]int64{"heads": int64(c.heads)},
						inputs: []ownInput{{name: "q"}, {name: "k"}, {name: "v"}, {name: "bias"}}}
					y, err := runOwn(t, kernel, o, ort.Tensor{Shape: shape, Data: q}, ort.Tensor{Shape: shape, Data: k},
						ort.Tensor{Shape: shape, Data: v}, ort.Tensor{Shape: shape[:2], Data: bias})
					if err != nil {
						t.Fatal(err)
					}
					return y[0].Data.([]float32)
				}
				y := run(k, v)
				for image := range c.images {
					for head := range c.heads {
						for token := range c.tokens {
							at := func(token int) int { return (image*c.tokens+token)*all + head*c.width }
							want, sum := make([]float64, c.width), 0.0
							for key := range c.tokens {
								score := float64(bias[image*c.tokens+key])
								for d := range c.width {
									score += float64(q[at(token)+d]) * float64(k[at(key)+d]) / math.Sqrt(float64(c.width))
								}
								share := math.Exp(score)
								sum += share
								for d := range want {
									want[d] += share * float64(v[at(key)+d])
								}
							}
							for d := range want {
								if got := float64(y[at(token)+d]); !(math.Abs(got-want[d]/sum) < 1e-5) {
									t.Fatalf("image %d, head %d, token %d: %v, want %v", image, head, token, got, want[d]/sum)
								}
							}
						}
					}
				}
				broken := slices.Clone(k)
				broken[0] = float32(math.NaN()) // of the first key, which all see
				if y := run(broken, v); slices.ContainsFunc(y[:c.width], func(f float32) bool { return f == f }) {
					t.Error("a score that is no number is passed over")
				}
				otherK, otherV := slices.Clone(k), slices.Clone(v)
				for i, b := range bias {
					if b < 0 {
						copy(otherK[i*all:(i+1)*all], someFloats(rng, all, 3))
						copy(otherV[i*all:(i+1)*all], someFloats(rng, all, 1000))
					}
				}
				if !slices.Equal(y, run(otherK, otherV)) {
					t.Error("what is masked away changes the output")
				}
			})
		}
	}
}

// TestOperatorsRefuse: a graph that contradicts itself is an error, and reads nothing beyond its tensors.
func TestOperatorsRefuse(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	linear := func() own {
		p := newProduct(rng, 8, 32, 1, 0.5)
		return own{kind: "QuantizedLinear", outputs: 1, inputs: append([]ownInput{{name: "x"}}, p.inputs("")...),
			ints: map[string]int64{"zero": 3, "width": 32}, floats: map[string]float32{"scale": 0.5, "epsilon": 0}}
	}
	x := func(shape ...int64) ort.Tensor {
		n := int64(1)
		for _, d := range shape {
			n *= d
		}
		return ort.Tensor{Shape: shape, Data: make([]float32, n)}
	}
	if _, err := runOwn(t, "", linear(), x(2, 8)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(o *own){
		"no width":         func(o *own) { delete(o.ints, "width") },
		"a width of 0":     func(o *own) { o.ints["width"] = 0 },
		"another width":    func(o *own) { o.ints["width"] = 33 },
		"no scale":         func(o *own) { o.floats["scale"] = 0 },
		"two outputs":      func(o *own) { o.outputs = 2 },
		"weights in a row": func(o *own) { o.inputs[1].shape = []int{len(o.inputs[1].data.([]int8))} },
		"few starts":       func(o *own) { o.inputs[2] = ownInput{"start", make([]int32, 31), []int{31}} },
		"few scales":       func(o *own) { o.inputs[3] = ownInput{"scale", make([]float32, 16), []int{16}} },
		"a gain of 7": func(o *own) {
			o.inputs = append(o.inputs, ownInput{"gain", make([]float32, 7), []int{7}}, ownInput{"shift", make([]float32, 7), []int{7}})
		},
		"a gain, no shift": func(o *own) { o.inputs = append(o.inputs, ownInput{"gain", make([]float32, 8), []int{8}}) },
		"a residual of 1": func(o *own) {
			o.inputs = append(o.inputs, ownInput{}, ownInput{}, ownInput{"residual", []float32{1}, []int{1}})
		},
		"biases left out": func(o *own) { o.inputs[4] = ownInput{} },
		"an empty residual": func(o *own) {
			o.inputs = append(o.inputs, ownInput{}, ownInput{}, ownInput{"residual", []float32{}, []int{0}})
		},
		"an empty gain": func(o *own) {
			o.inputs = append(o.inputs, ownInput{"gain", []float32{}, []int{0}}, ownInput{"shift", []float32{}, []int{0}})
		},
		"a scale of infinity": func(o *own) { o.floats["scale"] = float32(math.Inf(1)) },
		"a scale too small":   func(o *own) { o.floats["scale"] = 1e-40 },
		"an output without a name": func(o *own) {
			p := newProduct(rng, 8, 32, 2, 0.5)
			o.inputs, o.unnamed = append([]ownInput{{name: "x"}}, p.inputs("")...), 1
		},
		"no such kind":        func(o *own) { o.kind = "QuantizedCube" },
		"half an MLP":         func(o *own) { o.kind = "QuantizedMLP" },
		"weights of 16 by 16": func(o *own) { o.inputs[1].shape = []int{1, 16, 16, 4} },
	} {
		o := linear()
		change(&o)
		if _, err := runOwn(t, "", o, x(2, 8)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for _, shape := range [][]int64{{2, 33}, {2, 64}, {}, {8, 0}} {
		if _, err := runOwn(t, "", linear(), x(shape...)); err == nil {
			t.Errorf("an input of %v is taken", shape)
		}
	}
	if y, err := runOwn(t, "", linear(), x(3, 1, 8)); err != nil || !slices.Equal(y[0].Shape, []int64{3, 1, 32}) {
		t.Errorf("three rows: %v, %v", y, err)
	}
	attention := own{kind: "Attention", outputs: 1, ints: map[string]int64{"heads": 2}, inputs: []ownInput{{name: "q"}, {name: "k"}, {name: "v"}, {name: "bias"}}}
	for name, shapes := range map[string][4][]int64{
		"other keys":      {{1, 5, 8}, {1, 4, 8}, {1, 5, 8}, {1, 5}},
		"flat values":     {{1, 5, 8}, {1, 5, 8}, {5, 8}, {1, 5}},
		"a short bias":    {{1, 5, 8}, {1, 5, 8}, {1, 5, 8}, {1, 4}},
		"an odd width":    {{1, 5, 7}, {1, 5, 7}, {1, 5, 7}, {1, 5}},
		"fewer than head": {{1, 5, 1}, {1, 5, 1}, {1, 5, 1}, {1, 5}},
	} {
		if _, err := runOwn(t, "", attention, x(shapes[0]...), x(shapes[1]...), x(shapes[2]...), x(shapes[3]...)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := runtime.Session(ort.Model{Name: "own", Data: attention.graph(t), Kernel: "abacus"}, nil, nil); err == nil {
		t.Error("a kernel that does not exist is taken")
	}
}
