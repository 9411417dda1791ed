package fhir_test

import (
	"testing"

	"github.com/radstream/radstream/ingest/fhir"
	"github.com/radstream/radstream/ingest/report/reporttest"
)

func TestSamples(t *testing.T) {
	reporttest.Samples(t, "hl7fhir/fhir", "*", fhir.Parse, map[string]string{
		"DiagnosticReport-102.json":          "report final impression findings", // the narrative
		"DiagnosticReport-f201.json":         "report final impression",
		"DiagnosticReport-ultrasound.json":   "report final impression",
		"Diagnostic_Imaging_Report.ccda.xml": "report final findings impression +accession +study +patient",
		"Endpoint-example-wadors.json":       "unsupported no_diagnostic_report",
		"ImagingStudy-example-xr.json":       "unsupported no_diagnostic_report",
		"ImagingStudy-example.json":          "unsupported no_diagnostic_report",
		"Media-xray.json":                    "unsupported no_diagnostic_report",
		"Patient-dicom.json":                 "unsupported no_diagnostic_report",
		"ServiceRequest-di.json":             "unsupported no_diagnostic_report",
	})
}
