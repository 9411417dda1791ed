package trainer

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"strconv"
	"time"

	"github.com/radstream/radstream/schemas/fault"
)

// Curves is what a run measured, step by step.
type Curves struct {
	steps      []curveStep
	validation []curveValidation
}

type curveStep struct {
	step  int
	rate  float64
	stats StepStats
	took  time.Duration
	// After the step, in MB: what the process holds, and what Go's heap does.
	process, heap float64
}

type curveValidation struct {
	step    int
	figures map[string]float64
}

func (c *Curves) add(step int, rate float64, s StepStats, took time.Duration) {
	process, heap := memory()
	c.steps = append(c.steps, curveStep{step, rate, s, took, process, heap})
}

// memory returns the MB that the process holds, 0 where the system does not say, and those that
// Go's heap does, garbage included.
func memory() (process, heap float64) {
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size, resident float64
		if _, err := fmt.Sscan(string(text), &size, &resident); err == nil {
			process = resident * float64(os.Getpagesize()) / 1e6
		}
	}
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return process, float64(sample[0].Value.Uint64()) / 1e6
}

func (c *Curves) addValidation(step int, figures map[string]float64) {
	c.validation = append(c.validation, curveValidation{step, figures})
}

// collapsed judges the last steps; see [Result].
func (c *Curves) collapsed() bool {
	last := c.steps[max(0, len(c.steps)-settled):]
	image, text := 0.0, 0.0
	for _, s := range last {
		image += s.stats.Image.Cosine / float64(len(last))
		text += s.stats.Text.Cosine / float64(len(last))
	}
	return max(image, text) > Collapsed
}

// temperature is that of the last step, 0 before any.
func (c *Curves) temperature() float64 {
	if len(c.steps) == 0 {
		return 0
	}
	return c.steps[len(c.steps)-1].stats.Temperature
}

// Loss returns the mean loss of the first n steps and of the last n.
func (c *Curves) Loss(n int) (first, last float64) {
	n = min(n, len(c.steps))
	for i := range n {
		first += c.steps[i].stats.Loss / float64(n)
		last += c.steps[len(c.steps)-1-i].stats.Loss / float64(n)
	}
	return first, last
}

// Write writes the curves into dir, replacing what is there:
//
//	steps.csv        every step: rate, loss, its terms, gradient, collapse figures, seconds, memory
//	validation.csv   every validation
//	loss.svg         loss and its terms
//	collapse.svg     mean off-diagonal cosine of both sides, and the limit
//	rank.svg         effective rank of both sides
//	validation.svg   the figures of the validations
func (c *Curves) Write(dir string) error {
	if len(c.steps) == 0 {
		return nil
	}
	table := c.table(rounded)
	series, err := seriesOf(table)
	if err != nil {
		return fault.E("trainer.Curves", fault.Internal, err)
	}
	if err := writeCSV(filepath.Join(dir, "steps.csv"), table); err != nil {
		return err
	}
	pick := func(names ...string) (lines []line) {
		for _, n := range names {
			lines = append(lines, line{n, series[n]})
		}
		return lines
	}
	limit := line{"collapsed", []point{{float64(c.steps[0].step), Collapsed}, {float64(c.steps[len(c.steps)-1].step), Collapsed}}}
	for _, chart := range []chart{
		{"loss.svg", "Loss and its terms", pick(append([]string{"loss"}, termsOf(table[0])...)...)},
		{"collapse.svg", "Mean off-diagonal cosine of a batch", append(pick("image_cosine", "text_cosine"), limit)},
		{"rank.svg", "Effective rank of a batch", pick("image_rank", "text_rank")},
	} {
		if err := chart.write(dir); err != nil {
			return err
		}
	}
	return c.writeValidation(dir)
}

func (c *Curves) writeValidation(dir string) error {
	if len(c.validation) == 0 {
		return nil
	}
	table := c.validations(rounded)
	series, err := seriesOf(table)
	if err != nil {
		return fault.E("trainer.Curves", fault.Internal, err)
	}
	var lines []line
	for _, name := range table[0][1:] {
		lines = append(lines, line{name, series[name]})
	}
	if err := writeCSV(filepath.Join(dir, "validation.csv"), table); err != nil {
		return err
	}
	return chart{"validation.svg", "Validation", lines}.write(dir)
}

