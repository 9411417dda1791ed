package ingest

import (
	"slices"

	"github.com/radstream/radstream/ingest/deid"
	"github.com/radstream/radstream/ingest/dicom"
)

// Tags says which attributes of a DICOM file go on into the prepared study, and which do
// not. It holds names, never values. Its JSON field names are a promise.
type Tags struct {
	Used    []UsedTag    `json:"tags_used,omitempty"`
	Removed []RemovedTag `json:"tags_removed,omitempty"`
	// Cut says that the file is damaged, or holds more than is listed.
	Cut bool `json:"tags_cut,omitempty"`
}

// UsedTag is an attribute of the allow-list that the file has.
type UsedTag struct {
	Tag       string         `json:"tag"` // (gggg,eeee), behind that of its sequence and a slash if it stands in one
	Name      string         `json:"name"`
	Treatment deid.Treatment `json:"treatment"` // kept, used, hashed or shifted
	Field     string         `json:"field"`     // of the prepared study that it feeds
}

// RemovedTag is an attribute of which nothing goes on.
type RemovedTag struct {
	Tag  string `json:"tag"`  // as in UsedTag
	Name string `json:"name"` // keyword of PS3.6; PrivateAttributes; or Unknown
	// Action is the Basic Profile's (PS3.15 table E.1-1), e.g. X or Z/D; empty when the
	// profile would leave the attribute where it is.
	Action deid.Action `json:"action,omitempty"`
	Count  int         `json:"count"` // over all items of its sequence
}

// tagsIn sorts the attributes of a file by what becomes of them. A file that is not DICOM
// has none; a film of another kind is decoded to its pixels, and nothing beside them is read.
func tagsIn(data []byte) (out Tags) {
	rules, err := deid.LoadRules()
	if err != nil { // the program is broken, and a test says so
		panic(err)
	}
	found, whole, err := dicom.Attributes(data)
	if err != nil {
		return Tags{}
	}
	out.Cut = !whole
	allowed := rules.Allowed()
	for _, a := range found {
		tag, in := deid.Tag(a.Tag), deid.Tag(a.In)
		written := tag.String()
		if in != 0 {
			written = in.String() + "/" + written
		}
		i := slices.IndexFunc(allowed, func(r deid.Attribute) bool { return r.Tag == tag && r.In == in })
		if i >= 0 && allowed[i].Treatment.GoesOn() {
			out.Used = append(out.Used, UsedTag{written, allowed[i].Keyword, allowed[i].Treatment, allowed[i].Field})
			continue
		}
		name, action, _ := rules.Profile(tag)
		if name == "" {
			name = a.Keyword
		}
		if name == "" {
			name = "Unknown"
		}
		out.Removed = append(out.Removed, RemovedTag{written, name, action, a.Count})
	}
	return out
}
