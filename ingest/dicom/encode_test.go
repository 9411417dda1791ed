package dicom

import (
	"bytes"
	"errors"
	"fmt"
	"image/jpeg"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sk "github.com/suyashkumar/dicom"
	"github.com/suyashkumar/dicom/pkg/tag"

	"github.com/radstream/radstream/schemas/fault"
)

// encodeFilm returns a valid film with a gradient and noise.
func encodeFilm(syntax FilmSyntax, rows, cols, bits int) Film {
	f := Film{
		StudyUID: "2.25.1234567890", SeriesUID: "2.25.12345678901", InstanceUID: "2.25.123456789012",
		PatientID: "P1", PatientName: "Abel^Änne", PatientSex: "F", PatientBirthDate: "19610402", AccessionNumber: "A123",
		StudyTime: time.Date(2024, 2, 29, 13, 5, 9, 0, time.UTC), Modality: "DX", BodyPart: "CHEST", ViewPosition: "PA", InstanceNumber: 1,
		Rows: rows, Columns: cols, PixelSpacing: 0.7421, BitsStored: bits, Photometric: "MONOCHROME2",
		WindowCenter: 511.5, WindowWidth: 900, RescaleSlope: 0.5, RescaleIntercept: -1024, Syntax: syntax,
	}
	r := rand.New(rand.NewPCG(1, 2))
	most := 1<<bits - 1
	for i := range rows * cols {
		f.Pixels = append(f.Pixels, uint16(min(most*(i%cols)/cols+r.IntN(max(most/32, 1)), most)))
	}
	return f
}

func encodeBytes(t *testing.T, f Film) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := Encode(&buf, f); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestEncodeReadsBack(t *testing.T) {
	for _, syntax := range []FilmSyntax{FilmExplicitLE, FilmImplicitLE, FilmJPEGBaseline} {
		for _, c := range []struct {
			rows, cols, bits int
			change           func(*Film)
		}{
			{8, 6, 12, func(*Film) {}},
			{3, 5, 8, func(f *Film) { f.Modality, f.Photometric = "CR", "MONOCHROME1" }}, // odd number of bytes
			{1, 1, 16, func(f *Film) { f.WindowWidth, f.RescaleSlope = 0, 0 }},
			{64, 96, 10, func(f *Film) { f.ViewPosition, f.Laterality, f.PixelSpacing = "LL", "L", 0 }},
		} {
			if syntax == FilmJPEGBaseline {
				c.bits = 8
			}
			t.Run(fmt.Sprintf("%s %dx%dx%d", syntax, c.rows, c.cols, c.bits), func(t *testing.T) {
				f := encodeFilm(syntax, c.rows, c.cols, c.bits)
				c.change(&f)
				data := encodeBytes(t, f)
				if !bytes.Equal(data, encodeBytes(t, f)) {
					t.Error("the same film gave other bytes")
				}
				if len(data)%2 != 0 {
					t.Error("odd length")
				}
				// undefined length, then an offset table of one frame at 0, then the frame's item
				table := "\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\x04\x00\x00\x00\x00\x00\x00\x00\xfe\xff\x00\xe0"
				if bytes.Contains(data, []byte(table)) != (syntax == FilmJPEGBaseline) {
					t.Error("no basic offset table, or one where it does not belong")
				}
				ds, err := sk.Parse(bytes.NewReader(data), int64(len(data)), nil)
				if err != nil {
					t.Fatal(err)
				}
				encodeCompare(t, f, ds)
			})
		}
	}
}

