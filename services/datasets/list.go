package datasets

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/radstream/radstream/schemas/fault"
)

// maxList bounds what a list unpacks to, in bytes: a quote that is never closed, or a .gz made
// to grow, would fill the memory. MIMIC-CXR's longest has 60 MB.
const maxList = 1 << 30

// row is one record of a list. It is overwritten by the next.
type row struct {
	list    string
	line    int
	columns map[string]int // shared by all rows of a list
	values  []string
}

// get returns a copy, which does not keep the whole record in memory; empty where the list has
// no such column.
func (r row) get(column string) string {
	i, ok := r.columns[column]
	if !ok {
		return ""
	}
	return strings.Clone(strings.TrimSpace(r.values[i]))
}

// must is get of values that may not be empty.
func (r row) must(columns ...string) ([]string, error) {
	values := make([]string, len(columns))
	for i, c := range columns {
		if values[i] = r.get(c); values[i] == "" {
			return nil, r.reject("%s is empty", c)
		}
	}
	return values, nil
}

func (r row) reject(format string, args ...any) error {
	return fault.Reject(op, fault.Invalid, ReasonSet, "%s line %d: %w", r.list, r.line, fmt.Errorf(format, args...))
}

// labels returns what the row knows of CheXpert's labels.
func (r row) labels() (map[string]bool, error) {
	known := map[string]bool{}
	for column, name := range labelNames {
		text := r.get(column)
		if text == "" {
			continue
		}
		switch v, err := strconv.ParseFloat(text, 64); {
		case err == nil && (v == 0 || v == 1):
			known[name] = v == 1
		case err != nil || v != -1:
			return nil, r.reject("%s must be 1.0, 0.0, -1.0 or empty", column)
		}
	}
	return known, nil
}

// each calls f for the rows of a list, which must have the columns needs, until f fails.
func (r *reader) each(list string, needs []string, f func(row) error) error {
	file, zipped, err := open(filepath.Join(r.root, filepath.FromSlash(list)))
	if err != nil {
		return err
	}
	defer file.Close()
	var in io.Reader = file
	if zipped {
		if in, err = gzip.NewReader(file); err != nil {
			return fault.Reject(op, fault.Invalid, ReasonSet, "%s.gz cannot be unpacked: %w", list, err)
		}
	}
	limited := &io.LimitedReader{R: in, N: maxList}
	text := bufio.NewReader(limited)
	if mark, err := text.Peek(3); err == nil && string(mark) == "\ufeff" {
		text.Discard(3)
	}
	records := csv.NewReader(text)
	records.ReuseRecord = true
	header, err := records.Read()
	if err != nil {
		return fault.Reject(op, fault.Invalid, ReasonSet, "the first line of %s must name its columns", list)
	}
	at := row{list: list, line: 1, columns: map[string]int{}}
	for i, name := range header {
		at.columns[strings.Clone(strings.TrimSpace(name))] = i
	}
	for _, n := range needs {
		if _, ok := at.columns[n]; !ok {
			return fault.Reject(op, fault.Invalid, ReasonSet, "%s has no column %q; needed are: %s", list, n, strings.Join(needs, ", "))
		}
	}
	for {
		at.values, err = records.Read()
		var broken *csv.ParseError
		switch {
		case limited.N == 0:
			return fault.Reject(op, fault.Invalid, ReasonSet, "%s is longer than %d bytes", list, maxList)
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &broken):
			at.line = broken.StartLine
			return at.reject("%w", broken.Err)
		case err != nil:
			return fault.Reject(op, fault.Invalid, ReasonSet, "%s cannot be read after line %d: %w", list, at.line, fault.WithoutPath(err))
		}
		at.line, _ = records.FieldPos(0)
		if err := f(at); err != nil {
			return err
		}
	}
}

// open opens a list as it is named or with .gz after it.
func open(path string) (file *os.File, zipped bool, err error) {
	for _, ending := range []string{"", ".gz"} {
		file, err = os.Open(path + ending)
		if err == nil {
			return file, ending != "", nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, false, fault.Reject(op, fault.NotFound, ReasonSet, "%s cannot be opened: %w", path+ending, fault.WithoutPath(err))
		}
	}
	return nil, false, fault.Reject(op, fault.NotFound, ReasonSet, "there is no list %s, nor %s.gz", path, filepath.Base(path))
}
