package eval

import (
	"cmp"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
)

// Case is one study of an evaluation with one class: what it shows.
type Case struct {
	ID    string // of the study, where a query may be the same; see SearchImages
	Class string
	Size  float64   // of the finding, comparable inside a class
	Image []float32 // vector of all its views, of unit length
	Text  []float32 // vector of its report, of unit length; may be nil
	Pixel []float32 // the control's vector, of unit length; may be nil
	// Scores are the zero-shot scores by label; a class without a score of its name has no area.
	Scores map[string]float64
	// Patches and Sentences are the local vectors of its views and of its report, until [AddLocal]
	// made Local of them: what its image has in common with the report of each case beside the
	// cosine. All may be nil.
	Patches, Sentences [][]float32
	Local              []float64
}

// report is how similar the image of case i is to the report of case j.
func report(cases []Case, i, j int) float64 {
	return dot(cases[i].Image, cases[j].Text) + nth(cases[i].Local, j)
}

// Query is a text, or a film, and the class that it asks for.
type Query struct {
	ID    string // of the study that a film is of, or empty
	Class string
	Text  string
	Image []float32 // vector of the text or film, of unit length
	// As those of a [Case]; Local is of the images of the cases.
	Sentences [][]float32
	Local     []float64
}

// asked is how similar a query is to the image of a case.
func asked(queries []Query, cases []Case, q, c int) float64 {
	return dot(queries[q].Image, cases[c].Image) + nth(queries[q].Local, c)
}

// Precision is the share of relevant studies among the first 5, 10, 50 and 100 of a ranking,
// averaged over queries, with 95 % intervals. Of fewer candidates all count.
type Precision struct {
	P5     float64    `json:"p5"`
	P5CI   [2]float64 `json:"p5_ci"`
	P10    float64    `json:"p10"`
	P10CI  [2]float64 `json:"p10_ci"`
	P50    float64    `json:"p50"`
	P50CI  [2]float64 `json:"p50_ci"`
	P100   float64    `json:"p100"`
	P100CI [2]float64 `json:"p100_ci"`
	Number int        `json:"queries"`
}

// depths are those of Precision.
var depths = [...]int{5, 10, 50, 100}

func newPrecision(at [len(depths)]Figure, queries int) Precision {
	ci := func(f Figure) [2]float64 { return [2]float64{f.Low, f.High} }
	return Precision{
		at[0].Value, ci(at[0]), at[1].Value, ci(at[1]), at[2].Value, ci(at[2]), at[3].Value, ci(at[3]), queries,
	}
}

// Area is an area under the ROC curve with its 95 % interval.
type Area struct {
	AUC   float64    `json:"auc"`
	AUCCI [2]float64 `json:"auc_ci"`
}

// ClassTable is the row of one class.
type ClassTable struct {
	Class        string    `json:"class"`
	Cases        int       `json:"cases"`
	ImageToImage Precision `json:"image_to_image"`
	TextToImage  Precision `json:"text_to_image"`
	ZeroShot     *Area     `json:"zero_shot,omitempty"` // nil: the model has no such label
	Pixels       float64   `json:"pixels_p10"`          // the control's image_to_image.p10
	Sizes        []ByThird `json:"by_size"`             // small, medium, large
}

// ByThird is what a third of a class by size has.
type ByThird struct {
	Third        string  `json:"third"` // small, medium or large
	ImageToImage float64 `json:"image_to_image_p10"`
	Found        float64 `json:"text_to_image_r30"` // share that a text query of the class finds in its first 30
	AUC          float64 `json:"auc"`               // against all other classes
}

// Table is the evaluation of one model by retrieval.
type Table struct {
	Cases        int          `json:"cases"`
	ImageToImage Precision    `json:"image_to_image"`
	TextToImage  Precision    `json:"text_to_image"`
	ImageToText  Precision    `json:"image_to_text"` // reports of its class, for an image; zero where a case has no report
	Random       Precision    `json:"random"`        // image to image, by random rankings
	RandomText   Precision    `json:"random_text"`   // text to image, by random rankings
	Pixels       Precision    `json:"pixels"`        // image to image, by 32 x 32 pixels
	ZeroShot     Area         `json:"zero_shot"`     // mean over the classes with a label
	Classes      []ClassTable `json:"classes"`       // by name
	Thirds       []ByThird    `json:"by_size"`       // mean over classes
}

