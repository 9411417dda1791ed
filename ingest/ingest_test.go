package ingest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/ingest/pixel"
	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// wordLengths stands in for a tokenizer: a word is its length.
type wordLengths struct{}

func (wordLengths) Encode(text string) []int32 {
	ids := []int32{101}
	for _, w := range strings.Fields(text) {
		ids = append(ids, int32(len(w)))
	}
	return append(ids, 102)
}

func (wordLengths) ID() string { return "word lengths" }

// preparer takes films that show nothing.
func preparer(t testing.TB) *ingest.Preparer {
	t.Helper()
	c := ingest.Default()
	c.Limits = pixel.Limits{}
	p, err := ingest.New(c, wordLengths{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func key(t testing.TB) deid.Key {
	t.Helper()
	k, err := deid.NewKey(bytes.Repeat([]byte{7}, deid.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// object is a small chest film with identifiers in it; change edits it before it is written.
func object(t testing.TB, change func(*dicom.Film)) ingest.Object {
	t.Helper()
	f := dicom.Film{
		StudyUID: "1.2.840.99", SeriesUID: "1.2.840.99.1", InstanceUID: "1.2.840.99.1.1", PatientID: "MRN-4711", PatientName: "Doe^Jane",
		StudyTime: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC), Modality: "CR", BodyPart: "CHEST", ViewPosition: "PA", InstanceNumber: 1,
		Rows: 90, Columns: 80, BitsStored: 12, Photometric: "MONOCHROME2", Syntax: dicom.FilmExplicitLE,
	}
	for i := range f.Rows * f.Columns {
		f.Pixels = append(f.Pixels, uint16(i*37%4000))
	}
	if change != nil {
		change(&f)
	}
	var b bytes.Buffer
	if err := dicom.Encode(&b, f); err != nil {
		t.Fatal(err)
	}
	return ingest.Object{Ref: &radstreamv1.ObjectRef{Uri: "objects:" + f.InstanceUID}, Data: b.Bytes()}
}

// plain is a PNG film.
func plain(t testing.TB, side int, grey func(x, y int) uint8) ingest.Object {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			img.SetGray(x, y, color.Gray{grey(x, y)})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return ingest.Object{Ref: &radstreamv1.ObjectRef{Uri: "objects:png"}, Data: b.Bytes()}
}

// TestKnownNames holds that what a header says of the people of a study leaves its report.
func TestKnownNames(t *testing.T) {
	arrival := ingest.Arrival{
		ID: "a1", Objects: []ingest.Object{object(t, func(f *dicom.Film) { f.PatientName, f.AccessionNumber = "Zyxwell^Quorra", "AB12" })},
		Report: "FINDINGS: zyxwell was turned. MRN-4711, film ab12. No effusion; quorra's pneumothorax may persist.", HasReport: true,
	}
	f, refusals, err := preparer(t).Prepare(context.Background(), key(t), arrival)
	if err != nil || len(refusals) > 0 {
		t.Fatal(err, refusals)
	}
	const want = "[name] was turned. [id], film [id]. No effusion; [name]'s pneumothorax may persist."
	if got := f.Report.GetSections()[0].GetText(); got != want {
		t.Errorf("the section is %q, not %q", got, want)
	}
	composed, err := f.Compose(f.Report.GetSections())
	if err != nil {
		t.Fatal(err)
	}
	if got := composed.GetText(); got != want {
		t.Errorf("the text is %q, not %q", got, want)
	}
	labels := map[string]string{}
	for _, l := range composed.GetLabels() {
		labels[l.GetLabel()] = l.GetMention()
	}
	if d := cmp.Diff(map[string]string{"Pleural Effusion": "negative", "Pneumothorax": "positive"}, labels); d != "" {
		t.Error(d)
	}
}

func TestPrepareStudy(t *testing.T) {
	lateral := object(t, func(f *dicom.Film) {
		f.ViewPosition, f.Photometric, f.InstanceUID = "LL", "MONOCHROME1", "1.2.840.99.1.2"
	})
	film := plain(t, 100, func(x, y int) uint8 { return uint8(x + y) })
	film.Projection = radstreamv1.Projection_PROJECTION_LATERAL
	arrival := ingest.Arrival{
		ID: "a1", Objects: []ingest.Object{object(t, nil), lateral, film},
		Report: "FINDINGS: The lungs are clear.\nIMPRESSION: No acute disease.", HasReport: true,
	}
	f, refusals, err := preparer(t).Prepare(context.Background(), key(t), arrival)
	if err != nil || len(refusals) > 0 {
		t.Fatal(err, refusals)
	}
	k := key(t)
	if f.StudyUID != "1.2.840.99" || f.StudyKey != k.Study("1.2.840.99") || f.PatientKey != k.Patient("MRN-4711", "1.2.840.99") || !f.PatientKnown {
		t.Errorf("keys: %s %s %s %t", f.StudyUID, f.StudyKey, f.PatientKey, f.PatientKnown)
	}
	if want := k.Shift(f.PatientKey, time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)); !f.ShiftedTime.Equal(want) {
		t.Errorf("shifted time %v, want %v", f.ShiftedTime, want)
	}
	if f.Report == nil || len(f.Report.Sections) != 2 || f.Tokenizer != "word lengths" || f.ArrivalID != "a1" {
		t.Errorf("report %v, tokenizer %q, arrival %q", f.Report, f.Tokenizer, f.ArrivalID)
	}
	var got []string
	for i, v := range f.Views {
		pixels, err := pixel.DecodePNG(v.Png)
		if err != nil {
			t.Fatal(err)
		}
		pixelSum, objectSum := sha256.Sum256(pixels), sha256.Sum256(arrival.Objects[i].Data)
		if !bytes.Equal(v.PixelsSha256, pixelSum[:]) || !bytes.Equal(v.ObjectSha256, objectSum[:]) {
			t.Errorf("view %d: hashes do not match", i)
		}
		got = append(got, fmt.Sprintf("%v %s %s %dx%d in %d,%d-%d,%d", v.Projection, v.ProjectionSource, v.WindowPolicy,
			v.SourceColumns, v.SourceRows, v.Exposed.X0, v.Exposed.Y0, v.Exposed.X1, v.Exposed.Y1))
		for _, identifier := range []string{"MRN-4711", "Doe", "1.2.840.99", "20240506"} {
			if strings.Contains(v.String(), identifier) {
				t.Errorf("view %d holds %q", i, identifier)
			}
		}
	}
	want := []string{
		"PROJECTION_FRONTAL tag percentile 80x90 in 12,0-211,224",
		"PROJECTION_LATERAL tag percentile 80x90 in 12,0-211,224",
		"PROJECTION_LATERAL hint none 100x100 in 0,0-224,224",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("views (-want +got):\n%s", d)
	}
}

// TestSameBytes: the number of workers does not show.
func TestSameBytes(t *testing.T) {
	var arrival ingest.Arrival
	for i := range 8 {
		arrival.Objects = append(arrival.Objects, object(t, func(f *dicom.Film) { f.Pixels[0] = uint16(i) }))
	}
	var first ingest.Facts
	for _, workers := range []int{1, 4} {
		before := runtime.GOMAXPROCS(workers)
		f, _, err := preparer(t).Prepare(context.Background(), key(t), arrival)
		runtime.GOMAXPROCS(before)
		if err != nil {
			t.Fatal(err)
		}
		if workers == 1 {
			first = f
		} else if d := cmp.Diff(first.Views, f.Views, protocmp.Transform()); d != "" {
			t.Errorf("%d workers give other views:\n%s", workers, d)
		}
	}
}

// TestRefusals: what is wrong with one object, and that a good one beside it goes on.
func TestRefusals(t *testing.T) {
	good := object(t, nil)
	checksum := fault.Reject("test", fault.Corrupt, "checksum", "wrong checksum")
	for _, tc := range []struct {
		name   string
		object ingest.Object
		kind   fault.Kind
		reason fault.Reason
	}{
		{"unread", ingest.Object{Err: checksum}, fault.Corrupt, "checksum"},
		{"empty", ingest.Object{}, fault.Invalid, dicom.ReasonNotDICOM},
		{"cut", ingest.Object{Data: good.Data[:len(good.Data)-9]}, fault.Invalid, dicom.ReasonTruncated},
		{"knee", object(t, func(f *dicom.Film) { f.BodyPart = "KNEE" }), fault.Unsupported, ingest.ReasonNotChest},
		{"CT", replace(t, good, "CS\x02\x00CR", "CS\x02\x00CT"), fault.Unsupported, ingest.ReasonNotChest},
		{"palette", replace(t, good, "MONOCHROME2 ", "PALETTE COLO"), fault.Unsupported, dicom.ReasonColor},
		{"modality LUT without entries", insert(t, good, "\x28\x00\x00\x30SQ\x00\x00\x16\x00\x00\x00\xfe\xff\x00\xe0\x0e\x00\x00\x00\x28\x00\x02\x30US\x06\x00\x02\x00\x00\x00\x10\x00"), fault.Invalid, ingest.ReasonModalityLUT},
		{"two frames", insert(t, good, "\x28\x00\x08\x00IS\x02\x002 "), fault.Unsupported, dicom.ReasonMultiFrame},
		{"blank", object(t, func(f *dicom.Film) { clear(f.Pixels) }), fault.Invalid, pixel.ReasonBlank},
		{"icon", object(t, func(f *dicom.Film) { f.Rows, f.Columns = 30, 240 }), fault.Unsupported, pixel.ReasonTooSmall},
		{"other study", object(t, func(f *dicom.Film) { f.StudyUID = "1.2.3" }), fault.Invalid, ingest.ReasonStudy},
		{"other patient", object(t, func(f *dicom.Film) { f.PatientID = "X" }), fault.Invalid, ingest.ReasonPatient},
		{"blank film", plain(t, 80, func(x, y int) uint8 { return 3 }), fault.Invalid, pixel.ReasonBlank},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.object.Ref = &radstreamv1.ObjectRef{Uri: "objects:bad"}
			f, refusals, err := preparer(t).Prepare(context.Background(), key(t), ingest.Arrival{Objects: []ingest.Object{good, tc.object}})
			if err != nil || len(f.Views) != 1 || len(refusals) != 1 {
				t.Fatalf("%d views, refusals %v, %v", len(f.Views), refusals, err)
			}
			r := refusals[0]
			if r.Ref != tc.object.Ref || fault.KindOf(r.Err) != tc.kind || fault.ReasonOf(r.Err) != tc.reason {
				t.Errorf("got %v (%s %s)", r, fault.KindOf(r.Err), fault.ReasonOf(r.Err))
			}
			if strings.Contains(r.Err.Error(), "MRN-4711") || strings.Contains(r.Err.Error(), "1.2.840.99") {
				t.Errorf("the error names a patient or study: %v", r.Err)
			}
		})
	}
}

func replace(t testing.TB, o ingest.Object, old, by string) ingest.Object {
	t.Helper()
	data := bytes.Replace(o.Data, []byte(old), []byte(by), 1)
	if bytes.Equal(data, o.Data) || len(old) != len(by) {
		t.Fatalf("%q is not in the file", old)
	}
	return ingest.Object{Ref: o.Ref, Data: data}
}

// insert puts an element before Rows (0028,0010).
func insert(t testing.TB, o ingest.Object, element string) ingest.Object {
	t.Helper()
	const rows = "\x28\x00\x10\x00US"
	if !bytes.Contains(o.Data, []byte(rows)) {
		t.Fatal("the file has no Rows")
	}
	return ingest.Object{Ref: o.Ref, Data: bytes.Replace(o.Data, []byte(rows), []byte(element+rows), 1)}
}

// TestColour: an object in colour gives the view of its luma, not windowed.
func TestColour(t *testing.T) {
	const side = 80
	grey := plain(t, side, func(x, y int) uint8 { return uint8(x + y) })
	colour := object(t, func(f *dicom.Film) {
		f.Rows, f.Columns, f.BitsStored, f.Syntax, f.Pixels = side, 3*side, 8, dicom.FilmExplicitLE, nil
		for y := range side {
			for x := range side {
				v := uint16(x + y)
				f.Pixels = append(f.Pixels, v, v, v)
			}
		}
	})
	colour = replace(t, colour, "\x28\x00\x02\x00US\x02\x00\x01", "\x28\x00\x02\x00US\x02\x00\x03")
	colour = replace(t, colour, "\x28\x00\x11\x00US\x02\x00\xf0", "\x28\x00\x11\x00US\x02\x00\x50")
	colour = replace(t, colour, "MONOCHROME2 ", "RGB         ")
	want, err := preparer(t).View(t.Context(), grey)
	if err != nil {
		t.Fatal(err)
	}
	got, err := preparer(t).View(t.Context(), colour)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.PixelsSha256, want.PixelsSha256) || got.WindowPolicy != string(pixel.None) {
		t.Errorf("the views differ: policy %s", got.WindowPolicy)
	}
}

// TestStudyTime: the arrival's time counts, else the earliest of the objects.
func TestStudyTime(t *testing.T) {
	day := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	later := object(t, func(f *dicom.Film) { f.StudyTime = day.Add(time.Hour) })
	for said, want := range map[time.Time]time.Time{{}: day, day.Add(48 * time.Hour): day.Add(48 * time.Hour)} {
		f, _, err := preparer(t).Prepare(context.Background(), key(t), ingest.Arrival{StudyTime: said, Objects: []ingest.Object{later, object(t, nil)}})
		if err != nil || !f.ShiftedTime.Equal(key(t).Shift(f.PatientKey, want)) {
			t.Errorf("said %v: got %v, %v", said, f.ShiftedTime, err)
		}
	}
}

func TestPrepareEdges(t *testing.T) {
	film := plain(t, 80, func(x, y int) uint8 { return uint8(x) })
	_, _, err := preparer(t).Prepare(context.Background(), key(t), ingest.Arrival{Objects: []ingest.Object{film}})
	if fault.KindOf(err) != fault.Invalid || fault.ReasonOf(err) != ingest.ReasonNoStudy {
		t.Errorf("a film of no study: %v", err)
	}
	f, refusals, err := preparer(t).Prepare(context.Background(), key(t), ingest.Arrival{StudyUID: "x", Objects: []ingest.Object{film}, HasReport: true})
	if err != nil || len(f.Views) != 1 || len(refusals) != 1 || refusals[0].Ref != nil || f.Report != nil {
		t.Errorf("an empty report: %v %v", refusals, err)
	}
	if f.PatientKnown || f.PatientKey != f.Stranger || !f.ShiftedTime.IsZero() {
		t.Errorf("a stranger: %+v", f)
	}
	if v := f.Views[0]; v.Projection == radstreamv1.Projection_PROJECTION_UNSPECIFIED || v.ProjectionSource != pixel.FromPixels || v.ProjectionConfidence < 0.5 {
		t.Errorf("view %v from %s", v.Projection, v.ProjectionSource)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := preparer(t).Prepare(ctx, key(t), ingest.Arrival{Objects: []ingest.Object{film}}); fault.KindOf(err) != fault.Canceled {
		t.Errorf("canceled: %v", err)
	}
	if _, err := ingest.New(ingest.Config{Policy: "best"}, wordLengths{}); fault.KindOf(err) != fault.Usage {
		t.Errorf("a bad configuration: %v", err)
	}
}

// TestGate walks the table in the documentation of gate.
func TestGate(t *testing.T) {
	for _, tc := range []struct {
		modality, part string
		taken          bool
	}{
		{"CR", "", true}, {"DX", "CHEST", true}, {"RG", "THORAX AP", true}, {"DX", "RIBS", true}, {"DX", "HAND", false}, {"DX", "THORACIC SPINE", false}, {"DX", "THORACOLUMBAR", false},
		{"OT", "", false}, {"OT", "CHEST", true}, {"SC", "LUNG", true}, {"", "CHEST", true}, {"", "", false}, {"OT", "SKULL", false},
		{"CT", "CHEST", false}, {"MR", "", false}, {"SR", "CHEST", false}, {"MG", "CHEST", false},
	} {
		o := object(t, func(f *dicom.Film) { f.BodyPart = tc.part })
		if tc.modality != "CR" {
			o = replace(t, o, "CS\x02\x00CR", fmt.Sprintf("CS\x02\x00%-2s", tc.modality))
		}
		_, refusals, err := preparer(t).Prepare(context.Background(), key(t), ingest.Arrival{Objects: []ingest.Object{o}})
		if err != nil {
			t.Fatal(err)
		}
		if taken := len(refusals) == 0; taken != tc.taken || !taken && fault.ReasonOf(refusals[0].Err) != ingest.ReasonNotChest {
			t.Errorf("modality %q, body part %q: taken %t, %v", tc.modality, tc.part, taken, refusals)
		}
	}
}

func FuzzInspect(f *testing.F) {
	f.Add(object(f, nil).Data)
	f.Add(object(f, func(f *dicom.Film) { f.Photometric, f.WindowCenter, f.WindowWidth = "MONOCHROME1", 100, 50 }).Data)
	f.Add(insert(f, object(f, nil), "\x28\x00\x00\x30SQ\x00\x00\x20\x00\x00\x00\xfe\xff\x00\xe0\x18\x00\x00\x00"+
		"\x28\x00\x02\x30US\x06\x00\x02\x00\x00\x00\x10\x00\x28\x00\x06\x30US\x02\x00\x01\x00").Data)
	f.Add(plain(f, 70, func(x, y int) uint8 { return uint8(x * y) }).Data)
	f.Fuzz(func(t *testing.T, data []byte) {
		i := ingest.Inspect(data, "f")
		if i.Error != nil && (i.Error.Reason == "" || i.Error.Kind == "internal") {
			t.Errorf("%+v", i.Error)
		}
		if _, err := json.Marshal(i); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkPrepare5MP(b *testing.B) {
	o := object(b, func(f *dicom.Film) {
		f.Rows, f.Columns = 2500, 2048
		f.Pixels = make([]uint16, f.Rows*f.Columns)
		for i := range f.Pixels {
			f.Pixels[i] = uint16(i * 37 % 4000)
		}
	})
	p, k := preparer(b), key(b)
	b.SetBytes(int64(len(o.Data)))
	for b.Loop() {
		if _, _, err := p.Prepare(context.Background(), k, ingest.Arrival{Objects: []ingest.Object{o}}); err != nil {
			b.Fatal(err)
		}
	}
}
