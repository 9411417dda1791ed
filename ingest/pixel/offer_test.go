package pixel_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
)

// line is a table of n entries from first on that rises by step.
func line(first, n, step, bits int) pixel.LUT {
	l := pixel.LUT{First: first, Bits: bits, Entries: make([]uint16, n)}
	for i := range l.Entries {
		l.Entries[i] = uint16(i * step)
	}
	return l
}

// TestChoice: which of the offers of an object makes the grey values. The film is a ramp
// from 0 to 3568.
func TestChoice(t *testing.T) {
	good, better := pixel.Window{Center: 2048, Width: 4096}, pixel.Window{Center: 1792, Width: 2000}
	lut := line(0, 4096, 1, 12)
	narrow := func(w pixel.Window, f pixel.Function) pixel.Window { w.Function = f; return w }
	for _, tc := range []struct {
		name    string
		luts    []pixel.LUT
		windows []pixel.Window
		unfit   []pixel.Unfit
		used    int
		policy  pixel.Policy
		last    byte // of column 223
	}{
		{"nothing", nil, nil, nil, -1, pixel.Percentile, 255},
		{"the first of two windows", nil, []pixel.Window{good, better}, []pixel.Unfit{"", ""}, 0, pixel.DICOM, 222},
		{"the first usable window", nil, []pixel.Window{{}, {Center: 40, Width: 400}, {Center: 40, Width: 0.5}, better}, []pixel.Unfit{pixel.UnfitWidth, "", pixel.UnfitWidth, ""}, 1, pixel.DICOM, 255},
		{"a LUT before a window", []pixel.LUT{lut}, []pixel.Window{better}, []pixel.Unfit{"", ""}, 0, pixel.DICOM, 222},
		{"a LUT that cannot be read", []pixel.LUT{{}}, []pixel.Window{good}, []pixel.Unfit{pixel.UnfitTable, ""}, 1, pixel.DICOM, 222},
		{"a LUT that is not full", []pixel.LUT{line(0, 4096, 1, 16)}, nil, []pixel.Unfit{pixel.UnfitFlat}, -1, pixel.Percentile, 255},
		{"a LUT of other inputs", []pixel.LUT{line(20000, 4096, 1, 12)}, nil, []pixel.Unfit{pixel.UnfitClipped}, -1, pixel.Percentile, 255},
		{"the second LUT", []pixel.LUT{{}, lut}, nil, []pixel.Unfit{pixel.UnfitTable, ""}, 1, pixel.DICOM, 222},
		{"a window for 16 bits", nil, []pixel.Window{{Center: 32768, Width: 65536}}, []pixel.Unfit{pixel.UnfitFlat}, -1, pixel.Percentile, 255},
		{"a window beside the film", nil, []pixel.Window{{Center: 30000, Width: 1000}}, []pixel.Unfit{pixel.UnfitClipped}, -1, pixel.Percentile, 255},
		{"a threshold", nil, []pixel.Window{{Center: 1800, Width: 1}}, []pixel.Unfit{pixel.UnfitClipped}, -1, pixel.Percentile, 255},
		{"width 0.5 of the exact function", nil, []pixel.Window{narrow(pixel.Window{Center: 1800, Width: 0.5}, pixel.LinearExact)}, []pixel.Unfit{pixel.UnfitClipped}, -1, pixel.Percentile, 255},
		{"a negative width", nil, []pixel.Window{narrow(pixel.Window{Center: 1800, Width: -500}, pixel.Sigmoid)}, []pixel.Unfit{pixel.UnfitWidth}, -1, pixel.Percentile, 255},
		{"not a number", nil, []pixel.Window{{Center: 1800, Width: math.NaN()}}, []pixel.Unfit{pixel.UnfitWidth}, -1, pixel.Percentile, 255},
		{"an unknown function", nil, []pixel.Window{narrow(good, "CUBIC")}, []pixel.Unfit{pixel.UnfitFunction}, -1, pixel.Percentile, 255},
		{"linear by name", nil, []pixel.Window{narrow(good, pixel.Linear)}, []pixel.Unfit{""}, 0, pixel.DICOM, 222},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := ramp(0, 16)
			f.VOILUTs, f.Windows = tc.luts, tc.windows
			r, err := pixel.Render(f, pixel.Auto)
			if err != nil {
				t.Fatal(err)
			}
			var unfit []pixel.Unfit
			for _, o := range r.Offers {
				unfit = append(unfit, o.Unfit)
			}
			if d := cmp.Diff(tc.unfit, unfit); d != "" {
				t.Errorf("unfit (-want +got):\n%s", d)
			}
			if r.Used != tc.used || r.Policy != tc.policy || r.Pixels[223] != tc.last {
				t.Errorf("used %d under %s, the last column is %d; want %d, %s, %d", r.Used, r.Policy, r.Pixels[223], tc.used, tc.policy, tc.last)
			}
			if lut := r.Used >= 0 && r.Offers[r.Used].LUT != nil; lut == (r.Window != pixel.Window{}) {
				t.Errorf("window %+v", r.Window)
			}
			_, err = pixel.Render(f, pixel.DICOM)
			if refused := fault.ReasonOf(err) == pixel.ReasonNoWindow; refused != (tc.used < 0) {
				t.Errorf("policy dicom: %v", err)
			}
			// The other policies do not use what the object offers.
			if r, err := pixel.Render(f, pixel.Percentile); err != nil || r.Used != -1 || r.Policy != pixel.Percentile {
				t.Errorf("policy percentile used %d under %s, %v", r.Used, r.Policy, err)
			}
		})
	}
}

