package app

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"image"
	"image/png"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// form is one way in which a canary may be written.
type form struct {
	canary, name string
	bytes        []byte
}

// forms lists every canary as it is and in the encodings that something on the way may use.
// Searches are in lower case.
func forms(t *testing.T) []form {
	t.Helper()
	var all []form
	add := func(canary, name string, b []byte) { all = append(all, form{canary, name, lower(b)}) }
	for _, c := range canaries() {
		add(c, "as it is", []byte(c))
		add(c, "hex", []byte(hex.EncodeToString([]byte(c))))
		var wide []byte
		for _, u := range utf16.Encode([]rune(c)) {
			wide = binary.LittleEndian.AppendUint16(wide, u)
		}
		add(c, "UTF-16", wide)
	}
	at, err := proto.Marshal(timestamppb.New(studyTime.Truncate(time.Second)))
	if err != nil {
		t.Fatal(err)
	}
	return append(all, form{"the study's time", "protobuf", lower(at)})
}

// lower makes ASCII letters small and leaves all other bytes as they are, text or not.
func lower(data []byte) []byte {
	out := bytes.Clone(data)
	for i, c := range out {
		if c >= 'A' && c <= 'Z' {
			out[i] = c + 'a' - 'A'
		}
	}
	return out
}

// base64Forms lists the canaries in base64, at each of the three places in a group of
// bytes. In base64 case counts.
func base64Forms() []form {
	var all []form
	for _, c := range canaries() {
		for shift := range 3 {
			text := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), c...))
			// Leave out the letters that depend on the neighbours.
			text = text[(shift*8+5)/6:]
			if rest := (shift + len(c)) % 3; rest != 0 {
				text = text[:len(text)-1]
			}
			all = append(all, form{c, "base64", []byte(text)})
		}
	}
	return all
}

// look fails the test if data holds a canary in any form.
func look(t *testing.T, where string, data []byte) {
	t.Helper()
	small := lower(data)
	report := func(f form, in []byte) {
		if i := bytes.Index(in, f.bytes); i >= 0 {
			t.Errorf("%s holds the canary %s (%s): ...%q...", where, f.canary, f.name, in[max(0, i-80):min(len(in), i+80)])
		}
	}
	for _, f := range forms(t) {
		report(f, small)
	}
	for _, f := range base64Forms() {
		report(f, data)
	}
	for rest := data; ; {
		_, after, found := bytes.Cut(rest, []byte("\x89PNG\r\n\x1a\n"))
		if !found {
			return
		}
		rest = after
		lookInPNG(t, where, append([]byte("\x89PNG\r\n\x1a\n"), after...))
	}
}

// lookInPNG looks through a picture's pixels, and holds it to the chunks that have nothing
// but pixels: any other may hold compressed text.
func lookInPNG(t *testing.T, where string, data []byte) {
	t.Helper()
	for at := 8; at+8 <= len(data); {
		name := string(data[at+4 : at+8])
		if !strings.Contains(" IHDR IDAT IEND ", " "+name+" ") {
			t.Errorf("%s holds a PNG with a chunk %q", where, name)
			return
		}
		at += 12 + int(binary.BigEndian.Uint32(data[at:]))
		if name == "IEND" {
			break
		}
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Errorf("%s holds a damaged PNG: %v", where, err)
		return
	}
	gray, ok := img.(*image.Gray)
	if !ok {
		t.Errorf("%s holds a PNG of kind %T", where, img)
		return
	}
	for _, c := range canaries() {
		if bytes.Contains(lower(gray.Pix), lower([]byte(c))) {
			t.Errorf("%s: the pixels of a PNG spell the canary %s", where, c)
		}
	}
}

// TestSearchFindsCanaries: what the search is for, it finds.
func TestSearchFindsCanaries(t *testing.T) {
	found := func(data []byte) bool {
		small := lower(data)
		for _, f := range forms(t) {
			if bytes.Contains(small, f.bytes) {
				return true
			}
		}
		for _, f := range base64Forms() {
			if bytes.Contains(data, f.bytes) {
				return true
			}
		}
		return false
	}
	at, err := proto.Marshal(timestamppb.New(studyTime.Truncate(time.Second)))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"text": []byte("x" + canary + "y"), "small letters": []byte(strings.ToLower(canary)),
		"hex": []byte(strings.ToUpper(hex.EncodeToString([]byte("x" + canary)))), "time": append([]byte{0x2a, byte(len(at))}, at...),
		"base64 0": []byte(base64.StdEncoding.EncodeToString([]byte(canary + "..."))),
		"base64 1": []byte(base64.StdEncoding.EncodeToString([]byte("x" + canary + ".."))),
		"base64 2": []byte(base64.URLEncoding.EncodeToString([]byte("xy" + canary + "."))),
		"UTF-16":   []byte("x\x00" + strings.Join(strings.Split(canary, ""), "\x00") + "\x00"),
	} {
		if !found(data) {
			t.Errorf("%s is not found", name)
		}
	}
	if found([]byte("a canar y of CANAR")) {
		t.Error("what is no canary is found")
	}
}
