package app

import (
	"github.com/radstream/radstream/schemas/event"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/stage"
)

// removedOutput is the tombstone of a study on a subject behind PREPARED. An erased study goes the
// way of every revision, from prepare to embed to index, so that each stage learns of it whenever
// it comes to it, also under a model that is new.
func removedOutput(what string, t event.Tenant, on event.Subject) stage.Output {
	study := event.Envelope{Subject: on}.StudyKey()
	return stage.Output{
		ID:      event.ID("removed", what, string(t), string(on)),
		Subject: on,
		Body:    &radstreamv1.StudyRemoved{StudyKey: string(study)},
	}
}
