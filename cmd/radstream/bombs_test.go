package main

import (
	"bytes"
	le "encoding/binary" // the package has a variable of that name
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestBombs: files that are or claim to be huge cost radstream at most 256 MB and end with a
// reason. (TestBombs of ingest/dicom has the small ones that lie about their size.)
func TestBombs(t *testing.T) {
	const rows, columns = 4000, 4500                         // the largest frame that is decoded of JPEG 2000
	blank := bytes.Repeat([]byte{0x81, 0}, rows*columns/128) // a byte plane: runs of 128 zeros
	frame := le.LittleEndian.AppendUint32(nil, 2)
	frame = le.LittleEndian.AppendUint32(frame, 64)
	frame = le.LittleEndian.AppendUint32(frame, uint32(64+len(blank)))
	frame = append(append(append(frame, make([]byte, 64-len(frame))...), blank...), blank...)

	j2k, err := hex.DecodeString(blankJ2K)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		syntax   string
		frames   int
		fragment []byte // of every frame; nil writes 2 GB of native pixels
		reason   string
	}{
		{"2 GB of native frames", "1.2.840.10008.1.2.1", 59, nil, "too_large"},
		{"2 GB of RLE frames", "1.2.840.10008.1.2.5", 59, frame, "multi_frame"},
		{"too many RLE frames", "1.2.840.10008.1.2.5", 60, frame, "declared_size_too_large"},
		{"JPEG 2000", "1.2.840.10008.1.2.4.90", 1, j2k, "blank"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "film.dcm")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			write := func(b []byte) {
				if _, err := f.Write(b); err != nil {
					t.Fatal(err)
				}
			}
			write(film(c.syntax, rows, columns, c.frames))
			if c.fragment == nil {
				size := int64(2*rows*columns) * int64(c.frames)
				write(le.LittleEndian.AppendUint32([]byte{0xE0, 0x7F, 0x10, 0, 'O', 'W', 0, 0}, uint32(size)))
				if err := f.Truncate(int64(len(film(c.syntax, rows, columns, c.frames))) + 12 + size); err != nil {
					t.Fatal(err)
				}
			} else {
				item := []byte{0xFE, 0xFF, 0x00, 0xE0}
				write([]byte{0xE0, 0x7F, 0x10, 0, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF})
				write(append(item, 0, 0, 0, 0))
				for range c.frames {
					write(le.LittleEndian.AppendUint32(item[:4:4], uint32(len(c.fragment))))
					write(c.fragment)
				}
				write([]byte{0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0})
			}
			cmd := exec.CommandContext(t.Context(), binary, "inspect", "--json", "--burned-in-text", "off", path)
			r := runCommand(t, cmd)
			var got struct {
				Quality string
				Error   struct{ Reason string }
			}
			if err := json.NewDecoder(strings.NewReader(r.stdout + r.stderr)).Decode(&got); err != nil {
				t.Fatalf("%v: %s%s", err, r.stdout, r.stderr)
			}
			if reason := got.Quality + got.Error.Reason; reason != c.reason {
				t.Errorf("the reason is %q, want %q: %.300s", reason, c.reason, r.stdout)
			}
			peak := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10 / 1_000_000
			t.Logf("%d MB at most", peak)
			if peak > 256 {
				t.Errorf("it cost %d MB", peak)
			}
		})
	}
}

// blankJ2K is a blank JPEG 2000 frame of 4000 x 4500 samples of 16 bits, by OpenJPEG 2.5.2.
const blankJ2K = "ff4fff51002900000000119400000fa000000000000000000000119400000fa000000000000000000001000101ff5200" +
	"0c00000001000504040001ff5c00134008101018101018101018101018101018ff640025000143726561746564206279" +
	"204f70656e4a5045472076657273696f6e20322e352e32ff90000a00000000003e0001ff93f7366f366cd980115054af" +
	"ff7f115054afff7f115054afff7f115054afff7f115054afff7f115054afff7f8080808080ffd900"

// film returns a DICOM file up to its pixel data.
func film(syntax string, rows, columns, frames int) []byte {
	short := func(group, element uint16, vr, value string) []byte {
		if len(value)%2 == 1 {
			value += "\x00"
		}
		b := le.LittleEndian.AppendUint16(nil, group)
		b = le.LittleEndian.AppendUint16(b, element)
		b = append(b, vr...)
		b = le.LittleEndian.AppendUint16(b, uint16(len(value)))
		return append(b, value...)
	}
	us := func(v int) string { return string(le.LittleEndian.AppendUint16(nil, uint16(v))) }
	meta := short(2, 0x10, "UI", syntax)
	return bytes.Join([][]byte{
		make([]byte, 128), []byte("DICM"),
		short(2, 0, "UL", string(le.LittleEndian.AppendUint32(nil, uint32(len(meta))))), meta,
		short(8, 0x16, "UI", "1.2.840.10008.5.1.4.1.1.1.1"), short(8, 0x18, "UI", "1.2.3.4"), short(8, 0x60, "CS", "DX"),
		short(0x20, 0xD, "UI", "1.2.3"), short(0x20, 0xE, "UI", "1.2.3.1"),
		short(0x28, 2, "US", us(1)), short(0x28, 4, "CS", "MONOCHROME2"), short(0x28, 8, "IS", fmt.Sprint(frames)),
		short(0x28, 0x10, "US", us(rows)), short(0x28, 0x11, "US", us(columns)),
		short(0x28, 0x100, "US", us(16)), short(0x28, 0x101, "US", us(16)), short(0x28, 0x102, "US", us(15)), short(0x28, 0x103, "US", us(0)),
	}, nil)
}
