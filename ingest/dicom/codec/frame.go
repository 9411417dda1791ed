package codec

// Frame is what a data set declares of the frame that a codestream holds. A decoder compares
// the codestream with it before it allocates.
type Frame struct {
	Rows, Columns int
	Samples       int  // a pixel: 1, or 3 in colour
	BitsAllocated int  // 8 or 16 (32 for RLE and native frames)
	BitsStored    int  // 1 to BitsAllocated
	HighBit       int  // BitsStored-1, or more; 0 where the data set does not say
	Signed        bool // Pixel Representation
}

// lower moves samples that lie at High Bit, as old encoders left them in a codestream of all bits
// that are allocated, down to bit 0, without what lies above them. Most codestreams with such a
// High Bit hold the stored bits alone, whatever the data set says: then no sample has a bit above
// them.
func (f Frame) lower(samples []uint16) {
	down, free := f.HighBit+1-f.BitsStored, 16-f.BitsStored
	if down <= 0 || down > 15 || free < 0 {
		return
	}
	for _, v := range samples {
		if v>>f.BitsStored != 0 && !(f.Signed && int16(v)>>(f.BitsStored-1) == -1) {
			for i, v := range samples {
				if f.Signed {
					samples[i] = uint16(int16(v>>down<<free) >> free)
				} else {
					samples[i] = v >> down << free >> free
				}
			}
			return
		}
	}
}
