package ocr

import "math"

const (
	window    = 16 // pixels to each side whose mean and spread a pixel is held against
	spread    = 56 // grey levels that one standard deviation becomes
	leastSpan = 6  // the least standard deviation, so that noise stays noise
)

// equalised returns a part of src as [flatten] of the whole of src shows it.
func equalised(src Source, part Box) cut {
	around := cutOut(src, part.Grow(window))
	around.img = flatten(around.img)
	inner := cutOut(around.img, Box{part.X0 - around.x0, part.Y0 - around.y0, part.X1 - around.x0, part.Y1 - around.y0})
	return cut{inner.img, inner.x0 + around.x0, inner.y0 + around.y0}
}

// flatten returns img with its local mean taken away and its local contrast made equal: text
// that runs from the lung over the heart, or stands faintly on bone, is equally strong all
// along. Sums are whole numbers, so the result is the same everywhere.
func flatten(img Image) Image {
	columns, rows := img.Columns, img.Rows
	out := Image{columns, rows, make([]byte, len(img.Pix))}
	sums, squares := make([]int, columns), make([]int, columns) // of each column, over the rows in reach
	add := func(y, sign int) {
		for x, v := range img.Pix[y*columns:][:columns] {
			sums[x] += sign * int(v)
			squares[x] += sign * int(v) * int(v)
		}
	}
	for y := range min(window, rows) {
		add(y, 1)
	}
	for y := range rows {
		if y+window < rows {
			add(y+window, 1)
		}
		if y-window-1 >= 0 {
			add(y-window-1, -1)
		}
		high := min(y+window, rows-1) - max(y-window, 0) + 1
		sum, square := 0, 0
		for x := range min(window, columns) {
			sum, square = sum+sums[x], square+squares[x]
		}
		for x := range columns {
			if x+window < columns {
				sum, square = sum+sums[x+window], square+squares[x+window]
			}
			if x-window-1 >= 0 {
				sum, square = sum-sums[x-window-1], square-squares[x-window-1]
			}
			n := float64(high * (min(x+window, columns-1) - max(x-window, 0) + 1))
			mean := float64(sum) / n
			deviation := max(leastSpan, math.Sqrt(max(0, float64(square)/n-mean*mean)))
			v := 128 + spread*(float64(img.Pix[y*columns+x])-mean)/deviation
			out.Pix[y*columns+x] = byte(max(0, min(255, v)))
		}
	}
	return out
}
