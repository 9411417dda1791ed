package phantom

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"time"

	"github.com/radstream/radstream/ingest/dicom"
	"github.com/radstream/radstream/schemas/fault"
)

// Study is one generated study.
type Study struct {
	UID, PatientID, AccessionNumber string
	Time                            time.Time    // UTC, whole seconds
	Views                           []dicom.Film // frontal, then lateral if there is one
	Report                          string       // empty for a broken study
	Truth                           Truth
}

// File is one object of a study as it is stored.
type File struct {
	Name string // frontal.dcm or lateral.dcm
	Data []byte
}

// plan is who study i is of and what is found.
type plan struct {
	index, patient int
	film           int  // what differs from film to film follows from it: the index, or the patient of variants
	paired         bool // studies 2p and 2p+1 are of one patient
	followUp       bool // the later study of a pair
	lateral        bool
	gap            time.Duration // from the prior to the follow-up
	time           time.Time
	findings       []Finding
	view           string // of the frontal film
}

// Generate makes study i (from 0) of c. It depends on c and i only. A wrong c is a Usage
// fault; any other error is a defect of this package.
func Generate(c Config, i int) (Study, error) {
	if err := c.Validate(); err != nil {
		return Study{}, err
	}
	if i < 0 || i >= c.Studies {
		return Study{}, fault.Errorf("phantom.Generate", fault.Usage, "the study's index must be 0 to Studies - 1")
	}
	p := c.plan(i)
	return c.study(p, p.findings), nil
}

// plan draws study i.
func (c Config) plan(i int) plan {
	p := plan{index: i, patient: i, film: i}
	if c.Variants > 1 {
		p.patient = i - i%c.Variants
		p.film = p.patient
	}
	r := generator(c.Seed, streamPair, uint64(i/2))
	_, firstBroken := c.brokenKind(i &^ 1)
	_, secondBroken := c.brokenKind(i | 1)
	if r.Float64() < c.PriorShare && !firstBroken && !secondBroken {
		p.paired, p.patient, p.followUp = true, i&^1, i&1 == 1
	}
	r = generator(c.Seed, streamFindings, uint64(p.patient))
	p.lateral = r.Float64() < c.LateralShare
	p.view = "PA"
	if !p.lateral && r.Float64() < 0.6 {
		p.view = "AP"
	}
	p.gap = time.Duration(2+r.IntN(400)) * 24 * time.Hour
	p.time = time.Date(2021, 1, 1, 6, 0, 0, 0, time.UTC).
		Add(time.Duration(r.IntN(1600)) * 24 * time.Hour).Add(time.Duration(r.IntN(14*3600)) * time.Second)
	if p.paired && !p.followUp {
		p.time = p.time.Add(-p.gap)
	}
	if c.Variants > 1 {
		r = generator(c.Seed, streamVariant, uint64(i))
	}
	for _, row := range c.drawKinds(i, p.paired, r) {
		p.findings = append(p.findings, p.draw(row, r))
	}
	return p
}

// drawKinds chooses the kinds of a patient's findings.
func (c Config) drawKinds(i int, paired bool, r *rand.Rand) []Range {
	kinds := c.kinds()
	if c.SingleFinding {
		k := (i / 2) % len(kinds) // both studies of a pair have it
		if c.Variants > 1 {
			turns := generator(c.Seed, streamPair, uint64(i-i%c.Variants)).Perm(len(kinds))
			k = turns[i%c.Variants%len(kinds)]
		}
		return kinds[k : k+1]
	}
	if r.Float64() < c.NormalShare && !paired {
		return nil
	}
	n := 1
	if more := r.Float64(); more < 0.15 {
		n = 3
	} else if more < 0.45 {
		n = 2
	}
	r.Shuffle(len(kinds), func(a, b int) { kinds[a], kinds[b] = kinds[b], kinds[a] })
	return kinds[:min(n, len(kinds))]
}

