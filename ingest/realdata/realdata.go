// Package realdata finds the collected films, DICOM files, reports and messages that tests read
// where they lie: none of them is committed.
package realdata

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"testing"
)

// Dir returns the folder of them all: $RADSTREAM_DATA, else shared/data beside the checkout.
func Dir(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("RADSTREAM_DATA"); dir != "" {
		return dir
	}
	root, err := os.Getwd() // go test runs in the package's folder
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			return filepath.Join(root, "..", "shared", "data")
		}
		if root == filepath.Dir(root) {
			t.Fatal("the test does not run below a go.mod")
		}
		root = filepath.Dir(root)
	}
}

// Path returns where a file or folder lies that is named below [Dir], with slashes. Where there is
// none the test fails if CI=true; else it says that it, or that part of it, did not run, and
// gets "".
func Path(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(Dir(t), filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("real data is needed where CI=true (set RADSTREAM_DATA): %v", err)
		}
		t.Logf("NOT RUN: real data is missing (set RADSTREAM_DATA): %v", err)
		return ""
	}
	return path
}

// Table returns the rows of a CSV file, each by column; none where [Path] has no file.
func Table(t testing.TB, name string) []map[string]string {
	t.Helper()
	path := Path(t, name)
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]string
	for _, r := range all[1:] {
		row := map[string]string{}
		for i, v := range r {
			row[all[0][i]] = v
		}
		rows = append(rows, row)
	}
	return rows
}
