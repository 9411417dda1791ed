package phantom

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// writeReport dictates the report of a study: the sections of a radiology report, every
// finding present mentioned once or more, absent ones denied now and then, present ones
// never denied.
func writeReport(p plan, b build, findings []Finding, r *rand.Rand) string {
	var out strings.Builder
	section := func(name, text string) { fmt.Fprintf(&out, "%s: %s\n\n", name, text) }
	if r.Float64() < 0.5 {
		fmt.Fprintf(&out, "%s\n\n", pick(r, []string{"EXAMINATION: CHEST RADIOGRAPH", "CHEST X-RAY", "XR CHEST"}))
	}
	who := "male"
	if b.female {
		who = "female"
	}
	section("INDICATION", fmt.Sprintf(pick(r, []string{"%d-year-old %s with %s.", "%d y/o %s, %s.", "%d year old %s. History: %s."}),
		b.age, who, pick(r, []string{"shortness of breath", "cough and fever", "chest pain", "follow-up", "preoperative evaluation", "trauma", "weight loss", "hypoxia"})))
	section("TECHNIQUE", technique(p, r))
	comparison := pick(r, []string{"None.", "None available.", "No prior studies."})
	if p.followUp {
		comparison = fmt.Sprintf(pick(r, []string{"Chest radiograph of %s.", "Radiograph dated %s.", "%s."}), p.time.Add(-p.gap).Format(time.DateOnly))
	}
	section("COMPARISON", comparison)
	section("FINDINGS", strings.Join(observations(findings, r), " "))
	section("IMPRESSION", impression(findings, r))
	return strings.TrimRight(out.String(), "\n") + "\n"
}

// technique says which films there are.
func technique(p plan, r *rand.Rand) string {
	switch {
	case p.lateral:
		return pick(r, []string{"PA and lateral views of the chest.", "Frontal and lateral chest radiographs.", "Two views of the chest, PA and lateral."})
	case p.view == "AP":
		return pick(r, []string{"Single portable AP view of the chest.", "Portable AP chest radiograph.", "AP view at the bedside."})
	}
	return pick(r, []string{"Single PA view of the chest.", "PA chest radiograph."})
}

// observations returns the sentences of the findings section in a natural order.
func observations(findings []Finding, r *rand.Rand) []string {
	var positive []string
	for _, f := range findings {
		positive = append(positive, observe(f, r))
	}
	negative := denials(findings, r)
	if r.IntN(3) == 0 {
		return append(negative, positive...)
	}
	return append(positive, negative...)
}

// observe returns the sentences about one finding that is present.
func observe(f Finding, r *rand.Rand) string {
	text := capital(describe(f, r))
	// subtle findings are hedged more often than plain ones
	if hedge := r.Float64(); hedge < 0.45-0.35*f.severity() {
		text = fmt.Sprintf(pick(r, []string{"There may be %s", "Findings may represent %s", "Possible %s", "%s is suspected", "Cannot exclude %s"}), describe(f, r))
		text = capital(text)
	} else if hedge > 0.8 {
		text = "There is " + describe(f, r)
	}
	if f.LateralOnly {
		text += pick(r, []string{", seen only on the lateral view", ", visible on the lateral projection only", ", best appreciated on the lateral view and not seen frontally"})
	}
	if f.Progression != "" {
		text += ", " + pick(r, map[Progression][]string{
			Improved: {"improved since the prior study", "decreased compared with the prior", "smaller than before"},
			Stable:   {"unchanged since the prior study", "stable compared with the prior", "not significantly changed"},
			Worsened: {"worse than on the prior study", "increased compared with the prior", "larger than before"},
		}[f.Progression])
	}
	return text + "."
}

// severity is where the size lies in its range, 0 to 1.
func (f Finding) severity() float64 {
	row, _ := rangeOf(f.Kind)
	return clamp((f.SizeMM-row.SizeMM[0])/(row.SizeMM[1]-row.SizeMM[0]), 0, 1)
}

