package inflate

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
)

// inputs are what compresses in every way.
func inputs() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 1))
	m := map[string][]byte{"empty": nil, "one": {7}, "zeros": make([]byte, 300_000)}
	noise, film, text, steep := make([]byte, 200_000), make([]byte, 400_000), []byte{}, make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	for i := 0; i < len(film); i += 2 {
		v := 2000 + int(40*r.NormFloat64())
		film[i], film[i+1] = byte(v), byte(v>>8)
	}
	for len(text) < 150_000 {
		text = append(text, [...]string{"no ", "pleural ", "effusion ", "or pneumothorax. ", "The lungs are clear. "}[r.IntN(5)]...)
	}
	for i := range steep { // codes of up to 15 bits
		for v := byte(0); r.IntN(2) == 0 && v < 255; v++ {
			steep[i] = v
		}
	}
	m["noise"], m["film"], m["text"], m["steep"] = noise, film, text, steep
	return m
}

// deflated compresses at a level of compress/flate.
func deflated(t testing.TB, data []byte, level int) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestInflate(t *testing.T) {
	for name, want := range inputs() {
		for _, level := range []int{flate.NoCompression, flate.BestSpeed, flate.DefaultCompression, flate.BestCompression, flate.HuffmanOnly} {
			compressed := deflated(t, want, level)
			got, err := io.ReadAll(NewReader(append(compressed, 1, 2, 3)))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s at level %d: %d bytes of %d, %v", name, level, len(got), len(want), err)
			}
			for _, cut := range []int{0, 1, 2, len(compressed) / 2, len(compressed) - 1} {
				part, err := io.ReadAll(NewReader(compressed[:min(cut, len(compressed)-1)]))
				if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.HasPrefix(want, part) {
					t.Errorf("%s at level %d, %d of %d bytes: %v", name, level, cut, len(compressed), err)
				}
			}
		}
	}
}

// FuzzInflate holds the reader against compress/flate: the same bytes, and an error for the same
// data. Data that is cut may be wrong too, and the two do not always see the same first; and
// compress/flate leaves the last symbols before a cut when they are shorter than the end's.
func FuzzInflate(f *testing.F) {
	for _, data := range inputs() {
		for _, level := range []int{flate.NoCompression, flate.BestSpeed, flate.BestCompression} {
			f.Add(deflated(f, data[:min(len(data), 2000)], level))
		}
	}
	f.Add([]byte{0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		const most = 1 << 20
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(data)), most))
		got, err := io.ReadAll(io.LimitReader(NewReader(data), most))
		if (err == nil) != (wantErr == nil) || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrCorrupt) {
			t.Errorf("error %v, of compress/flate %v", err, wantErr)
		}
		n := min(len(got), len(want))
		if err == nil && len(got) != len(want) || !bytes.Equal(got[:n], want[:n]) || len(want)-n > 1 {
			t.Errorf("%d bytes, of compress/flate %d", len(got), len(want))
		}
	})
}

func BenchmarkInflate(b *testing.B) {
	film := inputs()["film"]
	compressed := deflated(b, film, flate.DefaultCompression)
	for name, open := range map[string]func() io.Reader{
		"ours":           func() io.Reader { return NewReader(compressed) },
		"compress/flate": func() io.Reader { return flate.NewReader(bytes.NewReader(compressed)) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(film)))
			for b.Loop() {
				if n, err := io.Copy(io.Discard, open()); err != nil || n != int64(len(film)) {
					b.Fatal(n, err)
				}
			}
		})
	}
}
