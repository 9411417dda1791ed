package fhir_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/radstream/radstream/ingest/fhir"
)

// TestBomb: references that lead to the same large resources again and again cost little.
func TestBomb(t *testing.T) {
	many := func(n int, one string) string { return strings.TrimSuffix(strings.Repeat(one+",", n), ",") }
	ids := many(64, `{"value":"`+strings.Repeat("1", 40)+`"}`)
	bundle := fmt.Sprintf(`{"resourceType":"Bundle","entry":[
		{"fullUrl":"u","resource":{"resourceType":"ImagingStudy","id":"u","identifier":[%s],"basedOn":[%s]}},
		{"fullUrl":"v","resource":{"resourceType":"ServiceRequest","id":"v","identifier":[%s]}},
		{"resource":{"resourceType":"DiagnosticReport","status":"final","conclusion":"Clear.","imagingStudy":[%s]}}]}`,
		ids, many(64, `{"reference":"v"}`), ids, many(30_000, `{"reference":"u"}`))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	messages, err := fhir.Parse([]byte(bundle))
	runtime.ReadMemStats(&after)
	if used := (after.TotalAlloc - before.TotalAlloc) >> 20; err != nil || len(messages) != 1 || used > 64 {
		t.Errorf("%d messages, %d MiB, %v", len(messages), used, err)
	}
}