// Digits of the numbers of a table: for people, or so that they are read as they were.
const (
	rounded = 6
	exact   = -1
)

// Columns of the table of steps, before and behind the terms of the loss.
var (
	columnsBefore = []string{"step", "learning_rate", "loss"}
	columnsBehind = []string{"grad_norm", "image_cosine", "text_cosine", "image_rank", "text_rank", "temperature", "local_temperature", "seconds", "process_mb", "heap_mb"}
)

// termsOf returns the names of the loss's terms from the head of the table of steps.
func termsOf(header []string) []string {
	return header[len(columnsBefore) : len(header)-len(columnsBehind)]
}

// table returns the steps, a header first; nothing when there are none.
func (c *Curves) table(digits int) [][]string {
	if len(c.steps) == 0 {
		return nil
	}
	all := map[string]float64{} // masked steps, and those that hold the text tower, have not the same
	for _, s := range c.steps {
		maps.Copy(all, s.stats.Terms)
	}
	terms := slices.Sorted(maps.Keys(all))
	table := [][]string{slices.Concat(columnsBefore, terms, columnsBehind)}
	for _, s := range c.steps {
		t := s.stats
		values := []float64{s.rate, t.Loss}
		for _, name := range terms {
			values = append(values, t.Terms[name])
		}
		values = append(values, t.GradNorm, t.Image.Cosine, t.Text.Cosine, t.Image.Rank, t.Text.Rank, t.Temperature, t.LocalTemperature, s.took.Seconds(), s.process, s.heap)
		table = append(table, row(s.step, values, digits))
	}
	return table
}

// validations returns them likewise.
func (c *Curves) validations(digits int) [][]string {
	if len(c.validation) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(c.validation[0].figures))
	table := [][]string{append([]string{"step"}, names...)}
	for _, v := range c.validation {
		var values []float64
		for _, n := range names {
			values = append(values, v.figures[n])
		}
		table = append(table, row(v.step, values, digits))
	}
	return table
}

func row(step int, values []float64, digits int) []string {
	out := []string{strconv.Itoa(step)}
	for _, v := range values {
		out = append(out, strconv.FormatFloat(v, 'g', digits, 64))
	}
	return out
}

// numbersOf reads the rows behind a header.
func numbersOf(table [][]string) ([][]float64, error) {
	var out [][]float64
	for _, row := range table[min(1, len(table)):] {
		if len(row) != len(table[0]) {
			return nil, fmt.Errorf("a row of %d columns under %d", len(row), len(table[0]))
		}
		numbers := make([]float64, len(row))
		for i, text := range row {
			var err error
			if numbers[i], err = strconv.ParseFloat(text, 64); err != nil {
				return nil, err
			}
		}
		out = append(out, numbers)
	}
	return out, nil
}

// seriesOf returns each column of a table over its first one.
func seriesOf(table [][]string) (map[string][]point, error) {
	rows, err := numbersOf(table)
	series := map[string][]point{}
	for _, row := range rows {
		for i, v := range row[1:] {
			series[table[0][i+1]] = append(series[table[0][i+1]], point{row[0], v})
		}
	}
	return series, err
}

// parseCurves is the inverse of table and validations, when these are exact.
func parseCurves(steps, validations [][]string) (Curves, error) {
	var c Curves
	rows, err := numbersOf(steps)
	if err != nil {
		return c, err
	}
	if len(steps) > 0 && len(steps[0]) < len(columnsBefore)+len(columnsBehind) {
		return c, fmt.Errorf("a table of %d columns", len(steps[0]))
	}
	for _, row := range rows {
		terms := map[string]float64{}
		for i, name := range termsOf(steps[0]) {
			terms[name] = row[len(columnsBefore)+i]
		}
		b := row[len(row)-len(columnsBehind):]
		c.steps = append(c.steps, curveStep{
			step: int(row[0]), rate: row[1],
			stats: StepStats{
				Loss: row[2], Terms: terms, GradNorm: b[0], Image: Spread{Cosine: b[1], Rank: b[3]}, Text: Spread{Cosine: b[2], Rank: b[4]},
				Temperature: b[5], LocalTemperature: b[6],
			},
			took: time.Duration(b[7] * float64(time.Second)), process: b[8], heap: b[9],
		})
	}
	rows, err = numbersOf(validations)
	for _, row := range rows {
		figures := map[string]float64{}
		for i, v := range row[1:] {
			figures[validations[0][i+1]] = v
		}
		c.addValidation(int(row[0]), figures)
	}
	return c, err
}

