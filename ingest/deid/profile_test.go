package deid

import (
	"strings"
	"testing"
)

func rules(t *testing.T) *Rules {
	t.Helper()
	r, err := LoadRules()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestProfile holds the data file to what the standard says, by samples of each kind.
func TestProfile(t *testing.T) {
	r := rules(t)
	if n := len(r.profile) + len(r.repeating) + 1; n != 656 {
		t.Errorf("the table of edition 2026c has 656 rows, this one %d", n)
	}
	for _, tc := range []struct {
		tag     Tag
		keyword string
		action  Action
	}{
		{0x00100010, "PatientName", "Z"},
		{0x00100020, "PatientID", "Z/D"},
		{0x00100021, "IssuerOfPatientID", "X"},
		{0x00101000, "OtherPatientIDs", "X"},
		{0x0020000D, "StudyInstanceUID", "U"},
		{0x00080050, "AccessionNumber", "Z"},
		{0x00080080, "InstitutionName", "X/Z/D"},
		{0x00081140, "ReferencedImageSequence", "X/Z/U*"},
		{0x00080201, "TimezoneOffsetFromUTC", "X"},
		{0x50123000, "CurveData", "X"},
		{0x60023000, "OverlayData", "X"},
		{0x60024000, "OverlayComments", "X"},
		{0x00091001, "PrivateAttributes", "X"},
		{0x60013000, "PrivateAttributes", "X"},
		{0x60020010, "", ""}, // OverlayRows
		{0x00280010, "", ""}, // Rows
	} {
		keyword, action, ok := r.Profile(tc.tag)
		if keyword != tc.keyword || action != tc.action || ok != (tc.action != "") {
			t.Errorf("%s: %q %q, want %q %q", tc.tag, keyword, action, tc.keyword, tc.action)
		}
	}
}

// TestAllowListKeepsTheProfile: nothing that the profile marks reaches a prepared study as
// it is, or by way of a picture; and what is hashed or shifted is marked.
func TestAllowListKeepsTheProfile(t *testing.T) {
	r := rules(t)
	for _, a := range r.Allowed() {
		keyword, action, marked := r.Profile(a.Tag)
		if marked && keyword != a.Keyword {
			t.Errorf("%s is called %s in the profile, %s on the allow-list", a.Tag, keyword, a.Keyword)
		}
		marked = marked && action != "K"
		switch a.Treatment {
		case Kept, Used:
			if marked {
				t.Errorf("%s %s is %s, but its action is %s: it must be hashed, shifted or dropped", a.Tag, a.Keyword, a.Treatment, action)
			}
		case Hashed, Shifted, Matched:
			if !marked {
				t.Errorf("%s %s is %s, but the profile leaves it alone", a.Tag, a.Keyword, a.Treatment)
			}
		}
		if a.Tag.Private() || a.In.Private() {
			t.Errorf("%s is private", a.Tag)
		}
	}
}

func TestRulesThatAreWrong(t *testing.T) {
	for _, tc := range []struct{ profile, attributes string }{
		{"0010,0010\tPatientName", ""},
		{"0010,0010\tPatientName\tQ", ""},
		{"001,0010\tPatientName\tX", ""},
		{"0010,001G\tPatientName\tX", ""},
		{"0010,0010\tPatientName\tX\n0010,0010\tPatientName\tX", ""},
		{"", "0010,0010\tPatientName\tkept"},
		{"", "0010,0010\tPatientName\tgone\t-"},
		{"", "0010,0010\tPatientName\tkept\t-"},
		{"", "0010,0010\tPatientName\tdropped\tviews"},
		{"", "0010,0010/10\tPatientName\tkept\tviews"},
		{"", "0010,0010\tPatientName\tkept\tviews\n0010,0010\tPatientName\tkept\tviews"},
	} {
		if _, err := parseRules(tc.profile, tc.attributes); err == nil || !strings.Contains(err.Error(), "row ") {
			t.Errorf("%q and %q give %v", tc.profile, tc.attributes, err)
		}
	}
}