// TestTables follows four columns of a ramp through lookup tables.
func TestTables(t *testing.T) {
	exact := func(center, width float64) []pixel.Window {
		return []pixel.Window{{Center: center, Width: width, Function: pixel.LinearExact}}
	}
	reverse := pixel.LUT{Bits: 16, Entries: make([]uint16, 224)}
	tent := pixel.LUT{Bits: 16, Entries: make([]uint16, 224)}
	for i := range reverse.Entries {
		reverse.Entries[i] = uint16(223 - i)
		tent.Entries[i] = uint16(10 * min(i, 223-i))
	}
	one := pixel.LUT{Bits: 8, Entries: []uint16{9}}
	whole := line(0, 1<<16, 1, 16)
	for _, tc := range []struct {
		name   string
		change func(f *pixel.Film)
		used   pixel.Policy
		want   [4]byte // columns 0, 1, 112, 223
	}{
		{"modality LUT that turns values round", func(f *pixel.Film) { f.ModalityLUT, f.Windows = &reverse, exact(127.5, 255) }, pixel.DICOM, [4]byte{223, 222, 111, 0}},
		{"the same inverted", func(f *pixel.Film) { f.ModalityLUT, f.Windows, f.Invert = &reverse, exact(127.5, 255), true }, pixel.DICOM, [4]byte{32, 33, 144, 255}},
		{"percentiles of what a modality LUT gives", func(f *pixel.Film) { f.ModalityLUT = &tent }, pixel.Percentile, [4]byte{0, 0, 255, 0}},
		{"inputs in front of and behind the table", func(f *pixel.Film) {
			l := line(100, 21, 10, 8)
			f.ModalityLUT, f.Windows = &l, exact(127.5, 255)
		}, pixel.DICOM, [4]byte{0, 0, 120, 200}},
		{"modality LUT behind a slope, as for 32 bits", func(f *pixel.Film) { f.ModalityLUT, f.Slope, f.Windows = &whole, 4, exact(510, 1020) }, pixel.DICOM, [4]byte{0, 1, 112, 223}},
		{"VOI LUT from a negative input", func(f *pixel.Film) {
			f.Intercept, f.VOILUTs = -100, []pixel.LUT{line(-100, 224, 1, 8)}
		}, pixel.DICOM, [4]byte{0, 1, 112, 223}},
		{"VOI LUT of rescaled values between its inputs", func(f *pixel.Film) {
			f.Slope, f.VOILUTs = 0.5, []pixel.LUT{line(0, 112, 2, 8)}
		}, pixel.DICOM, [4]byte{0, 2, 112, 222}},
		{"VOI LUT behind a modality LUT", func(f *pixel.Film) {
			f.ModalityLUT, f.VOILUTs = &reverse, []pixel.LUT{line(0, 256, 16, 12)}
		}, pixel.DICOM, [4]byte{222, 221, 111, 0}},
		{"VOI LUT of signed values", func(f *pixel.Film) {
			for i := range f.Samples {
				f.Samples[i] -= 100
			}
			f.Signed, f.VOILUTs = true, []pixel.LUT{line(-100, 256, 1, 8)}
		}, pixel.DICOM, [4]byte{0, 1, 112, 223}},
		{"padding of a range", func(f *pixel.Film) {
			f.Windows, f.Padding = exact(127.5, 255), &pixel.Range{Low: 112, High: 70000}
		}, pixel.DICOM, [4]byte{0, 1, 0, 0}},
		{"padding of a signed range, inverted", func(f *pixel.Film) {
			for i := range f.Samples {
				f.Samples[i] -= 100
			}
			f.Signed, f.Invert, f.Windows, f.Padding = true, true, exact(27.5, 255), &pixel.Range{Low: -100, High: -100}
		}, pixel.DICOM, [4]byte{0, 254, 143, 32}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := ramp(0, 1)
			tc.change(&f)
			r, err := pixel.Render(f, pixel.Auto)
			if err != nil {
				t.Fatal(err)
			}
			if got := [4]byte{r.Pixels[0], r.Pixels[1], r.Pixels[112], r.Pixels[223]}; got != tc.want || r.Policy != tc.used {
				t.Errorf("%s %v, want %s %v", r.Policy, got, tc.used, tc.want)
			}
		})
	}
	for _, tc := range []struct {
		name   string
		change func(f *pixel.Film)
		reason fault.Reason
	}{
		{"a modality LUT of one value", func(f *pixel.Film) { f.ModalityLUT = &one }, pixel.ReasonBlank},
		{"a slope too small to see", func(f *pixel.Film) { f.Slope, f.Intercept = 1e-300, 1 }, pixel.ReasonBlank},
		{"a slope too large", func(f *pixel.Film) { f.Slope = 1e308 }, pixel.ReasonRescale},
		{"all is padding", func(f *pixel.Film) { f.Padding = &pixel.Range{Low: 0, High: 500} }, pixel.ReasonBlank},
	} {
		f := ramp(0, 1)
		tc.change(&f)
		if _, err := pixel.Render(f, pixel.Auto); fault.KindOf(err) != fault.Invalid || fault.ReasonOf(err) != tc.reason {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}
