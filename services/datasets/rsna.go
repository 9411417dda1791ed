package datasets

func (r *reader) rsna() error {
	classes := map[string]string{} // by patientId
	if err := r.each("stage_2_detailed_class_info.csv", []string{"patientId", "class"}, func(at row) error {
		id, err := at.must("patientId")
		if err != nil {
			return err
		}
		switch at.get("class") {
		case "Lung Opacity":
			classes[id[0]] = "lung_opacity"
		case "Normal":
			classes[id[0]] = "no_finding"
		case "No Lung Opacity / Not Normal":
			classes[id[0]] = "other"
		default:
			return at.reject(`class must be "Normal", "Lung Opacity" or "No Lung Opacity / Not Normal"`)
		}
		return nil
	}); err != nil {
		return err
	}
	places := map[string]int{} // of a study, by patientId; below 0 where its image is missing
	return r.each("stage_2_train_labels.csv", []string{"patientId", "Target"}, func(at row) error {
		v, err := at.must("patientId", "Target")
		if err != nil {
			return err
		}
		id, target := v[0], v[1]
		if target != "0" && target != "1" {
			return at.reject("Target must be 0 or 1")
		}
		i, known := places[id]
		if !known {
			image, err := r.image(at, []string{".dcm"}, "stage_2_train_images/"+id)
			if err != nil {
				return err
			}
			if i = -1; image != nil {
				i = len(r.set.Studies)
				s := newStudy(id, id, *image)
				s.Labels = map[string]bool{}
				if class := classes[id]; class != "" {
					s.Labels["lung_opacity"], s.Labels["no_finding"] = class == "lung_opacity", class == "no_finding"
				}
				r.set.Studies = append(r.set.Studies, s)
			}
			places[id] = i
		}
		if i >= 0 { // present in any of the rows, which are its boxes, is present
			labels := r.set.Studies[i].Labels
			labels["pneumonia"] = labels["pneumonia"] || target == "1"
		}
		return nil
	})
}
