package trainer

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/schemas/fault"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// ReasonData is the fault reason of a data manifest, or of the messages it names, that cannot
// be trained on.
const ReasonData fault.Reason = "data_manifest"

const (
	manifestFormat = 1
	maxManifest    = 1 << 30 // bytes; some millions of studies
)

// Split is what a study is used for.
type Split string

// The splits.
const (
	Train      Split = "train"
	Validation Split = "validation" // never trained on; measures a run and calibrates its labels
)

// Manifest is a frozen data set: which messages, by hash. It holds pseudonyms and hashes and
// nothing that was seen of a study.
type Manifest struct {
	Format int `json:"format"`
	// ID identifies the data: the first 32 hex digits of a SHA-256 over every entry but its
	// sequence, so that the same messages in a stream and in a file are the same data.
	ID          string  `json:"id"`
	Source      Origin  `json:"source"`
	Preparation string  `json:"preparation"` // the version that prepared every study
	Tokenizer   string  `json:"tokenizer"`   // its identity, of every study with a report
	LeftOut     LeftOut `json:"left_out"`
	Studies     []Entry `json:"studies"` // by study key, ascending; last, see Write
}

// LeftOut counts the studies of a range that are of no use to train on.
type LeftOut struct {
	Incomplete int `json:"incomplete"` // without a view or without a report
	// Mixed were prepared in part by one version and in part by another.
	Mixed int `json:"mixed"`
}

// Origin says where the messages lie: in a stream or in an archive file.
type Origin struct {
	Stream string `json:"stream,omitempty"`
	First  uint64 `json:"first,omitempty"` // the range of the stream that was frozen
	Last   uint64 `json:"last,omitempty"`
	// Archive is the name of a file in the manifest's folder.
	Archive string `json:"archive,omitempty"`
	// Note says how the data came to be, for people.
	Note string `json:"note,omitempty"`
}

// Entry is one study of a manifest.
type Entry struct {
	StudyKey string `json:"study_key"`
	PrepID   string `json:"prep_id"`
	Rev      uint64 `json:"rev"`
	Sequence uint64 `json:"sequence"`
	SHA256   string `json:"sha256"` // of the message's body, in hex
	Split    Split  `json:"split"`
	// Labelled says that Labels are known to be all findings that are present. They calibrate
	// label scores and measure a run; nothing is trained on them.
	Labelled bool     `json:"labelled,omitempty"`
	Labels   []string `json:"labels,omitempty"` // sorted
}

// Freezer collects the messages of a manifest. Of a study the newest message counts, whatever
// the order of arrivals; those that [LeftOut] counts are left out.
type Freezer struct {
	held     HeldOut
	patients map[string]string // study key -> patient key
	newest   map[string]Entry  // by study key
	usable   map[string]bool
	versions map[string]string // study key -> preparation and tokenizer
}

// HeldOut says which patients are in the validation split: by a hash of the patient's key, so
// that all studies of a patient are on one side and, with a Share, a patient keeps the side in
// every manifest.
type HeldOut struct {
	Share float64 // of patients, 0 to 1
	// Studies, if above 0, takes the place of Share: the patients whose hashes are lowest, until
	// there are as many studies.
	Studies int
	Salt    string // another one gives another split
	// Messages, if not nil, takes the place of all: the sequences of the studies that whoever made
	// the data holds out, as MIMIC-CXR does.
	Messages map[uint64]bool
}

// Has says whether a Share holds a patient out.
func (h HeldOut) Has(patient string) bool { return placeOf(patient, h.Salt) < h.Share }

// NewFreezer returns a Freezer that holds out these patients.
func NewFreezer(held HeldOut) *Freezer {
	return &Freezer{held: held, patients: map[string]string{}, newest: map[string]Entry{}, usable: map[string]bool{}, versions: map[string]string{}}
}

// Add takes one message. Errors: Corrupt for a body that is no StudyPrepared.
func (f *Freezer) Add(r Record, labelled bool, labels []string) error {
	var s radstreamv1.StudyPrepared
	if err := proto.Unmarshal(r.Body, &s); err != nil || s.StudyKey == "" {
		return fault.Reject("trainer.Freezer.Add", fault.Corrupt, ReasonData, "message %d is no StudyPrepared", r.Sequence)
	}
	if old, known := f.newest[s.StudyKey]; known && old.Sequence > r.Sequence {
		return nil
	}
	sum := sha256.Sum256(r.Body)
	labels = slices.Sorted(slices.Values(labels))
	f.newest[s.StudyKey] = Entry{
		StudyKey: s.StudyKey, PrepID: s.PrepId, Rev: s.Rev, Sequence: r.Sequence, SHA256: hex.EncodeToString(sum[:]),
		Labelled: labelled, Labels: labels,
	}
	f.patients[s.StudyKey] = s.PatientKey
	f.usable[s.StudyKey] = len(s.Views) > 0 && len(s.GetReport().GetTokens()) > 2
	f.versions[s.StudyKey] = s.GetProvenance().GetPreparationVersion() + "\x00" + s.GetProvenance().GetTokenizer()
	return nil
}

// Drop leaves a study out: it was erased.
func (f *Freezer) Drop(studyKey string) { delete(f.newest, studyKey) }

