package train

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/radstream/radstream/embedder"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
	"github.com/radstream/radstream/trainer"
	"github.com/radstream/radstream/trainer/onnxexport"
)

// adaptersKey is that of an [AdapterSet] in the metadata of a file of adapters.
const adaptersKey = "radstream.adapters"

// AdapterSet says what a file of adapters holds: a model without its encoders. The same
// encoders with other adapters are another model.
type AdapterSet struct {
	From        model.Ref          `json:"from"` // the model that they were taken from
	Groups      []onnxexport.Group `json:"groups"`
	Encoders    string             `json:"encoders"` // hex SHA-256 of the encoders' weights: they fit no others
	Config      model.Config       `json:"config"`
	Temperature float64            `json:"temperature"`
	Labels      []model.Label      `json:"labels,omitempty"` // with the calibration that belongs to them
	// DataManifests are the ids of the data that they were trained on; an erasure asks for them.
	DataManifests []string `json:"data_manifests,omitempty"`
}

// adapterGroups are what a file of adapters may hold.
var adapterGroups = []onnxexport.Group{onnxexport.Invertible, onnxexport.Language, onnxexport.Task, onnxexport.Head}

// ExtractAdapters writes the named groups of the weights of the model in dir, all but the
// encoders if there are none, to a safetensors file. Errors: Usage for a group that is none.
func ExtractAdapters(dir string, groups []string, path string) (AdapterSet, error) {
	const op = "train.ExtractAdapters"
	m, w, err := onnxexport.ReadModel(dir)
	if err != nil {
		return AdapterSet{}, fault.Wrap(op, err)
	}
	set := AdapterSet{From: m.Ref, Groups: adapterGroups, Encoders: hashEncoders(m.Config, w), Config: m.Config, Temperature: m.Temperature, Labels: m.Labels, DataManifests: m.DataManifests}
	if len(groups) > 0 {
		set.Groups = nil
		for _, g := range groups {
			if !slices.Contains(adapterGroups, onnxexport.Group(g)) {
				return set, fault.Errorf(op, fault.Usage, "%q is no group of adapters: they are %s", g, strings.Trim(fmt.Sprint(adapterGroups), "[]"))
			}
			if !slices.Contains(set.Groups, onnxexport.Group(g)) {
				set.Groups = append(set.Groups, onnxexport.Group(g))
			}
		}
	}
	out := map[string]onnxexport.Tensor{}
	for _, row := range onnxexport.Shapes(m.Config) {
		if slices.Contains(set.Groups, row.Group) {
			out[row.Name] = w[row.Name]
		}
	}
	text, err := json.Marshal(set)
	if err != nil {
		return set, fault.E(op, fault.Internal, err)
	}
	return set, fault.Wrap(op, trainer.WriteTensors(path, out, map[string]string{adaptersKey: string(text)}))
}

// ApplyAdapters makes a model named ref in out of the encoders of the model in dir and the
// adapters in a file. Temperature and labels are those of the adapters.
//
// Errors: Corrupt and NotFound for the file; Invalid with onnxexport.ReasonWeights for adapters of
// other encoders; Usage for a folder that is the model's own, and for its name.
func ApplyAdapters(dir, path string, ref model.Ref, out, version string) (AdapterSet, error) {
	const op = "train.ApplyAdapters"
	var set AdapterSet
	tensors, metadata, err := trainer.ReadTensors(path)
	if err != nil {
		return set, fault.Wrap(op, err)
	}
	if json.Unmarshal([]byte(metadata[adaptersKey]), &set) != nil {
		return set, fault.Reject(op, fault.Invalid, onnxexport.ReasonWeights, "%s was not written by radtrain adapters extract", path)
	}
	m, w, err := onnxexport.ReadModel(dir)
	if err != nil {
		return set, fault.Wrap(op, err)
	}
	switch {
	case ref == m.Ref || ref == set.From:
		return set, fault.Errorf(op, fault.Usage, "the model that is made is named %s like one that it is made of: give it another name or version (--name)", ref)
	case set.Config != m.Config || set.Encoders != hashEncoders(m.Config, w):
		return set, fault.Reject(op, fault.Invalid, onnxexport.ReasonWeights, "the adapters of %s belong to other encoders than those of %s", set.From, m.Ref)
	}
	for name, t := range tensors {
		w[name] = t
	}
	tok, err := embedder.ReadTokenizer(dir, m)
	if err != nil {
		return set, fault.Wrap(op, err)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return set, fault.E(op, fault.Usage, err)
	}
	if err := wantNoModel(out); err != nil {
		return set, err
	}
	saw := slices.Concat(m.DataManifests, set.DataManifests)
	slices.Sort(saw)
	err = onnxexport.WriteModel(out, m.Config, w, onnxexport.Precision(m.Precision), tok, model.Manifest{
		Ref: ref, Preprocessing: m.Preprocessing, Temperature: set.Temperature, Labels: set.Labels, DataManifests: slices.Compact(saw),
		Provenance: model.Provenance{CreatedBy: fmt.Sprintf("radtrain adapters apply: %s of %s on %s", strings.Trim(fmt.Sprint(set.Groups), "[]"), set.From, m.Ref), CodeVersion: version},
	})
	return set, fault.Wrap(op, err)
}

// hashEncoders is the SHA-256 of the weights that adapters are made for, in the order of the table.
// Matrices are rounded as models of precision fp16 store them, so that an encoder is the same
// before and after it was exported.
func hashEncoders(c model.Config, w onnxexport.Weights) string {
	h := sha256.New()
	for _, row := range onnxexport.Shapes(c) {
		if row.Group != onnxexport.Base {
			continue
		}
		var raw []byte
		for _, v := range w[row.Name].Data {
			if len(row.Shape) > 1 {
				raw = binary.LittleEndian.AppendUint16(raw, onnxexport.Float16(v))
			} else {
				raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
			}
		}
		h.Write(raw) // a hash never fails
	}
	return hex.EncodeToString(h.Sum(nil))
}
