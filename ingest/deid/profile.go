package deid

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Tag is a DICOM tag, the group in the upper half.
type Tag uint32

// String writes a tag as the standard does: (gggg,eeee).
func (t Tag) String() string { return fmt.Sprintf("(%04X,%04X)", uint32(t)>>16, uint32(t)&0xffff) }

// Private tells whether only the maker of a device knows what the attribute means (PS3.5
// section 7.8).
func (t Tag) Private() bool { return t>>16&1 == 1 }

// Action is what the Basic Profile does to an attribute: a code of PS3.15 table E.1-1a,
// such as X, Z, D, U or X/Z/D. Empty: the profile leaves the attribute alone.
type Action string

// Treatment is what ingest does to an attribute that it reads.
type Treatment string

// The treatments; data/attributes.tsv says what each means. The zero value is that of an
// attribute which is not read.
const (
	Kept    Treatment = "kept"
	Used    Treatment = "used"
	Hashed  Treatment = "hashed"
	Shifted Treatment = "shifted"
	Matched Treatment = "matched"
	Dropped Treatment = "dropped"
)

// GoesOn tells whether anything of the attribute's value reaches a prepared study.
func (t Treatment) GoesOn() bool {
	return t == Kept || t == Used || t == Hashed || t == Shifted
}

// Attribute is one attribute of the allow-list.
type Attribute struct {
	Tag       Tag
	In        Tag // the sequence in whose first item it is read; 0 at the top level
	Keyword   string
	Treatment Treatment
	Field     string // of StudyPrepared, dotted; empty for what is dropped
}

// Rules are the Basic Profile and the allow-list: two data files that travel with the
// program. They are read-only.
type Rules struct {
	profile   map[Tag]profileRow
	repeating []profileRow // of a pattern of tags
	private   profileRow
	allowed   []Attribute
}

type profileRow struct {
	tag, mask Tag
	keyword   string
	action    Action
}

//go:embed data/profile.tsv
var profileFile string

//go:embed data/attributes.tsv
var attributesFile string

// LoadRules reads the embedded files once. It fails only when they are wrong, which a test
// would have found.
var LoadRules = sync.OnceValues(func() (*Rules, error) { return parseRules(profileFile, attributesFile) })

// Profile returns the keyword and action of an attribute in the Basic Profile. ok is false
// when the profile has no row for it.
func (r *Rules) Profile(t Tag) (keyword string, a Action, ok bool) {
	if row, ok := r.profile[t]; ok {
		return row.keyword, row.action, true
	}
	for _, row := range r.repeating {
		if t&row.mask == row.tag && !t.Private() {
			return row.keyword, row.action, true
		}
	}
	if t.Private() {
		return r.private.keyword, r.private.action, true
	}
	return "", "", false
}

// Treatment tells what becomes of attribute t in sequence in, 0 for the top level.
func (r *Rules) Treatment(t, in Tag) Treatment {
	for _, a := range r.allowed {
		if a.Tag == t && a.In == in {
			return a.Treatment
		}
	}
	return ""
}

// Allowed lists every attribute that ingest reads, by tag.
func (r *Rules) Allowed() []Attribute { return slices.Clone(r.allowed) }

func parseRules(profile, attributes string) (*Rules, error) {
	r := &Rules{profile: map[Tag]profileRow{}}
	for n, f := range rows(profile) {
		if len(f) != 3 {
			return nil, fmt.Errorf("deid: row %d of the profile has %d columns, not 3", n, len(f))
		}
		row, err := parseProfileRow(f[0], f[1], f[2])
		_, twice := r.profile[row.tag]
		switch {
		case err != nil:
			return nil, fmt.Errorf("deid: row %d of the profile: %w", n, err)
		case twice:
			return nil, fmt.Errorf("deid: row %d of the profile is there twice", n)
		case f[0] == "private":
			r.private = row
		case row.mask != 0xffffffff:
			r.repeating = append(r.repeating, row)
		default:
			r.profile[row.tag] = row
		}
	}
	for n, f := range rows(attributes) {
		if len(f) != 4 {
			return nil, fmt.Errorf("deid: row %d of the attributes has %d columns, not 4", n, len(f))
		}
		a, err := parseAttribute(f)
		if err != nil {
			return nil, fmt.Errorf("deid: row %d of the attributes: %w", n, err)
		}
		if r.Treatment(a.Tag, a.In) != "" {
			return nil, fmt.Errorf("deid: row %d of the attributes is there twice", n)
		}
		r.allowed = append(r.allowed, a)
	}
	return r, nil
}

func parseProfileRow(tag, keyword, action string) (profileRow, error) {
	row := profileRow{keyword: keyword, action: Action(action), mask: 0xffffffff}
	for code := range strings.SplitSeq(strings.TrimSuffix(action, "*"), "/") {
		if !slices.Contains([]string{"D", "Z", "X", "K", "C", "U"}, code) {
			return row, fmt.Errorf("%q is no action", action)
		}
	}
	if tag == "private" {
		return row, nil
	}
	for i, c := range strings.Replace(tag, ",", "", 1) {
		if c == 'X' {
			row.mask &^= 0xf << (4 * (7 - i))
		}
	}
	var err error
	row.tag, err = parseTag(strings.ReplaceAll(tag, "X", "0"))
	return row, err
}

func parseAttribute(f []string) (a Attribute, err error) {
	in, tag, inside := strings.Cut(f[0], "/")
	if !inside {
		in, tag = "", f[0]
	}
	a = Attribute{Keyword: f[1], Treatment: Treatment(f[2]), Field: strings.TrimPrefix(f[3], "-")}
	if a.Tag, err = parseTag(tag); err == nil && inside {
		a.In, err = parseTag(in)
	}
	if err == nil && !slices.Contains([]Treatment{Kept, Used, Hashed, Shifted, Matched, Dropped}, a.Treatment) {
		err = fmt.Errorf("%q is no treatment", f[2])
	}
	if err == nil && a.Treatment.GoesOn() != (a.Field != "") {
		err = fmt.Errorf("a prepared field belongs to what goes on, and only to that")
	}
	return a, err
}

func parseTag(s string) (Tag, error) {
	group, element, _ := strings.Cut(s, ",")
	if len(group) != 4 || len(element) != 4 {
		return 0, fmt.Errorf("%q is no tag", s)
	}
	n, err := strconv.ParseUint(group+element, 16, 32)
	return Tag(n), err
}

// rows yields the number and the fields of each row; # starts a comment line.
func rows(file string) func(yield func(int, []string) bool) {
	return func(yield func(int, []string) bool) {
		n := 0
		for line := range strings.Lines(file) {
			n++
			line = strings.TrimSuffix(line, "\n")
			if line != "" && line[0] != '#' && !yield(n, strings.Split(line, "\t")) {
				return
			}
		}
	}
}