// draw draws one finding, of the study or, in a pair, of both of its studies.
func (p *plan) draw(row Range, r *rand.Rand) Finding {
	f := Finding{Kind: row.Kind, Side: pick(r, row.Sides)}
	f.LateralOnly = r.Float64() < row.LateralOnly && p.lateral
	f.Contrast = math.Round(100*between(r, row.Contrast[0], row.Contrast[1])) / 100
	u, ratio, change := r.Float64(), between(r, 1.4, 2.1), pick(r, []Progression{Improved, Stable, Worsened})
	size := lerp(row.SizeMM[0], row.SizeMM[1], u)
	if f.LateralOnly && f.Kind == Effusion { // more would rise over the dome
		size = lerp(row.SizeMM[0], row.SizeMM[1], 0.15*u)
		if f.Side == Bilateral {
			f.Side = Left
		}
	}
	for _, other := range p.findings { // air and fluid in one chest would need a level
		if pair := [2]Kind{other.Kind, f.Kind}; pair == [2]Kind{Effusion, Pneumothorax} || pair == [2]Kind{Pneumothorax, Effusion} {
			f.Side = opposite(other.Side)
			if other.Side == Bilateral { // no free side: it is small and the fluid is moved
				f.Side = Right
				p.moveEffusionLeft()
			}
		}
	}
	if p.paired {
		if !row.Progresses || f.LateralOnly {
			change = Stable
		}
		small := lerp(row.SizeMM[0], row.SizeMM[1], 0.4*u)
		large := min(small*ratio, row.SizeMM[1])
		switch {
		case change == Worsened && p.followUp, change == Improved && !p.followUp:
			size = large
		case change != Stable:
			size = small
		}
		if p.followUp {
			f.Progression = change
		}
	}
	f.SizeMM = math.Round(10*size) / 10
	return f
}

func opposite(s Side) Side {
	if s == Left {
		return Right
	}
	return Left
}

func (p *plan) moveEffusionLeft() {
	for i := range p.findings {
		if p.findings[i].Kind == Effusion {
			p.findings[i].Side = Left
		}
	}
}

// study renders the plan with these findings (a test leaves some out).
func (c Config) study(p plan, findings []Finding) Study {
	uid := func(i, part int) string {
		r := generator(c.Seed, streamUID, uint64(i)*8+uint64(part))
		n := new(big.Int).SetUint64(r.Uint64() | 1<<63)
		return "2.25." + n.Lsh(n, 64).Add(n, new(big.Int).SetUint64(r.Uint64())).String()
	}
	id := newIdentity(c.Seed, p.patient)
	s := Study{UID: uid(p.index, 0), PatientID: id.patient, Time: p.time,
		AccessionNumber: fmt.Sprintf("A%04X%07d", splitmix(c.Seed)&0xFFFF, p.index)}
	s.Truth = Truth{StudyUID: s.UID, PatientID: s.PatientID, AccessionNumber: s.AccessionNumber,
		Folder: fmt.Sprintf("study%06d", p.index), Findings: append([]Finding{}, findings...)}
	if p.followUp {
		s.Truth.PriorStudyUID, s.Truth.PriorDays = uid(p.index-1, 0), int(p.gap/(24*time.Hour))
		if len(findings) > 0 {
			s.Truth.Progression = findings[0].Progression
		}
	}

	r := generator(c.Seed, streamPatient, uint64(p.patient))
	b := drawBuild(r)
	shape := r.Uint64()
	study := generator(c.Seed, streamStudy, uint64(p.film))
	d := drawDetector(study)
	b.dome += 3 * study.NormFloat64() // each breath differs
	if p.view == "AP" {
		b.dome, b.heart = b.dome+7, b.heart*1.05 // bedside: less breath, heart nearer the tube
	}
	broken, damaged := c.brokenKind(p.index)
	if damaged {
		d.syntax, d.bits, d.modality = dicom.FilmExplicitLE, 12, "CR" // damage needs a known layout
	}
	a := newAnatomy(b, rand.New(rand.NewPCG(shape, 1)))
	var lesions []lesion
	for _, f := range findings {
		lesions = append(lesions, newLesion(f, a, generator(c.Seed, streamShape, uint64(p.patient)*64+kindNumber(f.Kind))))
	}
	for k, lateral := range []bool{false, true} {
		if lateral && (!p.lateral || damaged) {
			break
		}
		r := generator(c.Seed, streamFilm, uint64(2*p.film+k))
		v := newView(lateral, c.Side, b, r)
		e := expose(v, a, lesions, rand.New(rand.NewPCG(r.Uint64(), r.Uint64())))
		f := d.film(e, b, r)
		f.StudyUID, f.SeriesUID, f.InstanceUID = s.UID, uid(p.index, 1), uid(p.index, 2+k)
		f.PatientID, f.PatientName, f.PatientSex = id.patient, id.name(b.female), "M"
		if b.female {
			f.PatientSex = "F"
		}
		f.PatientBirthDate = fmt.Sprintf("%04d%02d%02d", 2020-b.age, id.month, id.day)
		f.AccessionNumber, f.StudyTime, f.InstanceNumber = s.AccessionNumber, s.Time, k+1
		f.ViewPosition = p.view
		if lateral {
			f.ViewPosition, f.Laterality = "LL", "L"
		}
		s.Views = append(s.Views, f)
		s.Truth.Objects = append(s.Truth.Objects, objectNames[k])
		for j := range lesions {
			switch box := v.box(e.changes[j], visibleChange); {
			case lateral:
				s.Truth.Findings[j].Lateral = box
			case !findings[j].LateralOnly:
				s.Truth.Findings[j].Frontal = box
			}
		}
	}
	if damaged {
		s.Truth.Broken, s.Truth.BrokenObject = broken, s.Truth.Objects[0]
		return s
	}
	s.Report = writeReport(p, b, findings, generator(c.Seed, streamReport, uint64(p.index)))
	return s
}

