package app

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/radstream/radstream/ingest/deid"
)

// canaryReport has canaries in sections that are dropped and in those that are kept.
func canaryReport() string {
	return strings.Join([]string{
		"CLINICAL HISTORY: Mrs. " + canary + " " + canary + ", MRN " + canary + "1, born 11/07/1931.",
		"INDICATION: Referred by Dr. " + canary + ", tel. " + canary + ".",
		"REASON FOR EXAM: " + canary + "^^^HOSP&1.2.3&ISO",
		"FINDINGS: As discussed with Dr. " + canary + " the lungs are clear.",
		"IMPRESSION: Compared with the film of Mrs. " + canary + " dated " + studyDay + ".",
	}, "\n")
}

// canaryORU is an HL7 v2 result in which every name and number is a canary; that the one
// in the text is one is known from PID and OBR only.
func canaryORU(patient, accession string) string {
	return strings.Join([]string{
		`MSH|^~\&|` + canary + `|` + canary + `|||20260102030405||ORU^R01|` + canary + `|P|2.5.1`,
		"PID|1||" + patient + "^^^" + canary + "^MR||" + canary + "^" + canary + "||19311107",
		"OBR|1||" + accession + "|CXR^" + canary + strings.Repeat("|", 12) + "7^" + canary + "^" + canary,
		"OBX|1|TX|&GDT||Small nodule in " + strings.ToLower(canary) + " today.||||||F",
	}, "\r") + "\r"
}

// rawElement is an attribute in explicit VR little endian, of a text VR.
func rawElement(tag uint32, vr, value string) string {
	le := binary.LittleEndian
	value += strings.Repeat(" ", len(value)%2)
	b := append(le.AppendUint16(le.AppendUint16(nil, uint16(tag>>16)), uint16(tag)), vr...)
	if vr == "SQ" || vr == "UT" {
		return string(le.AppendUint32(append(b, 0, 0), uint32(len(value)))) + value
	}
	return string(le.AppendUint16(b, uint16(len(value)))) + value
}

// plant puts elements before all others of a film; the first of a tag is the one that counts.
func plant(t *testing.T, film []byte, elements string) []byte {
	t.Helper()
	const first = "\x08\x00\x05\x00CS"
	if !bytes.Contains(film, []byte(first)) {
		t.Fatal("the film does not start as expected")
	}
	return bytes.Replace(film, []byte(first), []byte(elements+first), 1)
}

// allCanaries is every attribute of the Basic Profile up to group 0050, save those that a
// film must have to be one, each with a canary that names it; private ones; the same inside
// sequences; and the attributes that are read as text.
func allCanaries(t *testing.T) string {
	t.Helper()
	rules, err := deid.LoadRules()
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	n := 0
	for tag := uint32(0x00080000); tag < 0x00510000; tag++ {
		d := deid.Tag(tag)
		if _, _, marked := rules.Profile(d); !marked || rules.Treatment(d, 0).GoesOn() || d.Private() && tag&0xffff != 0x10 && tag&0xffff != 0x1001 {
			continue
		}
		n++
		all.WriteString(rawElement(tag, "LO", fmt.Sprintf("%s%08X", canary, tag)))
	}
	if n < 400 {
		t.Fatalf("only %d attributes", n)
	}
	item := func(elements string) string {
		return string(binary.LittleEndian.AppendUint32([]byte("\xFE\xFF\x00\xE0"), uint32(len(elements)))) + elements
	}
	inner := item(rawElement(0x00100010, "PN", canary+"^"+canary) + rawElement(0x00100020, "LO", "P"+canary) + rawElement(0x00100030, "DA", birthday))
	all.WriteString(rawElement(0x00081120, "SQ", inner))
	all.WriteString(rawElement(0x00091002, "SQ", item(rawElement(0x00081120, "SQ", inner))))
	all.WriteString(rawElement(0x00540220, "SQ", item(rawElement(0x00080104, "LO", "postero-anterior "+canary))))
	all.WriteString(rawElement(0x00180015, "CS", "CHEST "+canary))
	all.WriteString(rawElement(0x00185101, "CS", "PA "+canary))
	all.WriteString(rawElement(0x00200060, "CS", canary))
	all.WriteString(rawElement(0x00200020, "CS", `L\F`+canary))
	all.WriteString(rawElement(0x00281056, "CS", canary))
	all.WriteString(rawElement(0x00204000, "UT", strings.Repeat(canary+" ", 2000)))
	return all.String()
}

// spoilt are films that are refused, each for another reason, with canaries in what they
// are refused for.
func spoilt(t *testing.T, film []byte) map[string][]byte {
	t.Helper()
	return map[string][]byte{
		"modality":    plant(t, film, rawElement(0x00080060, "CS", canary)),
		"body part":   plant(t, film, rawElement(0x00180015, "CS", "KNEE "+canary)),
		"oblique":     plant(t, film, rawElement(0x00185101, "CS", "OBLIQUE "+canary)),
		"photometric": plant(t, film, rawElement(0x00280004, "CS", canary)),
		"frames":      plant(t, film, rawElement(0x00280008, "IS", canary)),
		"syntax":      bytes.Replace(film, []byte("1.2.840.10008.1.2.1\x00"), []byte("1.2."+canary+".1.2.3.4"), 1),
		"malformed":   plant(t, film, rawElement(0x00081120, "SQ", canary)+canary),
		"half":        film[:len(film)*2/3],
		"cut":         film[:bytes.Index(film, []byte("\x28\x00\x10\x00US"))],
		"text":        []byte("the patient is " + canary),
		"png":         append([]byte("\x89PNG\r\n\x1a\n"), canary...),
		"jpeg":        append([]byte("\xff\xd8\xff\xfe\x00\x20"), canary...),
	}
}