// found is how deep a text query looks in [ByThird].
const found = 30

// Retrieval ranks every case for every case, itself excluded, and for every query. Relevant is
// what has the query's class. Intervals of image to image resample queries, those of text to
// image resample the candidates, both class by class; areas resample cases.
func Retrieval(cases []Case, queries []Query) Table {
	e := newRetrieval(cases)
	t := Table{Cases: len(cases)}
	images := e.fromImages(func(i, j int) float64 { return dot(cases[i].Image, cases[j].Image) })
	t.ImageToImage = images.precision(e.groups)
	r := rand.New(rand.NewPCG(bootstrapSeed, 1))
	t.Random = e.fromImages(func(int, int) float64 { return r.Float64() }).precision(e.groups)
	var pixels perQuery
	if !slices.ContainsFunc(cases, func(c Case) bool { return c.Pixel == nil }) {
		pixels = e.fromImages(func(i, j int) float64 { return dot(cases[i].Pixel, cases[j].Pixel) })
		t.Pixels = pixels.precision(e.groups)
	}
	texts := scores(queries, cases, func(q, c int) float64 { return asked(queries, cases, q, c) })
	t.TextToImage = e.fromTexts(queries, texts)
	if !slices.ContainsFunc(cases, func(c Case) bool { return c.Text == nil }) {
		t.ImageToText = e.imageToText()
	}
	t.RandomText = e.fromTexts(queries, scores(queries, cases, func(int, int) float64 { return r.Float64() }))

	for g, class := range e.classes {
		own := e.groups[g]
		row := ClassTable{Class: class, Cases: len(own), ImageToImage: images.precision([][]int{own})}
		if pixels[0] != nil {
			row.Pixels = meanOf(pixels[1], own)
		}
		var mine []Query
		var mineScores [][]float64
		for q := range queries {
			if queries[q].Class == class {
				mine, mineScores = append(mine, queries[q]), append(mineScores, texts[q])
			}
		}
		row.TextToImage = e.fromTexts(mine, mineScores)
		row.ZeroShot = e.area(class, own)
		row.Sizes = e.thirds(class, own, images[1], mineScores)
		t.Classes = append(t.Classes, row)
	}
	t.ZeroShot = e.meanArea()
	for i := range t.Classes[0].Sizes {
		mean := ByThird{Third: t.Classes[0].Sizes[i].Third}
		for _, c := range t.Classes {
			n := float64(len(t.Classes))
			mean.ImageToImage += c.Sizes[i].ImageToImage / n
			mean.Found += c.Sizes[i].Found / n
			mean.AUC += c.Sizes[i].AUC / n
		}
		t.Thirds = append(t.Thirds, mean)
	}
	return t
}

// SearchImages ranks cases for films that are queries, as the 8x200 set has them (Table 3). Relevant
// is what has the query's class; the case with the query's ID is the query itself and not ranked.
// Intervals resample queries class by class.
func SearchImages(cases []Case, queries []Query) Precision {
	var out perQuery
	by := map[string][]int{}
	for _, q := range queries {
		self := -1
		if q.ID != "" {
			self = slices.IndexFunc(cases, func(c Case) bool { return c.ID == q.ID })
		}
		order := rank(len(cases), self, func(c int) float64 { return dot(q.Image, cases[c].Image) })
		if len(order) == 0 {
			continue
		}
		by[q.Class] = append(by[q.Class], len(out[0]))
		for k, depth := range depths {
			out[k] = append(out[k], precisionAt(order, depth, func(c int) bool { return cases[c].Class == q.Class }))
		}
	}
	if len(by) == 0 {
		return Precision{}
	}
	var groups [][]int
	for _, class := range slices.Sorted(maps.Keys(by)) {
		groups = append(groups, by[class])
	}
	return out.precision(groups)
}

