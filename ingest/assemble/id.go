package assemble

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"google.golang.org/protobuf/types/known/timestamppb"

	radstreamv1 "github.com/radstream/radstream/schemas/radstream/v1"
)

// prepID identifies a revision by its inputs: sha256 over each behind its length, in hex. When
// they were announced is no input: the same studies published once more have the same ids.
func prepID(s *radstreamv1.StudyPrepared) string {
	h := sha256.New()
	var n [8]byte
	add := func(part []byte) {
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	number := func(v uint64) { add(binary.BigEndian.AppendUint64(nil, v)) }
	at := func(t *timestamppb.Timestamp) {
		number(uint64(t.GetSeconds()))
		number(uint64(t.GetNanos()))
	}
	add([]byte(s.StudyKey))
	add([]byte(s.PatientKey))
	number(s.Rev)
	at(s.ShiftedTime)
	add(s.Report.GetReportSha256())
	for _, views := range [][]*radstreamv1.PreparedView{s.Views, s.SupersededViews} {
		number(uint64(len(views)))
		for _, v := range views {
			number(uint64(v.Projection))
			add(v.PixelsSha256)
			add(v.ObjectSha256)
			add([]byte(v.PreparationVersion))
		}
	}
	number(uint64(len(s.ReportStatements)))
	for _, r := range s.ReportStatements {
		add([]byte(r.ReportKey))
		number(uint64(r.Status))
		at(r.ShiftedTime)
		add(r.ReportSha256)
		add([]byte(r.PreparationVersion))
	}
	add([]byte(s.Prior.GetStudyKey()))
	number(uint64(s.Prior.GetDays()))
	return hex.EncodeToString(h.Sum(nil))
}
