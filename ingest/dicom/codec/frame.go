package codec

// Frame is what a data set declares of the frame that a codestream holds. A decoder compares
// the codestream with it before it allocates.
type Frame struct {
	Rows, Columns int
	Samples       int  // a pixel: 1, or 3 in colour
	BitsAllocated int  // 8 or 16 (32 for RLE and native frames)
	BitsStored    int  // 1 to BitsAllocated
	Signed        bool // Pixel Representation
}
