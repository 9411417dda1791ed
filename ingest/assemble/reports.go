package assemble

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

const (
	addendum  = radstreamv1.ReportStatus_REPORT_STATUS_ADDENDUM
	retracted = radstreamv1.ReportStatus_REPORT_STATUS_RETRACTED
)

// addStatement adds s to the versions that are known. A text that was said under the same
// number and status before is that version sent once more: the earlier time counts, so that a
// message that is repeated later does not push aside what was said between. statements is
// modified, its elements are not.
func addStatement(statements []*radstreamv1.ReportStatement, s *radstreamv1.ReportStatement) []*radstreamv1.ReportStatement {
	for i, have := range statements {
		if compareStatements(have, s) != 0 {
			continue
		}
		kept := proto.CloneOf(have)
		if s.PreparationVersion != have.PreparationVersion || cleaner(s.Sections, have.Sections) {
			kept.Sections, kept.PreparationVersion = s.Sections, s.PreparationVersion
		}
		kept.ShiftedTime = first(have.ShiftedTime, s.ShiftedTime)
		kept.ShiftedSaidTime = first(have.ShiftedSaidTime, s.ShiftedSaidTime)
		statements[i] = kept
		return statements
	}
	statements = append(statements, s)
	slices.SortFunc(statements, compareStatements)
	return statements
}

// cleaner tells whether a has more identifiers taken out than b: the same text may arrive with
// and without the names of its people. Of as many the lesser text counts, in whatever order the
// two came.
func cleaner(a, b []*radstreamv1.Section) bool {
	one, other := squeeze(a), squeeze(b)
	return cmp.Or(cmp.Compare(strings.Count(other, "["), strings.Count(one, "[")), strings.Compare(one, other)) < 0
}

// compareStatements orders statements by what identifies them.
func compareStatements(a, b *radstreamv1.ReportStatement) int {
	return cmp.Or(strings.Compare(a.ReportKey, b.ReportKey), cmp.Compare(a.Status, b.Status), bytes.Compare(a.ReportSha256, b.ReportSha256))
}

// first is the earlier of two times; one that is missing says nothing.
func first(a, b *timestamppb.Timestamp) *timestamppb.Timestamp {
	if b == nil {
		return a
	}
	return earliest(a, b)
}

// later orders the versions of reports: by the time the sender says, then by status, in the
// order of the enum, then by when the message was made. A first version without a time is
// before all that have one; corrections, addenda and retractions without one have the time of
// their message, for they are about something that was said before.
func later(a, b *radstreamv1.ReportStatement) int {
	said := func(s *radstreamv1.ReportStatement) *timestamppb.Timestamp {
		if s.ShiftedTime == nil && s.Status > radstreamv1.ReportStatus_REPORT_STATUS_FINAL {
			return s.ShiftedSaidTime
		}
		return s.ShiftedTime
	}
	return cmp.Or(compareTimes(said(a), said(b)), cmp.Compare(a.Status, b.Status), compareTimes(a.ShiftedSaidTime, b.ShiftedSaidTime),
		bytes.Compare(a.ReportSha256, b.ReportSha256), strings.Compare(a.ReportKey, b.ReportKey))
}

// reportOf makes the report of a study out of all that was said: of each report number the
// last whole version; if that was not retracted, the last of these is the report, and the
// addenda to it that were said after it stand behind it. Addenda without a number, or with one
// that no report has, are about the report that counts; a retraction without a number takes
// back all that was said before it. nil when nothing was said or all was retracted.
func reportOf(all []*radstreamv1.ReportStatement, compose func([]*radstreamv1.Section) (*radstreamv1.PreparedReport, error)) (*radstreamv1.PreparedReport, error) {
	whole := map[string]*radstreamv1.ReportStatement{}
	for _, s := range all {
		if have := whole[s.ReportKey]; s.Status != addendum && (have == nil || later(s, have) > 0) {
			whole[s.ReportKey] = s
		}
	}
	all = slices.DeleteFunc(slices.Clone(all), func(s *radstreamv1.ReportStatement) bool {
		of := whole[""]
		return of != nil && of.Status == retracted && later(s, of) <= 0
	})
	var base *radstreamv1.ReportStatement
	for _, s := range all {
		if s == whole[s.ReportKey] && s.Status != retracted && (base == nil || later(s, base) > 0) {
			base = s
		}
	}
	var addenda []*radstreamv1.ReportStatement
	for _, s := range all {
		amends := s.ReportKey == "" || whole[s.ReportKey] == nil || whole[s.ReportKey] == base
		if s.Status == addendum && amends && (base == nil || later(s, base) > 0) {
			addenda = append(addenda, s)
		}
	}
	slices.SortFunc(addenda, later)
	parts := addenda
	if base != nil {
		parts = append([]*radstreamv1.ReportStatement{base}, addenda...)
	}
	if len(parts) == 0 {
		return nil, nil
	}
	sections, sums := parts[0].Sections, parts[0].ReportSha256
	for _, a := range parts[1:] {
		// Many senders repeat the report above the addendum.
		switch had, adds := squeeze(sections), squeeze(a.Sections); {
		case strings.Contains(had, adds):
			continue
		case strings.Contains(adds, had):
			sections = a.Sections
		default:
			sections = append(slices.Clone(sections), a.Sections...)
		}
		sums = append(slices.Clone(sums), a.ReportSha256...)
	}
	r, err := compose(sections)
	if err != nil {
		return nil, err
	}
	r = proto.CloneOf(r)
	if r.ReportSha256 = sums; len(sums) > sha256.Size {
		sum := sha256.Sum256(sums)
		r.ReportSha256 = sum[:]
	}
	return r, nil
}

// squeeze makes texts comparable: white space and case aside.
func squeeze(sections []*radstreamv1.Section) string {
	var all strings.Builder
	for _, s := range sections {
		all.WriteString(s.Text + " ")
	}
	return strings.ToLower(strings.Join(strings.Fields(all.String()), " "))
}
