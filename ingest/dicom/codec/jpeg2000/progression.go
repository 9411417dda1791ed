package jpeg2000

import (
	"cmp"
	"slices"
)

// Progressions, T.800 table A.16: L layer, R resolution, C component, P position.
const (
	progLRCP = iota
	progRLCP
	progRPCL
	progPCRL
	progCPRL
)

// packets reads every packet of the tile in the order of its progressions (T.800 B.12).
func (t *tile) packets(r *packetReader) error {
	changes := t.params.changes
	if len(changes) == 0 {
		changes = []change{{
			res1: maxLevels + 1, comp1: len(t.comps), layers: t.params.layers, progression: t.params.progression,
		}}
	}
	for _, c := range changes {
		if err := t.progress(c, r); err != nil {
			return err
		}
	}
	for _, p := range t.precincts {
		if p.layers < t.params.layers {
			return malformed("the progressions of POC must reach every packet (T.800 A.6.6)")
		}
	}
	return nil
}

// progress reads the packets of one progression. Within a volume of POC the layers that
// earlier progressions read are passed over.
func (t *tile) progress(c change, r *packetReader) error {
	layers := min(c.layers, t.params.layers)
	var some []*precinct // with a packet to read, so that sorting them is paid for by bytes
	for _, p := range t.precincts {
		if p.res >= c.res0 && p.res < c.res1 && p.comp >= c.comp0 && p.comp < c.comp1 && p.layers < layers {
			some = append(some, p)
		}
	}
	slices.SortFunc(some, order(c.progression))
	switch c.progression {
	case progLRCP:
		return t.layerByLayer(some, layers, r)
	case progRLCP:
		for len(some) > 0 {
			n := 1
			for n < len(some) && some[n].res == some[0].res {
				n++
			}
			if err := t.layerByLayer(some[:n], layers, r); err != nil {
				return err
			}
			some = some[n:]
		}
		return nil
	}
	for _, p := range some {
		for p.layers < layers {
			if err := r.packet(t, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tile) layerByLayer(some []*precinct, layers int, r *packetReader) error {
	for layer := range layers {
		for _, p := range some {
			if p.layers > layer {
				continue
			}
			if err := r.packet(t, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// order compares precincts as the loops of T.800 B.12.1 reach them, layers aside.
func order(progression uint8) func(a, b *precinct) int {
	position := func(a, b *precinct) int { return cmp.Or(cmp.Compare(a.y, b.y), cmp.Compare(a.x, b.x)) }
	comp := func(a, b *precinct) int { return cmp.Compare(a.comp, b.comp) }
	res := func(a, b *precinct) int { return cmp.Compare(a.res, b.res) }
	index := func(a, b *precinct) int { return cmp.Compare(a.index, b.index) }
	switch progression {
	case progRPCL:
		return func(a, b *precinct) int { return cmp.Or(res(a, b), position(a, b), comp(a, b), index(a, b)) }
	case progPCRL:
		return func(a, b *precinct) int { return cmp.Or(position(a, b), comp(a, b), res(a, b), index(a, b)) }
	case progCPRL:
		return func(a, b *precinct) int { return cmp.Or(comp(a, b), position(a, b), res(a, b), index(a, b)) }
	}
	return func(a, b *precinct) int { return cmp.Or(res(a, b), comp(a, b), index(a, b)) }
}
