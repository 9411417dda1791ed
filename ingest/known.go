package ingest

import "github.com/radstream/radstream/ingest/deid"

// known collects what the arrival and the headers of its objects say about the people of
// the study, so that the report can be freed of it. Headers of objects that were refused
// count too: a name that stands in one may stand in the report.
func known(a Arrival, results []result) deid.Known {
	k := deid.Known{IDs: []string{string(a.PatientID), string(a.StudyUID)}}
	for _, r := range results {
		h := r.header
		k.Names = append(k.Names, h.People...)
		k.IDs = append(k.IDs, string(h.PatientID), string(h.StudyUID), h.Accession)
		k.IDs = append(k.IDs, h.OtherIDs...)
	}
	return k
}