// encodeCompare holds the parsed data set against the film.
func encodeCompare(t *testing.T, f Film, ds sk.Dataset) {
	t.Helper()
	class, laterality, other := "1.2.840.10008.5.1.4.1.1.1", tag.Laterality, tag.ImageLaterality
	if f.Modality == "DX" {
		class, laterality, other = "1.2.840.10008.5.1.4.1.1.1.1", tag.ImageLaterality, tag.Laterality
	}
	allocated := 16
	if f.BitsStored == 8 {
		allocated = 8
	}
	want := map[tag.Tag]any{
		tag.TransferSyntaxUID: string(f.Syntax), tag.MediaStorageSOPClassUID: class, tag.MediaStorageSOPInstanceUID: f.InstanceUID,
		tag.SOPClassUID: class, tag.SOPInstanceUID: f.InstanceUID, tag.StudyInstanceUID: f.StudyUID, tag.SeriesInstanceUID: f.SeriesUID,
		tag.PatientID: f.PatientID, tag.PatientName: f.PatientName, tag.PatientSex: f.PatientSex, tag.PatientBirthDate: f.PatientBirthDate,
		tag.AccessionNumber: f.AccessionNumber, tag.StudyDate: "20240229", tag.StudyTime: "130509", tag.Modality: f.Modality,
		tag.BodyPartExamined: f.BodyPart, tag.ViewPosition: f.ViewPosition, laterality: f.Laterality, other: nil,
		tag.Rows: f.Rows, tag.Columns: f.Columns, tag.BitsStored: f.BitsStored, tag.BitsAllocated: allocated, tag.HighBit: f.BitsStored - 1,
		tag.SamplesPerPixel: 1, tag.PixelRepresentation: 0, tag.PhotometricInterpretation: f.Photometric,
		tag.WindowCenter: "511.5", tag.WindowWidth: "900", tag.RescaleSlope: "0.5", tag.RescaleIntercept: "-1024", tag.ImagerPixelSpacing: "0.7421",
	}
	if f.WindowWidth == 0 {
		want[tag.WindowCenter], want[tag.WindowWidth] = nil, nil
	}
	if f.RescaleSlope == 0 {
		want[tag.RescaleSlope], want[tag.RescaleIntercept] = nil, nil
	}
	if f.PixelSpacing == 0 {
		want[tag.ImagerPixelSpacing] = nil
	}
	got := map[tag.Tag]any{}
	for tg := range want {
		got[tg] = nil
		el, err := ds.FindElementByTag(tg)
		if err != nil {
			continue
		}
		switch v := el.Value.GetValue().(type) {
		case []string:
			got[tg] = strings.Join(v[:min(len(v), 1)], "")
		case []int:
			got[tg] = v[0]
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("attributes:\n%s", d)
	}
	last := tag.Tag{}
	for _, el := range ds.Elements {
		if el.Tag.Compare(last) <= 0 {
			t.Errorf("%v comes after %v", el.Tag, last)
		}
		last = el.Tag
	}

	el, err := ds.FindElementByTag(tag.PixelData)
	if err != nil {
		t.Fatal(err)
	}
	info := sk.MustGetPixelDataInfo(el.Value)
	if len(info.Frames) != 1 {
		t.Fatalf("%d frames", len(info.Frames))
	}
	pixels := make([]uint16, 0, len(f.Pixels))
	slack := 0
	if f.Syntax == FilmJPEGBaseline {
		slack = 24
		img, err := jpeg.Decode(bytes.NewReader(info.Frames[0].EncapsulatedData.Data))
		if err != nil {
			t.Fatal(err)
		}
		for i := range f.Pixels {
			y, _, _, _ := img.At(i%f.Columns, i/f.Columns).RGBA()
			pixels = append(pixels, uint16(y>>8))
		}
	} else {
		switch raw := info.Frames[0].NativeData.RawDataSlice().(type) {
		case []uint16:
			pixels = raw
		case []uint8:
			for _, p := range raw {
				pixels = append(pixels, uint16(p))
			}
		}
	}
	if len(pixels) != len(f.Pixels) {
		t.Fatalf("%d pixels, want %d", len(pixels), len(f.Pixels))
	}
	for i, p := range pixels {
		if d := int(p) - int(f.Pixels[i]); d > slack || d < -slack {
			t.Fatalf("pixel %d is %d, want %d", i, p, f.Pixels[i])
		}
	}
}

func TestEncodeMetaLength(t *testing.T) {
	data := encodeBytes(t, encodeFilm(FilmExplicitLE, 2, 2, 12))
	// the group length counts from behind itself (preamble 128, DICM 4, element 12) to the
	// first element of another group
	end := 144 + int(data[140]) + int(data[141])<<8
	if got := data[end : end+4]; !bytes.Equal(got, []byte{8, 0, 5, 0}) {
		t.Errorf("after the file meta information comes % x, want (0008,0005)", got)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, change := range map[string]func(*Film){
		"no uid":          func(f *Film) { f.StudyUID = "" },
		"uid letters":     func(f *Film) { f.SeriesUID = "1.2.x" },
		"uid zero":        func(f *Film) { f.InstanceUID = "1.02" },
		"uid long":        func(f *Film) { f.InstanceUID = "1." + strings.Repeat("2", 63) },
		"name backslash":  func(f *Film) { f.PatientName = `a\b` },
		"id control":      func(f *Film) { f.PatientID = "a\nb" },
		"accession long":  func(f *Film) { f.AccessionNumber = "12345678901234567" },
		"birth date":      func(f *Film) { f.PatientBirthDate = "1961-04-02" },
		"sex":             func(f *Film) { f.PatientSex = "X" },
		"modality":        func(f *Film) { f.Modality = "CT" },
		"view":            func(f *Film) { f.ViewPosition = "RL" },
		"laterality":      func(f *Film) { f.Laterality = "N" },
		"photometric":     func(f *Film) { f.Photometric = "RGB" },
		"syntax":          func(f *Film) { f.Syntax = "1.2.840.10008.1.2.2" },
		"bits":            func(f *Film) { f.BitsStored = 17 },
		"jpeg bits":       func(f *Film) { f.Syntax = FilmJPEGBaseline },
		"no rows":         func(f *Film) { f.Rows, f.Pixels = 0, nil },
		"pixels missing":  func(f *Film) { f.Pixels = f.Pixels[1:] },
		"pixel too large": func(f *Film) { f.Pixels[0] = 4096 },
		"negative window": func(f *Film) { f.WindowWidth = -1 },
	} {
		f := encodeFilm(FilmExplicitLE, 4, 4, 12)
		change(&f)
		var buf bytes.Buffer
		err := Encode(&buf, f)
		if fault.KindOf(err) != fault.Invalid || fault.ReasonOf(err) != ReasonFilmInvalid || buf.Len() != 0 {
			t.Errorf("%s: %v (%d bytes written)", name, err, buf.Len())
		}
	}
}

type encodeFullDisk struct{}

var errFull = errors.New("disk full")

func (encodeFullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestEncodeReportsTheWriter(t *testing.T) {
	if err := Encode(encodeFullDisk{}, encodeFilm(FilmExplicitLE, 2, 2, 12)); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}
