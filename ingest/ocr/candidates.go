package ocr

// How areas that may hold text are told from those that do not. A stroke of a letter has two
// edges, one on either side: a brightness that rises steeply and falls steeply within a cell,
// and in text many times. Ribs, the diaphragm and collimators have long edges of one kind.
const (
	cell      = 16  // pixels
	steep     = 22  // grey levels over two pixels
	leastEdge = 5   // steep pixels of either sign in a cell and its right and lower neighbours
	margin    = 2   // cells of surroundings that detection sees
	tile      = 512 // longest side of an area in pixels
	overlap   = 96  // pixels that tiles of one area share

	// Detection takes 100 MB in an area of tile x tile. Beside a film of more pixels than any but
	// the largest detectors have, there is no room for that.
	largeFilm = 16 << 20 // pixels
	smallTile = 256      // longest side of an area of a larger one
)

// tileOf returns the longest side of an area in a film of so many pixels.
func tileOf(src Source) int {
	if whole(src).area() > largeFilm {
		return smallTile
	}
	return tile
}

// candidates returns the areas of src that may hold text, none of them larger than tile on a
// side. Areas do not overlap, but for the tiles of a large one.
func candidates(src Source, tile int) []Box {
	wide, high := src.Size()
	columns, rows := (wide+cell-1)/cell, (high+cell-1)/cell
	type count struct{ up, down, left, right int }
	cells := make([]count, columns*rows)
	above, here, below := make([]byte, wide), make([]byte, wide), make([]byte, wide)
	src.Row(0, 0, here)
	src.Row(min(1, high-1), 0, below)
	for y := 1; y < high-1; y++ {
		above, here, below = here, below, above
		src.Row(y+1, 0, below)
		line := cells[y/cell*columns:]
		for x := 1; x < wide-1; x++ {
			c := &line[x/cell]
			switch dx := int(here[x+1]) - int(here[x-1]); {
			case dx >= steep:
				c.right++
			case dx <= -steep:
				c.left++
			}
			switch dy := int(below[x]) - int(above[x]); {
			case dy >= steep:
				c.down++
			case dy <= -steep:
				c.up++
			}
		}
	}
	on := make([]bool, len(cells)) // within margin of strokes
	for y := range rows {
		for x := range columns {
			var c count
			for dy := y; dy < min(y+2, rows); dy++ {
				for dx := x; dx < min(x+2, columns); dx++ {
					n := cells[dy*columns+dx]
					c.up, c.down, c.left, c.right = c.up+n.up, c.down+n.down, c.left+n.left, c.right+n.right
				}
			}
			if min(c.up, c.down, c.left, c.right) < leastEdge {
				continue
			}
			for dy := max(y-margin, 0); dy < min(y+2+margin, rows); dy++ {
				for dx := max(x-margin, 0); dx < min(x+2+margin, columns); dx++ {
					on[dy*columns+dx] = true
				}
			}
		}
	}
	var tiles []Box
	for _, a := range joined(pieces(on, columns)) {
		a = Box{a.X0 * cell, a.Y0 * cell, a.X1 * cell, a.Y1 * cell}
		tiles = append(tiles, split(a.Intersect(whole(src)), tile)...)
	}
	return tiles
}

// pieces returns the least boxes around the 4-connected pieces of a grid, and clears it.
func pieces(on []bool, columns int) []Box {
	var boxes []Box
	var stack []int
	for start := range on {
		if !on[start] {
			continue
		}
		on[start] = false
		b := Box{columns, len(on), 0, 0}
		for stack = append(stack, start); len(stack) > 0; {
			i := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			x, y := i%columns, i/columns
			b = b.Union(Box{x, y, x + 1, y + 1})
			for _, n := range [4]struct {
				inside bool
				at     int
			}{{x > 0, i - 1}, {x+1 < columns, i + 1}, {y > 0, i - columns}, {i+columns < len(on), i + columns}} {
				if n.inside && on[n.at] {
					on[n.at] = false
					stack = append(stack, n.at)
				}
			}
		}
		boxes = append(boxes, b)
	}
	return boxes
}

// joined replaces boxes that overlap by the box around them, until none do.
func joined(boxes []Box) []Box {
	for changed := true; changed; {
		changed = false
		var apart []Box
		for _, b := range boxes {
			for i := 0; i < len(apart); {
				if !b.Intersect(apart[i]).Empty() {
					b, changed = b.Union(apart[i]), true
					apart = append(apart[:i], apart[i+1:]...)
					continue
				}
				i++
			}
			apart = append(apart, b)
		}
		boxes = apart
	}
	return boxes
}

// split returns tiles that cover b.
func split(b Box, tile int) []Box {
	cuts := func(from, to int) [][2]int {
		n := 1
		for ; (to-from+(n-1)*overlap+n-1)/n > tile; n++ {
		}
		size := (to - from + (n-1)*overlap + n - 1) / n
		var all [][2]int
		for i := range n {
			start := min(from+i*(size-overlap), to)
			all = append(all, [2]int{start, min(start+size, to)})
		}
		return all
	}
	var tiles []Box
	for _, y := range cuts(b.Y0, b.Y1) {
		for _, x := range cuts(b.X0, b.X1) {
			tiles = append(tiles, Box{x[0], y[0], x[1], y[1]})
		}
	}
	return tiles
}