// SearchTexts is [SearchImages] for queries that are texts. They are few, so that intervals
// resample the cases, class by class.
func SearchTexts(cases []Case, queries []Query) Precision {
	texts := scores(queries, cases, func(q, c int) float64 { return asked(queries, cases, q, c) })
	return newRetrieval(cases).fromTexts(queries, texts)
}

// SearchReports ranks the reports of cases for their images, as Table 3 has it on the 5x200 set.
// Relevant is what has the image's class, its own report too. Cases without a report are left out.
func SearchReports(cases []Case) Precision {
	cases = slices.DeleteFunc(slices.Clone(cases), func(c Case) bool { return c.Text == nil })
	if len(cases) == 0 {
		return Precision{}
	}
	return newRetrieval(cases).imageToText()
}

// retrieval is the cases by class.
type retrieval struct {
	cases   []Case
	classes []string // sorted
	groups  [][]int  // cases of each class
}

func newRetrieval(cases []Case) *retrieval {
	by := map[string][]int{}
	for i, c := range cases {
		by[c.Class] = append(by[c.Class], i)
	}
	e := &retrieval{cases: cases}
	for class := range by {
		e.classes = append(e.classes, class)
	}
	slices.Sort(e.classes)
	for _, class := range e.classes {
		e.groups = append(e.groups, by[class])
	}
	return e
}

// perQuery holds, for each depth, one precision a query.
type perQuery [len(depths)][]float64

func (p perQuery) precision(groups [][]int) Precision {
	var at [len(depths)]Figure
	for k := range depths {
		at[k] = meanFigure(p[k], groups)
	}
	n := 0
	for _, g := range groups {
		n += len(g)
	}
	return newPrecision(at, n)
}

// fromImages ranks all other cases for each case.
func (e *retrieval) fromImages(score func(i, j int) float64) perQuery { return e.rankings(true, score) }

// rankings ranks all cases for each case, without itself if others says so.
func (e *retrieval) rankings(others bool, score func(i, j int) float64) perQuery {
	var out perQuery
	for i, c := range e.cases {
		skip := -1
		if others {
			skip = i
		}
		order := rank(len(e.cases), skip, func(j int) float64 { return score(i, j) })
		for k, depth := range depths {
			out[k] = append(out[k], precisionAt(order, depth, func(j int) bool { return e.cases[j].Class == c.Class }))
		}
	}
	return out
}

// imageToText ranks the reports of all cases for the image of each.
func (e *retrieval) imageToText() Precision {
	return e.rankings(false, func(i, j int) float64 { return report(e.cases, i, j) }).precision(e.groups)
}

// scores is one row a query, one column a case.
func scores(queries []Query, cases []Case, score func(q, c int) float64) [][]float64 {
	out := make([][]float64, len(queries))
	for q := range queries {
		for c := range cases {
			out[q] = append(out[q], score(q, c))
		}
	}
	return out
}

// fromTexts ranks all cases for each query.
func (e *retrieval) fromTexts(queries []Query, scores [][]float64) Precision {
	if len(queries) == 0 {
		return Precision{}
	}
	every := slices.Concat(e.groups...)
	var figures [len(depths)]Figure
	for i, k := range depths {
		measure := e.textPrecision(queries, scores, k)
		figures[i].Value = measure(every)
		figures[i].Low, figures[i].High = bootstrap(e.groups, measure)
	}
	return newPrecision(figures, len(queries))
}

// textPrecision returns what finds the mean precision at k over queries where some cases, which
// may repeat, are the candidates.
func (e *retrieval) textPrecision(queries []Query, scores [][]float64, k int) func(chosen []int) float64 {
	orders := make([][]int, len(queries))
	for q := range queries {
		orders[q] = rank(len(e.cases), -1, func(c int) float64 { return scores[q][c] })
	}
	times := make([]int, len(e.cases)) // how often a case was drawn
	return func(chosen []int) float64 {
		clear(times)
		for _, c := range chosen {
			times[c]++
		}
		sum := 0.0
		for q, order := range orders {
			left, hits := k, 0
			for _, c := range order {
				n := min(times[c], left)
				if left -= n; e.cases[c].Class == queries[q].Class {
					hits += n
				}
				if left == 0 {
					break
				}
			}
			sum += float64(hits) / float64(k-left)
		}
		return sum / float64(len(orders))
	}
}

