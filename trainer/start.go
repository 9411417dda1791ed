package trainer

import (
	"cmp"
	"image"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// Start returns the weights that a run from scratch on d starts with: those of
// [onnxexport.Untrained], but for some that decide how soon a contrastive run leaves its first
// plateau, where all vectors are alike.
//
//   - The patch projection whitens: its inputs are the principal components of the patches of
//     d, each divided by its deviation. Otherwise brightness, nearly all of the variance,
//     hides the edges and spots that findings are made of.
//   - Positions take the mean anatomy away, so that a token says how its place differs from
//     the average chest, and add sines and cosines of row and column as large as the patches
//     (masked autoencoders, He et al. 2022). Small random positions make the tower a bag of
//     patches that has to learn first where anything is.
//   - View embeddings are as large, for the same reason.
//   - The pooling query is small, so that every patch has a share in the pooled vector and in
//     its gradient, wherever the finding is.
func Start(c model.Config, d *Dataset, seed uint64) onnxexport.Weights {
	w := onnxexport.Untrained(c, seed)
	scale := func(name string, by float32) {
		for i := range w[name].Data {
			w[name].Data[i] *= by
		}
	}
	scale("image.view", 25)        // deviation 0.5
	scale("image.pool.query", 0.1) // deviation 0.3
	r := rand.New(rand.NewPCG(seed, drawStart<<56))
	p := measurePatches(c.Image, d.Train)
	projection := w["image.patch.weight"].Data
	p.whiten(c.Image.Width, projection, r)
	positions(c.Image, w["image.position"].Data)
	p.center(c.Image, projection, w["image.position"].Data)
	return w
}

// patches is what the patches of a data set look like, in the units that enter the projection.
type patches struct {
	size       int         // numbers in a patch
	mean       [][]float64 // of each patch of an image, over views
	covariance []float64   // [size, size] within place and view
}

// measuredStudies is how many studies are enough to know patches.
const measuredStudies = 400

func measurePatches(c model.ImageConfig, studies []*Study) patches {
	n, size := c.Patches(), c.Patch*c.Patch
	p := patches{size: size, mean: make([][]float64, n), covariance: make([]float64, size*size)}
	studies = studies[:min(len(studies), measuredStudies)]
	var means [2][][]float64 // by view and place
	var counts [2][]float64
	for v := range means {
		means[v], counts[v] = make([][]float64, n), make([]float64, n)
		for i := range n {
			means[v][i] = make([]float64, size)
		}
	}
	each := func(f func(view, place int, x []float64)) {
		x := make([]float64, size)
		for _, s := range studies {
			for _, i := range s.Images {
				for place := range n {
					if cut(c, i.Pixels, i.Exposed, place, x) {
						f(int(i.View), place, x)
					}
				}
			}
		}
	}
	each(func(view, place int, x []float64) {
		counts[view][place]++
		for i, v := range x {
			means[view][place][i] += v
		}
	})
	for place := range n {
		p.mean[place] = make([]float64, size)
		views := 0.0
		for v := range means {
			if counts[v][place] == 0 {
				continue
			}
			views++
			for i := range size {
				means[v][place][i] /= counts[v][place]
				p.mean[place][i] += means[v][place][i]
			}
		}
		for i := range size {
			p.mean[place][i] /= max(views, 1)
		}
	}
	total, skip := 0.0, 0
	each(func(view, place int, x []float64) {
		if skip++; skip%7 != 0 { // a seventh of the patches is plenty, and 7 divides no row
			return
		}
		total++
		for i := range x {
			x[i] -= means[view][place][i]
		}
		for i, a := range x {
			row := p.covariance[i*size:][:size]
			for j := i; j < size; j++ {
				row[j] += a * x[j]
			}
		}
	})
	for i := range size {
		for j := i; j < size; j++ {
			p.covariance[i*size+j] /= max(total, 1)
			p.covariance[j*size+i] = p.covariance[i*size+j]
		}
	}
	return p
}

// cut takes one patch of an image into x; false where it is not wholly exposed.
func cut(c model.ImageConfig, pixels []byte, exposed image.Rectangle, place int, x []float64) bool {
	side := c.Size / c.Patch
	at := image.Pt(place%side*c.Patch, place/side*c.Patch)
	if !(image.Rectangle{Min: at, Max: at.Add(image.Pt(c.Patch, c.Patch))}).In(exposed) {
		return false
	}
	for dy := range c.Patch {
		row := pixels[(at.Y+dy)*c.Size+at.X:]
		for dx := range c.Patch {
			x[dy*c.Patch+dx] = (float64(row[dx])/255 - c.Mean) / c.Std
		}
	}
	return true
}

// whiten fills the projection [width, size]: random directions in the space of the leading
// components, each scaled to deviation 1 but for those that are less than noise.
func (p patches) whiten(width int, out []float32, r *rand.Rand) {
	const noise = 0.02 // variance; a deviation of 9 grey values
	values, vectors := eigen(p.covariance, p.size)
	k := min(width, p.size)
	clear(out)
	for o := range width {
		row := out[o*p.size:][:p.size]
		for c := range k {
			g := r.NormFloat64() / math.Sqrt(float64(k)) / math.Sqrt(max(values[c], 0)+noise)
			for i, v := range vectors[c] {
				row[i] += float32(g * v)
			}
		}
	}
}

// center takes the projected mean of each place off its position.
func (p patches) center(c model.ImageConfig, projection, position []float32) {
	position = position[(c.Tokens()-c.Patches())*c.Width:]
	for place, mean := range p.mean {
		for o := range c.Width {
			sum := 0.0
			for i, v := range mean {
				sum += float64(projection[o*p.size+i]) * v
			}
			position[place*c.Width+o] -= float32(sum)
		}
	}
}

// positions fills [tokens, h] row by row: a quarter of h each for the sine and the cosine of
// the row and of the column, at wavelengths from 2 pi to 2,000 pi patches. A CLS token has
// zeros.
func positions(c model.ImageConfig, out []float32) {
	const amplitude = 0.7
	side, quarter := c.Size/c.Patch, c.Width/4
	clear(out)
	out = out[(c.Tokens()-c.Patches())*c.Width:]
	for p := range c.Patches() {
		row := out[p*c.Width:]
		for i := range quarter {
			rate := math.Pow(1000, -float64(i)/float64(quarter))
			y, x := float64(p/side)*rate, float64(p%side)*rate
			for part, v := range []float64{math.Sin(y), math.Cos(y), math.Sin(x), math.Cos(x)} {
				row[part*quarter+i] = float32(amplitude * v)
			}
		}
	}
}

// eigen returns the eigenvalues of a symmetric n x n matrix, the largest first, and their
// vectors, by Jacobi's rotations (Golub and Van Loan, 8.5). a is left alone.
func eigen(a []float64, n int) (values []float64, vectors [][]float64) {
	a = slices.Clone(a)
	v := make([][]float64, n) // rows are vectors
	for i := range n {
		v[i] = make([]float64, n)
		v[i][i] = 1
	}
	norm := 0.0
	for _, x := range a {
		norm += x * x
	}
	for range 30 {
		off := 0.0
		for i := range n {
			for j := i + 1; j < n; j++ {
				off += 2 * a[i*n+j] * a[i*n+j]
			}
		}
		if off <= 1e-18*norm {
			break
		}
		for i := range n {
			for j := i + 1; j < n; j++ {
				rotate(a, v, n, i, j)
			}
		}
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(a[j*n+j], a[i*n+i]) })
	for _, i := range order {
		values, vectors = append(values, a[i*n+i]), append(vectors, v[i])
	}
	return values, vectors
}

// rotate makes a[i, j] zero.
func rotate(a []float64, v [][]float64, n, i, j int) {
	if a[i*n+j] == 0 {
		return
	}
	theta := (a[j*n+j] - a[i*n+i]) / (2 * a[i*n+j])
	t := 1 / (math.Abs(theta) + math.Sqrt(theta*theta+1))
	if theta < 0 {
		t = -t
	}
	c := 1 / math.Sqrt(t*t+1)
	s := t * c
	for k := range n {
		x, y := a[i*n+k], a[j*n+k]
		a[i*n+k], a[j*n+k] = c*x-s*y, s*x+c*y
	}
	for k := range n {
		x, y := a[k*n+i], a[k*n+j]
		a[k*n+i], a[k*n+j] = c*x-s*y, s*x+c*y
	}
	for k := range n {
		x, y := v[i][k], v[j][k]
		v[i][k], v[j][k] = c*x-s*y, s*x+c*y
	}
}