// visibleChange is the least change of log attenuation for which a finding gets a box.
const visibleChange = 0.01

var objectNames = [...]string{"frontal.dcm", "lateral.dcm"}

// kindNumber is the place of k in Ranges; it keeps a finding where it is when another
// one comes or goes.
func kindNumber(k Kind) uint64 {
	for i, r := range Ranges() {
		if r.Kind == k {
			return uint64(i)
		}
	}
	return 0
}

// Files encodes the study's objects; that of a broken study is damaged as Truth says.
func (s Study) Files() ([]File, error) {
	var out []File
	for k, f := range s.Views {
		var buf bytes.Buffer
		if err := dicom.Encode(&buf, f); err != nil {
			return nil, fault.Wrap("phantom.Files", err)
		}
		data := buf.Bytes()
		if s.Truth.Broken != "" {
			data = damage(data, s.Truth.Broken)
		}
		out = append(out, File{s.Truth.Objects[k], data})
	}
	return out, nil
}

// identity is an invented person.
type identity struct {
	patient    string
	family     string
	he, she    string
	month, day int
}

func newIdentity(seed uint64, patient int) identity {
	r := generator(seed, streamIdentity, uint64(patient))
	return identity{
		patient: fmt.Sprintf("PH%04X%07d", splitmix(seed^0xFACE)&0xFFFF, patient),
		family:  pick(r, []string{"Abel", "Brandt", "Castell", "Dorn", "Ekholm", "Farrow", "Grieg", "Hollis", "Ibarra", "Jansen", "Kovac", "Lindqvist", "Marlow", "Novak", "Orsini", "Petrov"}),
		he:      pick(r, []string{"Adam", "Bruno", "Carl", "David", "Emil", "Felix", "Georg", "Hugo"}),
		she:     pick(r, []string{"Anna", "Berta", "Clara", "Dora", "Elsa", "Frida", "Greta", "Hanna"}),
		month:   1 + r.IntN(12), day: 1 + r.IntN(28),
	}
}

// name returns the person as a DICOM PN value.
func (id identity) name(female bool) string {
	if female {
		return id.family + "^" + id.she
	}
	return id.family + "^" + id.he
}
