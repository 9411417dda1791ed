package phantom

// Kind names a finding. The words are stable: truth.json holds them.
type Kind string

// The findings.
const (
	Effusion      Kind = "effusion"
	Pneumothorax  Kind = "pneumothorax"
	Cardiomegaly  Kind = "cardiomegaly"
	Consolidation Kind = "consolidation"
	Atelectasis   Kind = "atelectasis"
	Edema         Kind = "edema"
	Nodule        Kind = "nodule"
	Fracture      Kind = "fracture"
	HiatalHernia  Kind = "hiatal_hernia"
)

// Side is where a finding lies, as the patient sees it.
type Side string

// The sides. NoSide is for findings of the middle, such as cardiomegaly.
const (
	Left      Side = "left"
	Right     Side = "right"
	Bilateral Side = "bilateral"
	NoSide    Side = "none"
)

// Range is what a kind of finding is drawn from. Size and contrast are uniform between
// their limits; the lower ends are subtle on purpose.
type Range struct {
	Kind        Kind
	SizeMM      [2]float64 // what is measured is said in Measure
	Contrast    [2]float64 // 1 = the tissue's full attenuation
	Sides       []Side     // each as likely
	LateralOnly float64    // share of instances that only the lateral view shows
	Progresses  bool       // size differs from a prior study to the next
	Measure     string     // what SizeMM measures
}

// Ranges returns the table of findings, in the order in which a balanced set
// (Config.SingleFinding) takes them.
//
//	kind           size mm  contrast    sides                  lateral only
//	effusion       20..150  0.60..1.00  left, right, bilateral  15 %
//	pneumothorax    6..45   0.50..1.00  left, right              0
//	cardiomegaly   18..60   1.00        none                     0
//	consolidation  24..90   0.30..0.95  left, right, bilateral   0
//	atelectasis    28..90   0.35..1.00  left, right, bilateral   0
//	edema          45..120  0.25..0.80  bilateral                0
//	nodule          7..38   0.55..1.00  left, right             25 %
//	fracture        3..9    0.60..1.00  left, right              0
//	hiatal_hernia  30..75   0.50..1.00  none                    50 %
func Ranges() []Range {
	both, three := []Side{Left, Right}, []Side{Left, Right, Bilateral}
	return []Range{
		{Effusion, [2]float64{20, 150}, [2]float64{0.6, 1}, three, 0.15, true, "height of the fluid over the deepest sulcus"},
		{Pneumothorax, [2]float64{6, 45}, [2]float64{0.5, 1}, both, 0, true, "distance from the chest wall to the pleural line at the apex"},
		{Cardiomegaly, [2]float64{18, 60}, [2]float64{1, 1}, []Side{NoSide}, 0, true, "widening of the heart beyond the patient's normal"},
		{Consolidation, [2]float64{24, 90}, [2]float64{0.3, 0.95}, three, 0, true, "diameter"},
		{Atelectasis, [2]float64{28, 90}, [2]float64{0.35, 1}, three, 0, true, "length of the longest band"},
		{Edema, [2]float64{45, 120}, [2]float64{0.25, 0.8}, []Side{Bilateral}, 0, true, "reach from each hilum"},
		{Nodule, [2]float64{7, 38}, [2]float64{0.55, 1}, both, 0.25, true, "longest diameter"},
		{Fracture, [2]float64{3, 9}, [2]float64{0.6, 1}, both, 0, false, "displacement of the fragment"},
		{HiatalHernia, [2]float64{30, 75}, [2]float64{0.5, 1}, []Side{NoSide}, 0.5, false, "width"},
	}
}

// rangeOf returns the row of k.
func rangeOf(k Kind) (Range, bool) {
	for _, r := range Ranges() {
		if r.Kind == k {
			return r, true
		}
	}
	return Range{}, false
}
