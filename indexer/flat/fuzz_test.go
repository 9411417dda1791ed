package flat

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/radstream/radstream/schemas/fault"
)

// FuzzRecord: decoding never panics, and what decodes encodes to something that decodes
// to the same again.
func FuzzRecord(f *testing.F) {
	o := sample(f)
	for _, r := range []record{
		{kind: recCreate, collection: 1, name: "c", config: testConfig()},
		{kind: recDrop, collection: 1},
		{kind: recAliases, aliases: map[string]uint64{"a": 1}},
		{kind: recIndex, collection: 1, name: "n", index: Index{Type: TextIndex, Text: TextParams{MinToken: 2}}},
		{kind: recUnindex, collection: 1, name: "n"},
		{kind: recPoints, collection: 1, changes: []change{{id: UUIDID([16]byte{9}), replace: true, hasPayload: true, payload: o, vectors: []namedVector{{"image", []float32{1, 2}}}, removed: []string{"text"}}}},
		{kind: recDelete, collection: 1, ids: []PointID{NumID(1), UUIDID([16]byte{1})}},
		{kind: recEnd, points: 4, lsn: 5},
	} {
		f.Add(r.encode())
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decodeRecord(body)
		if err != nil {
			return
		}
		again := r.encode()
		r2, err := decodeRecord(again)
		if err != nil {
			t.Fatalf("a record that was decoded does not decode after encoding: %v", err)
		}
		if len(again) != len(r2.encode()) {
			t.Fatal("encoding is not stable")
		}
	})
}

// FuzzLog: any bytes as a log open, are cut, or are refused as Corrupt; never a panic.
func FuzzLog(f *testing.F) {
	dir := f.TempDir()
	seed(f, dir, 2)
	raw, err := os.ReadFile(walPath(dir, 1))
	check(f, err)
	f.Add(raw)
	f.Add(raw[:len(raw)-3])
	f.Add(append(raw[:len(raw):len(raw)], make([]byte, 700)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		dir := t.TempDir()
		check(t, os.WriteFile(filepath.Join(dir, "FORMAT"), []byte("radstream-flat 1\n"), 0o644))
		check(t, os.WriteFile(walPath(dir, 1), raw, 0o644))
		db, err := Open(dir, Options{Sync: SyncNever})
		if err == nil {
			check(t, db.Close())
		} else if fault.KindOf(err) != fault.Corrupt {
			t.Fatalf("error %v, want kind corrupt", err)
		}
	})
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"a", "a.b", "a[].b", "a[3]", `"odd key"."x.y"[]`, "a..b", "a[", "é.ü"} {
		f.Add(s)
	}
	o := sample(f)
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePath(s)
		if err != nil {
			return
		}
		set := p.set(o, Object{members: []Member{{"probe", int64(1)}}})
		removed := p.remove(set)
		removed.Include([]Path{p})
		removed.Exclude([]Path{p})
		if _, err := NewObject(set.members); err != nil && fault.KindOf(err) != fault.Invalid {
			t.Fatal(err)
		}
	})
}

func FuzzDatetime(f *testing.F) {
	for _, s := range []string{"2024-03-05T10:00:00.123456+02:00", "2024-03-05 10:00", "2024-03-05", "2024-03-05T10:00:00-0730", "2024-03-05T10:00:00+09", "2024-03-05 10:00:00 UTC", "24-3-5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := ParseDatetime(s)
		if !ok {
			return
		}
		again, ok := ParseDatetime(d.Format(time.RFC3339Nano))
		if d.Year() >= 0 && d.Year() < 10000 && (!ok || !again.Equal(d)) {
			t.Fatalf("%q does not survive RFC 3339", s)
		}
	})
}

func TestDatetimeForms(t *testing.T) {
	want := time.Date(2024, 3, 5, 8, 0, 0, 0, time.UTC)
	for _, s := range []string{"2024-03-05T08:00:00Z", "2024-03-05T10:00:00+02:00", "2024-03-05T10:00:00+0200", "2024-03-05T10:00:00+02", "2024-03-05 08:00:00", "2024-03-05T08:00:00", "2024-03-05 08:00", "2024-03-05 08:00:00 UTC", "2024-03-05T08:00:00.000Z",
		"2024-3-5 8:0", "2024-03-05t08:00:00z", "2024-03-05T08:00:00 Z", "2024-03-05 10:00:00 +0200", "2024-03-05 10:00:00 +02"} {
		if got, ok := ParseDatetime(s); !ok || !got.Equal(want) {
			t.Errorf("%q: %v, %v", s, got, ok)
		}
	}
	for _, s := range []string{"", "yesterday", "2024-13-01", "2024-03-05T25:00:00Z", "05/03/2024", "2024", "2024-03-05 UTC", "2024-03-05 08:00 UTC", "2024-03-05T08:00:00Z UTC", "2024-03-05T08:00:00,5Z"} {
		if _, ok := ParseDatetime(s); ok {
			t.Errorf("%q was taken for a datetime", s)
		}
	}
}