// Manifest returns what was collected. Errors: Invalid where there is nothing to train on, or
// where studies were prepared in different ways.
func (f *Freezer) Manifest(from Origin) (*Manifest, error) {
	const op = "trainer.Freezer.Manifest"
	m := &Manifest{Format: manifestFormat, Source: from}
	version := ""
	for key, e := range f.newest {
		if !f.usable[key] {
			m.LeftOut.Incomplete++
			continue
		}
		if preparation, _, _ := strings.Cut(f.versions[key], "\x00"); strings.Contains(preparation, " ") {
			m.LeftOut.Mixed++
			continue
		}
		if version == "" {
			version = f.versions[key]
		}
		if f.versions[key] != version {
			return nil, fault.Reject(op, fault.Invalid, ReasonData, "the studies were prepared by different versions or tokenised with different vocabularies: publish what they came from once more, or freeze a range of one version")
		}
		m.Studies = append(m.Studies, e)
	}
	m.Preparation, m.Tokenizer, _ = strings.Cut(version, "\x00")
	f.split(m.Studies)
	slices.SortFunc(m.Studies, func(a, b Entry) int { return cmp.Compare(a.StudyKey, b.StudyKey) })
	m.ID = m.identity()
	return m, m.Validate()
}

// split places the studies.
func (f *Freezer) split(studies []Entry) {
	place := func(e Entry) float64 { return placeOf(f.patients[e.StudyKey], f.held.Salt) }
	share := f.held.Share
	if f.held.Studies > 0 {
		slices.SortFunc(studies, func(a, b Entry) int { return cmp.Compare(place(a), place(b)) })
		share = 1
		if f.held.Studies < len(studies) {
			share = place(studies[f.held.Studies])
		}
	}
	for i, e := range studies {
		studies[i].Split = Train
		if held := place(e) < share; f.held.Messages == nil && held || f.held.Messages[e.Sequence] {
			studies[i].Split = Validation
		}
	}
}

// placeOf is the hash of a patient's key as a number from 0 to 1.
func placeOf(patientKey, salt string) float64 {
	sum := sha256.Sum256([]byte("split" + salt + "\x00" + patientKey))
	return float64(binary.BigEndian.Uint64(sum[:])>>11) / (1 << 53)
}

func (m *Manifest) identity() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n", m.Preparation, m.Tokenizer)
	for _, e := range m.Studies {
		fmt.Fprintf(h, "%s %s %s %t %q\n", e.StudyKey, e.SHA256, e.Split, e.Labelled, e.Labels)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Validate lists what is wrong with m.
func (m *Manifest) Validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok && len(faults) < 20 {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	check(m.Format == manifestFormat, "format is %d; this version reads %d", m.Format, manifestFormat)
	check((m.Source.Stream == "") != (m.Source.Archive == ""), "source names a stream or an archive, and not both")
	check(m.Source.Archive == "" || filepath.Base(m.Source.Archive) == m.Source.Archive, "source.archive is the name of a file beside the manifest")
	check(len(m.Studies) > 0, "there is no study with a view and a report")
	sequences := map[uint64]bool{}
	for i, e := range m.Studies {
		sum, err := hex.DecodeString(e.SHA256)
		check(err == nil && len(sum) == sha256.Size, "studies[%d].sha256 has not 64 hex digits", i)
		check(e.Split == Train || e.Split == Validation, "studies[%d].split is neither %s nor %s", i, Train, Validation)
		check(e.Sequence > 0 && !sequences[e.Sequence], "studies[%d].sequence is 0 or named twice", i)
		check(i == 0 || m.Studies[i-1].StudyKey < e.StudyKey, "studies[%d] is doubled or out of order", i)
		sequences[e.Sequence] = true
	}
	check(m.ID == m.identity(), "id does not belong to these studies: the manifest was changed")
	if len(faults) == 0 {
		return nil
	}
	return fault.Reject("trainer.Manifest.Validate", fault.Invalid, ReasonData, "%w", errors.Join(faults...))
}

// Count returns how many studies a split has.
func (m *Manifest) Count(s Split) int {
	n := 0
	for _, e := range m.Studies {
		if e.Split == s {
			n++
		}
	}
	return n
}

// Write writes m to a file, whole or not at all, one study a line. Equal manifests give equal
// bytes.
func (m *Manifest) Write(path string) error {
	const op = "trainer.Manifest.Write"
	if err := m.Validate(); err != nil {
		return fault.Wrap(op, err)
	}
	head := *m
	head.Studies = nil
	var out bytes.Buffer
	text, err := json.MarshalIndent(head, "", "  ")
	if err != nil {
		return fault.E(op, fault.Internal, err)
	}
	out.Write(bytes.TrimSuffix(text, []byte("null\n}")))
	out.WriteString("[\n")
	for i, e := range m.Studies {
		line, err := json.Marshal(e)
		if err != nil {
			return fault.E(op, fault.Internal, err)
		}
		out.WriteString("    ")
		out.Write(line)
		if i < len(m.Studies)-1 {
			out.WriteByte(',')
		}
		out.WriteByte('\n')
	}
	out.WriteString("  ]\n}\n")
	if at, err := os.Stat(path); err == nil && !at.Mode().IsRegular() { // whose place a file would take
		return fault.Errorf(op, fault.Usage, "%s is there and is not a file", path)
	}
	return fault.E(op, fault.Usage, renameio.WriteFile(path, out.Bytes(), 0o644))
}

// ReadManifest reads and checks a manifest. Errors: NotFound, Invalid.
func ReadManifest(path string) (*Manifest, error) {
	const op = "trainer.ReadManifest"
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fault.Errorf(op, fault.NotFound, "there is no data manifest %s", path)
	}
	if err != nil {
		return nil, fault.E(op, fault.Internal, err)
	}
	defer f.Close()
	m := new(Manifest)
	if err := json.NewDecoder(io.LimitReader(f, maxManifest)).Decode(m); err != nil {
		return nil, fault.Reject(op, fault.Invalid, ReasonData, "%s is not the JSON of a data manifest: %w", path, err)
	}
	return m, fault.Wrap(op, m.Validate())
}
