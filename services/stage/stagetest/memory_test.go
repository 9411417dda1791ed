package stagetest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/services/stage/stagetest"
)

func TestMemory(t *testing.T) {
	stagetest.Suite(t, func(*testing.T) stagetest.Bus {
		m := stagetest.NewMemory("STUDIES", time.Second, func(s event.Subject) bool { return strings.Contains(string(s), ".study.") })
		return stagetest.Bus{Source: m, Publisher: m, Attempts: m}
	})
}