func writeCSV(path string, table [][]string) error {
	var out bytes.Buffer
	if err := csv.NewWriter(&out).WriteAll(table); err != nil {
		return fault.E("trainer.writeCSV", fault.Internal, err)
	}
	return fault.E("trainer.writeCSV", fault.Usage, os.WriteFile(path, out.Bytes(), 0o644))
}

type point struct{ x, y float64 }

type line struct {
	name   string
	points []point
}

// chart is one SVG file of lines over steps.
type chart struct {
	file, title string
	lines       []line
}

// Pixels of a chart, and how many points of a line are drawn at most: more are averaged.
const (
	chartWidth, chartHeight = 760, 380
	chartLeft, chartTop     = 60, 40
	chartRight, chartBottom = 170, 40
	chartPoints             = 300
)

func (c chart) write(dir string) error {
	colours := []string{"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f"}
	var x0, x1, y0, y1 float64
	first := true
	for i := range c.lines {
		c.lines[i].points = thin(c.lines[i].points)
		for _, p := range c.lines[i].points {
			if first {
				x0, x1, y0, y1, first = p.x, p.x, p.y, p.y, false
			}
			x0, x1, y0, y1 = min(x0, p.x), max(x1, p.x), min(y0, p.y), max(y1, p.y)
		}
	}
	if x1 == x0 {
		x1++
	}
	if y1 == y0 {
		y1++
	}
	right, bottom := float64(chartWidth-chartRight), float64(chartHeight-chartBottom)
	toX := func(v float64) float64 { return chartLeft + (v-x0)/(x1-x0)*(right-chartLeft) }
	toY := func(v float64) float64 { return bottom - (v-y0)/(y1-y0)*(bottom-chartTop) }
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", chartWidth, chartHeight)
	fmt.Fprintf(&out, `<rect width="100%%" height="100%%" fill="white"/><text x="%d" y="22" font-size="15">%s</text>`+"\n", chartLeft, c.title)
	for i := range 5 {
		share := float64(i) / 4
		y, x := y0+share*(y1-y0), x0+share*(x1-x0)
		fmt.Fprintf(&out, `<line x1="%d" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%.3g</text><text x="%.1f" y="%.1f" text-anchor="middle">%.0f</text>`+"\n",
			chartLeft, right, toY(y), toY(y), chartLeft-6, toY(y)+4, y, toX(x), bottom+18, x)
	}
	for i, l := range c.lines {
		colour := colours[i%len(colours)]
		out.WriteString(`<polyline fill="none" stroke-width="1.5" stroke="` + colour + `" points="`)
		for _, p := range l.points {
			fmt.Fprintf(&out, "%.1f,%.1f ", toX(p.x), toY(p.y))
		}
		fmt.Fprintf(&out, `"/><text x="%.1f" y="%d" fill="%s">%s</text>`+"\n", right+10, chartTop+12+18*i, colour, l.name)
	}
	out.WriteString("</svg>\n")
	return fault.E("trainer.chart", fault.Usage, os.WriteFile(filepath.Join(dir, c.file), out.Bytes(), 0o644))
}

// thin averages neighbours until at most chartPoints are left.
func thin(points []point) []point {
	size := (len(points) + chartPoints - 1) / chartPoints
	if size <= 1 {
		return points
	}
	var out []point
	for some := range slices.Chunk(points, size) {
		var mean point
		for _, p := range some {
			mean.x += p.x / float64(len(some))
			mean.y += p.y / float64(len(some))
		}
		out = append(out, mean)
	}
	return out
}
