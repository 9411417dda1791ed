package zeroshot

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/schemas/model"
)

// ReasonLabels is the fault reason of a label set that cannot be used.
const ReasonLabels fault.Reason = "label_set"

// Bounds of a label set: it goes into one value of the registry.
const (
	maxLabels  = 64
	maxPrompts = 32   // of a label, either way
	maxPrompt  = 1024 // bytes
)

// sets are the label sets that ship, by name, as labels of [DefaultLabels].
var sets = map[string][]string{
	// The 14 of CheXpert (Irvin et al., 2019), by the names that Radstream's labeller has for them.
	"chexpert-14": {"atelectasis", "cardiomegaly", "consolidation", "edema", "effusion", "enlarged_cardiomediastinum", "fracture",
		"lung_lesion", "lung_opacity", "no_finding", "pleural_other", "pneumonia", "pneumothorax", "support_devices"},
	// What ingest/phantom draws.
	"phantom": {"atelectasis", "cardiomegaly", "consolidation", "edema", "effusion", "fracture", "hiatal_hernia", "no_finding", "nodule", "pneumothorax"},
}

// Sets lists the names of the label sets that ship.
func Sets() []string { return slices.Sorted(maps.Keys(sets)) }

// Set returns a label set that ships, uncalibrated. NotFound: none has the name.
func Set(name string) ([]model.Label, error) {
	const op = "zeroshot.Set"
	names, ok := sets[name]
	if !ok {
		return nil, fault.Errorf(op, fault.NotFound, "no label set %s ships: there are %s", name, strings.Join(Sets(), " and "))
	}
	all, err := DefaultLabels()
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	labels := slices.DeleteFunc(all, func(l model.Label) bool { return !slices.Contains(names, l.Name) })
	for i := range labels {
		labels[i].Calibration = model.Calibration{} // that of the model, if it has one
	}
	return labels, nil
}

// labelName is what a label may be called: it is part of a payload key, too.
var labelName = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// ParseLabels reads a label set: a JSON array of labels with name, positive and negative, and
// calibration if the file has one of its own. It comes back by name. Errors: Invalid, with what is wrong.
func ParseLabels(data []byte) ([]model.Label, error) {
	const op = "zeroshot.ParseLabels"
	bad := func(format string, args ...any) error {
		return fault.Reject(op, fault.Invalid, ReasonLabels, format, args...)
	}
	var labels []model.Label
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&labels); err != nil {
		return nil, bad("a label set is a JSON array of labels, each with name, positive and negative: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, bad("something follows the JSON array of labels")
	}
	if len(labels) < 1 || len(labels) > maxLabels {
		return nil, bad("a label set has 1 to %d labels, not %d", maxLabels, len(labels))
	}
	slices.SortFunc(labels, func(a, b model.Label) int { return strings.Compare(a.Name, b.Name) })
	for i, l := range labels {
		if !labelName.MatchString(l.Name) {
			return nil, bad("the name of a label has 1 to 64 of a-z, 0-9, _ and -; one of the set has not")
		}
		if i > 0 && labels[i-1].Name == l.Name {
			return nil, bad("%s is there twice", l.Name)
		}
		for side, prompts := range map[string][]string{"positive": l.Positive, "negative": l.Negative} {
			if len(prompts) < 1 || len(prompts) > maxPrompts {
				return nil, bad("%s has %d %s prompts, not 1 to %d", l.Name, len(prompts), side, maxPrompts)
			}
			for _, p := range prompts {
				if strings.TrimSpace(p) == "" || len(p) > maxPrompt {
					return nil, bad("a %s prompt of %s is empty or longer than %d bytes", side, l.Name, maxPrompt)
				}
			}
		}
		c := l.Calibration
		if own := c != (model.Calibration{}); own && !(c.A > 0) || math.IsInf(c.A, 0) || math.IsNaN(c.B) || math.IsInf(c.B, 0) {
			return nil, bad("%s: calibration.a is %g, not above 0", l.Name, c.A)
		}
	}
	return labels, nil
}
