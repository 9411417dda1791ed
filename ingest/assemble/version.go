package assemble

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/radstream/radstream/schemas/event"
	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// current returns s as this version of Radstream would have made it: a revision of before there
// were statements gets the one that its report comes from, and views and statements of before
// each had a version get the study's. nil stays nil.
func current(s *radstreamv1.StudyPrepared) *radstreamv1.StudyPrepared {
	if s == nil {
		return nil
	}
	s = mover{to: event.PatientKey(s.PatientKey)}.study(s) // its lists are its own
	if s.GetReport() != nil && len(s.ReportStatements) == 0 {
		s.ReportStatements = []*radstreamv1.ReportStatement{{
			Status: radstreamv1.ReportStatus_REPORT_STATUS_FINAL, ReportSha256: s.Report.ReportSha256, Sections: s.Report.Sections,
		}}
	}
	version := s.Provenance.PreparationVersion
	for _, views := range [][]*radstreamv1.PreparedView{s.Views, s.SupersededViews} {
		for i, v := range views {
			if v.PreparationVersion == "" {
				views[i] = proto.CloneOf(v)
				views[i].PreparationVersion = version
			}
		}
	}
	for i, r := range s.ReportStatements {
		if r.PreparationVersion == "" {
			s.ReportStatements[i] = proto.CloneOf(r)
			s.ReportStatements[i].PreparationVersion = version
		}
	}
	return s
}

// versions returns those of all parts of s, as Provenance.preparation_version has them.
func versions(s *radstreamv1.StudyPrepared) string {
	var all []string
	for _, v := range slices.Concat(s.Views, s.SupersededViews) {
		all = append(all, v.PreparationVersion)
	}
	for _, r := range s.ReportStatements {
		all = append(all, r.PreparationVersion)
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " ")
}
