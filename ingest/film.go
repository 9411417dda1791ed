package ingest

import (
	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/dicom/codec"
	"github.com/radstream/radstream/ingest/pixel"
)

// Film reads the first frame of any object whose pixels can be made grey, of whatever part of
// the body and by whatever machine: for those who measure what the quality gate refuses.
// Errors: those of reading and decoding.
func Film(data []byte) (pixel.Film, error) {
	if pixel.Sniff(data) != "" {
		plain, err := pixel.DecodePlain(data)
		return plain.Film, err
	}
	file, err := dicom.Parse(data)
	if err != nil {
		return pixel.Film{}, err
	}
	pixels, _, err := file.Survey(codec.Standard())
	if err != nil {
		return pixel.Film{}, err
	}
	return filmOf(file.Header, pixels)
}
