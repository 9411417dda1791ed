package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/radstream/radstream/schemas/event"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
	"github.com/radstream/radstream/services/bus/bustest"
)

func TestDLQ(t *testing.T) {
	url := bustest.Serve(t)
	t.Setenv("RADSTREAM_NATS_URL", url)
	b := bustest.Connect(t, url)
	refuse := func(reason, stream string, seq uint64) {
		t.Helper()
		e, err := event.New(event.MessageID(reason), "test", event.RejectedSubject("north", "prepare"), time.Now(), &radstreamv1.Rejected{
			Stage: "prepare", Kind: "invalid", Reason: reason, Detail: "not good enough", Input: &radstreamv1.InputRef{Stream: stream, Sequence: seq}})
		if err == nil {
			err = b.Publish(t.Context(), e, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	arrival, err := event.New("arrival", "test", event.StudyArrivedSubject("north"), time.Now(), &radstreamv1.StudyArrived{StudyUid: "1.2"})
	if err == nil {
		err = b.Publish(t.Context(), arrival, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	refuse("blank", event.StreamStudies, 1)
	refuse("truncated", event.StreamStudies, 1)
	refuse("blurred", event.StreamStudies, 77)
	for _, step := range []struct {
		line string
		code int
		want string
	}{
		{"dlq", 0, "radstream dlq requeue"},
		{"dlq list", 0, "not good enough"},
		{"dlq list --reason blank --json", 0, `"seq":1,`},
		{"dlq list --stage index", 0, "no dead letter has all of that"},
		{"dlq list --stage indexer", 2, "--stage must be prepare, relate, embed or index"},
		{"dlq drop --all --tenant North", 2, "--tenant: a tenant is 1 to 63"},
		{"dlq show 2", 0, "message 1 of STUDIES"},
		{"dlq show 2 --json", 0, `"reason":"truncated"`},
		{"dlq show 99", 1, "radstream dlq list"},
		{"dlq show first", 2, "its number"},
		{"dlq requeue", 2, "--all"},
		{"dlq requeue 1 --all", 2, "--all"},
		{"dlq requeue 1 --reason blank", 2, "--all"},
		{"dlq requeue 1 99", 1, "no dead letter 99"},
		{"dlq requeue 1 1", 0, "1 requeued"},
		{"dlq show 1", 1, "no dead letter 1"},
		{"dlq requeue 3", 1, "publish it again"},
		{"dlq requeue --all --json", 1, `{"requeued":1}`},
		{"dlq drop --all", 0, "1 dropped"},
		{"dlq list", 0, "no dead letters"},
		{"reindex --drop-queries --json", 0, `{"queries":[]}`},
		{"reindex --cancel --json", 0, `{"trial":null}`},
	} {
		code, stdout, stderr := runLine(t, "", strings.Fields(step.line)...)
		if code != step.code || !strings.Contains(stdout+stderr, step.want) {
			t.Errorf("%s: %d, want %d with %q: %s%s", step.line, code, step.code, step.want, stdout, stderr)
		}
	}
}