// area is the area of one class against all others; nil where the model has no such label.
func (e *retrieval) area(class string, own []int) *Area {
	column, ok := e.column(class)
	if !ok {
		return nil
	}
	truth := make([]bool, len(e.cases))
	for _, i := range own {
		truth[i] = true
	}
	f := byPatient(make([]string, len(truth)), truth).auc(column, truth) // cases name no patient
	return &Area{f.Value, [2]float64{f.Low, f.High}}
}

func (e *retrieval) column(class string) ([]float64, bool) {
	column := make([]float64, len(e.cases))
	for i, c := range e.cases {
		s, ok := c.Scores[class]
		if !ok {
			return nil, false
		}
		column[i] = s
	}
	return column, true
}

func (e *retrieval) others(class string) (out []int) {
	for i, c := range e.cases {
		if c.Class != class {
			out = append(out, i)
		}
	}
	return out
}

// meanArea is the mean area over the classes that have one, resampling cases class by class.
func (e *retrieval) meanArea() Area {
	measure := e.areas()
	if measure == nil {
		return Area{}
	}
	a := Area{AUC: measure(slices.Concat(e.groups...))}
	a.AUCCI[0], a.AUCCI[1] = bootstrap(e.groups, measure)
	return a
}

// areas returns what finds the mean area of the classes that have a score where some cases, which
// may repeat, are all; nil where none has.
func (e *retrieval) areas() func(chosen []int) float64 {
	columns := map[string][]float64{}
	for _, class := range e.classes {
		if column, ok := e.column(class); ok {
			columns[class] = column
		}
	}
	if len(columns) == 0 {
		return nil
	}
	return func(chosen []int) float64 {
		sum := 0.0
		for _, class := range e.classes {
			column, ok := columns[class]
			if !ok {
				continue
			}
			var p, n []float64
			for _, c := range chosen {
				if e.cases[c].Class == class {
					p = append(p, column[c])
				} else {
					n = append(n, column[c])
				}
			}
			sum += auc(p, n)
		}
		return sum / float64(len(columns))
	}
}

// thirds splits a class by size and looks at each third.
func (e *retrieval) thirds(class string, own []int, p10 []float64, texts [][]float64) []ByThird {
	sorted := slices.SortedStableFunc(slices.Values(own), func(a, b int) int { return cmp.Compare(e.cases[a].Size, e.cases[b].Size) })
	hits := make([]float64, len(e.cases)) // share of the queries that find it
	for _, s := range texts {
		for _, c := range rank(len(e.cases), -1, func(c int) float64 { return s[c] })[:min(found, len(e.cases))] {
			hits[c] += 1 / float64(len(texts))
		}
	}
	column, ok := e.column(class)
	var negative []float64
	if ok {
		for _, i := range e.others(class) {
			negative = append(negative, column[i])
		}
	}
	var out []ByThird
	for i, name := range []string{"small", "medium", "large"} {
		part := sorted[i*len(sorted)/3 : (i+1)*len(sorted)/3]
		row := ByThird{Third: name, ImageToImage: meanOf(p10, part), Found: meanOf(hits, part)}
		if ok {
			var positive []float64
			for _, c := range part {
				positive = append(positive, column[c])
			}
			row.AUC = auc(positive, negative)
		}
		if len(part) == 0 || math.IsNaN(row.AUC) {
			row = ByThird{Third: name}
		}
		out = append(out, row)
	}
	return out
}

func meanOf(values []float64, chosen []int) float64 {
	sum := 0.0
	for _, i := range chosen {
		sum += values[i]
	}
	return sum / float64(len(chosen))
}
