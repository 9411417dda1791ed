package assemble

import (
	"bytes"
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"

	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// addView adds v to all views that are known, current or not. The same object, or the same
// pixels of the same instance, is known already: what is kept of the two does not depend on
// which came first. all is modified, its elements are not.
func addView(all []*radstreamv1.PreparedView, v *radstreamv1.PreparedView) []*radstreamv1.PreparedView {
	for i, have := range all {
		if !bytes.Equal(have.ObjectSha256, v.ObjectSha256) {
			continue
		}
		kept := have
		if v.PreparationVersion != have.PreparationVersion || surer(v, have) {
			kept = v
		}
		said := earliest(have.ShiftedSaidTime, v.ShiftedSaidTime)
		if compareTimes(kept.ShiftedSaidTime, said) != 0 {
			kept = proto.CloneOf(kept)
			kept.ShiftedSaidTime = said
		}
		all[i] = kept
		return all
	}
	for i, have := range all {
		if have.InstanceKey == v.InstanceKey && samePixels(have, v) {
			if claimed(v, have) < 0 {
				all[i] = v
			}
			return all
		}
	}
	return append(all, v)
}

func samePixels(a, b *radstreamv1.PreparedView) bool {
	return a.Projection == b.Projection && bytes.Equal(a.PixelsSha256, b.PixelsSha256)
}

// surer tells whether a knows more than b of the same object: who sends a film may state its
// projection once and not another time.
func surer(a, b *radstreamv1.PreparedView) bool {
	rank := func(v *radstreamv1.PreparedView) int {
		return slices.Index([]string{"pixels", "hint", "tag"}, v.ProjectionSource)
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Projection, b.Projection)) > 0
}

// claimed orders two claims of the same pixels: by content, then by when they were announced.
func claimed(a, b *radstreamv1.PreparedView) int {
	return cmp.Or(compareTimes(a.ShiftedContentTime, b.ShiftedContentTime), compareTimes(a.ShiftedSaidTime, b.ShiftedSaidTime),
		bytes.Compare(a.ObjectSha256, b.ObjectSha256))
}

// counting parts the views that count from those that others took the place of. Both come in
// an order of their own.
func counting(all []*radstreamv1.PreparedView) (views, superseded []*radstreamv1.PreparedView) {
	newest := map[string]*radstreamv1.PreparedView{}
	for _, v := range all {
		if best := newest[v.InstanceKey]; best == nil || claimed(v, best) > 0 {
			newest[v.InstanceKey] = v
		}
	}
	slices.SortFunc(all, func(a, b *radstreamv1.PreparedView) int {
		return cmp.Or(cmp.Compare(a.Projection, b.Projection), bytes.Compare(a.PixelsSha256, b.PixelsSha256),
			bytes.Compare(a.ObjectSha256, b.ObjectSha256), cmp.Compare(a.InstanceKey, b.InstanceKey))
	})
	for _, v := range all {
		twin := len(views) > 0 && samePixels(views[len(views)-1], v)
		if replaced := v.InstanceKey != "" && newest[v.InstanceKey] != v; replaced || twin {
			superseded = append(superseded, v)
			continue
		}
		views = append(views, v)
	}
	have := map[string]bool{}
	for _, v := range views {
		have[string(v.PixelsSha256)] = true
	}
	for i, v := range superseded {
		if have[string(v.PixelsSha256)] && v.Png != nil {
			superseded[i] = proto.CloneOf(v)
			superseded[i].Png = nil
		}
		have[string(v.PixelsSha256)] = true
	}
	return views, superseded
}

// withPixels gives the views that were kept without pixels those of their twins.
func withPixels(all []*radstreamv1.PreparedView) []*radstreamv1.PreparedView {
	png := map[string][]byte{}
	for _, v := range all {
		if v.Png != nil {
			png[string(v.PixelsSha256)] = v.Png
		}
	}
	for i, v := range all {
		if v.Png == nil && png[string(v.PixelsSha256)] != nil {
			all[i] = proto.CloneOf(v)
			all[i].Png = png[string(v.PixelsSha256)]
		}
	}
	return all
}
