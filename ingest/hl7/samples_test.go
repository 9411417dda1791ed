package hl7_test

import (
	"testing"

	"github.com/radstream/radstream/ingest/hl7"
	"github.com/radstream/radstream/ingest/report/reporttest"
)

func TestSamples(t *testing.T) {
	reporttest.Samples(t, "hl7fhir/hl7v2", "*.hl7", hl7.Parse, map[string]string{
		"hapi_ORM-O01_2.hl7":                           "unsupported order_no_report",
		"hapi_ORM-O01_3.hl7":                           "unsupported order_no_report",
		"hapi_ORM-O01_4.hl7":                           "unsupported order_no_report",
		"hapi_ORU-R01_1.hl7":                           "report preliminary findings +accession +patient",
		"linuxforhealth_ORU-multiline-short-mixed.hl7": "report final findings +accession +patient",
		"linuxforhealth_ORU-multiline-short.hl7":       "report final findings +accession +patient",
		"linuxforhealth_sample_unix.hl7":               "invalid hl7_separators",
		"linuxforhealth_sample_win.hl7":                "invalid hl7_separators",
		"ms-fhir-converter_MDM_01.hl7":                 "unsupported hl7_message_type", // ADT^A01, whatever its name
		"ms-fhir-converter_OMG-O19-01.hl7":             "unsupported order_no_report",
		"ms-fhir-converter_ORM-O01-01.hl7":             "unsupported order_no_report",
		"ms-fhir-converter_ORM-O01-03.hl7":             "unsupported order_no_report",
		"ms-fhir-converter_ORU-R01-01.hl7":             "report final findings +accession +patient",
		"node-hl7-complete_bad-phone-example.hl7":      "unsupported hl7_message_type", // SIU
		"node-hl7-complete_mdm-example.hl7":            "report final findings impression +patient",
		"node-hl7-complete_nist_ORU_R01.hl7":           "unsupported no_report_text", // numbers only
		"node-hl7-complete_orm-example.hl7":            "unsupported order_no_report",
	})
}