// describe returns a noun phrase for the finding.
func describe(f Finding, r *rand.Rand) string {
	grade := "small"
	if s := f.severity(); s > 0.66 {
		grade = "large"
	} else if s > 0.33 {
		grade = "moderate"
	}
	mild := map[string]string{"small": "mild", "moderate": "moderate", "large": "severe"}[grade]
	side := string(f.Side)
	switch f.Kind {
	case Effusion:
		if grade == "small" && r.IntN(2) == 0 {
			if f.Side == Bilateral {
				return "blunting of both costophrenic angles compatible with effusions"
			}
			return pick(r, []string{"blunting of the " + side + " costophrenic angle", "blunting of the " + side + " costophrenic sulcus from trace pleural fluid"})
		}
		if f.Side == Bilateral {
			return grade + pick(r, []string{" bilateral pleural effusions", " pleural effusions on both sides"})
		}
		return grade + " " + side + pick(r, []string{" pleural effusion", "-sided pleural effusion", "-sided effusion"})
	case Pneumothorax:
		return pick(r, []string{grade + " " + side + " pneumothorax", grade + " " + side + " apical PTX",
			side + " apical pneumothorax measuring " + length(f.SizeMM, r), side + " apical pleural line in keeping with " + grade + " PTX"})
	case Cardiomegaly:
		return pick(r, []string{mild + " cardiomegaly", mild + " enlargement of the cardiac silhouette", mild + " cardiac enlargement"})
	case Consolidation:
		where := "the " + side + " lung"
		if f.Side == Bilateral {
			where = "both lungs"
		}
		return pick(r, []string{"airspace consolidation in " + where, "patchy consolidation in " + where + " measuring " + area(f.SizeMM, r),
			"focal airspace opacity in " + where + " consistent with pneumonia", "pneumonia in " + where})
	case Atelectasis:
		where := side + " basilar"
		if f.Side == Bilateral {
			where = "bibasilar"
		}
		return where + pick(r, []string{" atelectasis", " linear atelectasis", " plate-like atelectasis", " discoid atelectasis of " + length(f.SizeMM, r)})
	case Edema:
		return mild + pick(r, []string{" pulmonary edema", " interstitial pulmonary edema", " perihilar edema with vascular congestion"})
	case Nodule:
		word := "nodule"
		if f.SizeMM > 30 {
			word = "mass"
		}
		return pick(r, []string{"a " + length(f.SizeMM, r) + " " + word + " in the " + side + " lung", side + " lung " + word + " measuring " + length(f.SizeMM, r),
			side + " pulmonary " + word + " of " + area(f.SizeMM, r)})
	case Fracture:
		return pick(r, []string{"displaced " + side + " rib fracture", side + " rib fracture with " + length(f.SizeMM, r) + " of displacement", "fracture of a " + side + " rib"})
	case HiatalHernia:
		return grade + pick(r, []string{" hiatal hernia", " hiatus hernia", " retrocardiac hiatal hernia of " + length(f.SizeMM, r)})
	}
	return string(f.Kind)
}

// denial denies the kinds it names, all of which must be absent.
type denial struct {
	kinds []Kind
	texts []string
}

// denials returns sentences about what is not there.
func denials(findings []Finding, r *rand.Rand) []string {
	absent := func(kinds []Kind) bool {
		for _, f := range findings {
			for _, k := range kinds {
				if f.Kind == k {
					return false
				}
			}
		}
		return true
	}
	said := map[Kind]bool{}
	var out []string
	for _, d := range []denial{
		{[]Kind{Consolidation, Effusion, Pneumothorax}, []string{"No focal consolidation, pleural effusion, or pneumothorax.", "There is no consolidation, effusion or PTX."}},
		{[]Kind{Consolidation, Nodule, Edema, Atelectasis}, []string{"The lungs are clear.", "Lungs are clear bilaterally."}},
		{[]Kind{Effusion, Pneumothorax}, []string{"No pleural effusion or pneumothorax.", "There is no pneumothorax or pleural effusion.", "Negative for PTX or effusion."}},
		{[]Kind{Consolidation}, []string{"No focal consolidation.", "Without focal airspace opacity.", "No evidence of pneumonia."}},
		{[]Kind{Effusion}, []string{"No pleural effusion.", "No effusion is seen."}},
		{[]Kind{Pneumothorax}, []string{"No pneumothorax.", "No PTX is seen.", "There is no evidence of pneumothorax."}},
		{[]Kind{Cardiomegaly}, []string{"The heart is normal in size.", "Cardiomediastinal contours are within normal limits.", "No cardiomegaly."}},
		{[]Kind{Edema}, []string{"No pulmonary edema.", "Pulmonary vasculature is normal."}},
		{[]Kind{Fracture}, []string{"No acute fracture.", "The osseous structures are intact.", "Bony structures are unremarkable."}},
		{[]Kind{Nodule}, []string{"No pulmonary nodule or mass."}},
		{[]Kind{HiatalHernia}, []string{"No hiatal hernia."}},
	} {
		fresh := false
		for _, k := range d.kinds {
			fresh = fresh || !said[k]
		}
		chance := 0.6
		if k := d.kinds[0]; k == Nodule || k == HiatalHernia {
			chance = 0.15
		}
		if !fresh || !absent(d.kinds) || r.Float64() > chance {
			continue
		}
		for _, k := range d.kinds {
			said[k] = true
		}
		out = append(out, pick(r, d.texts))
	}
	if len(out) == 0 && len(findings) == 0 {
		out = append(out, "The lungs are clear.")
	}
	return out
}

// impression sums up.
func impression(findings []Finding, r *rand.Rand) string {
	if len(findings) == 0 {
		return pick(r, []string{"No acute cardiopulmonary process.", "Normal chest radiograph.", "No acute cardiopulmonary abnormality."})
	}
	var lines []string
	for i, f := range findings {
		line := capital(describe(f, r)) + "."
		if len(findings) > 1 {
			line = fmt.Sprintf("%d. %s", i+1, line)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// length writes a length the ways radiologists do.
func length(mm float64, r *rand.Rand) string {
	if r.IntN(2) == 0 {
		return fmt.Sprintf("%.0f mm", mm)
	}
	return fmt.Sprintf("%.1f cm", mm/10)
}

// area writes a size in two axes; the first is the longer.
func area(mm float64, r *rand.Rand) string {
	short := mm * between(r, 0.75, 0.95)
	if mm < 20 || r.IntN(2) == 0 {
		return fmt.Sprintf("%.0f x %.0f mm", mm, short)
	}
	return fmt.Sprintf("%.1f cm x %.1f cm", mm/10, short/10)
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
