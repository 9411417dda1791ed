// Package phantom makes procedural chest studies: frontal and lateral films as DICOM,
// English reports, and the truth about both. Demo, tests, benchmarks and the training of
// the shipped model run on them, because real studies may not be passed on.
//
// A patient is a body of ellipses: organs are stacks of horizontal ellipses (tubes) and
// ellipsoids, ribs and vessels are chains of small ellipsoids. Every horizontal ray meets
// each in one interval, so a film is an exact line integral with a parallel beam: the
// length of soft tissue, aerated lung and bone on each ray times its attenuation
// (Beer-Lambert). The same patient is projected front to back and right to left, so that
// a finding lies where it must in both views. Blur, quantum noise, the detector's curve
// and the way that pixels are stored then vary by study.
//
// Flow: Config -> plan (who is study i, what is found) -> anatomy -> render (one plane of
// log attenuation a view, one plane a finding) -> film (exposure, detector, dicom.Film)
// -> report and Truth. [Generate] makes study i alone; [Write] makes a directory.
//
// Everything about study i comes from PCG generators seeded with (seed, purpose, i): the
// same Config gives the same bytes on amd64, whatever the number of workers and studies.
package phantom
