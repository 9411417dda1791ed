package train

import (
	"bytes"
	"cmp"
	"context"
	_ "embed" // the page
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/trainer/eval"
)

//go:embed report.html
var reportPage string

// paper is eval.Paper as the page shows it.
type paper struct {
	Source       string         `json:"source"`
	Notes        []string       `json:"notes"`
	ImageToImage eval.Precision `json:"image_to_image"`
	TextToImage  eval.Precision `json:"text_to_image"`
	ImageToText  eval.Precision `json:"image_to_text"`
	RSNA         struct {
		Accuracy, F1, AUC float64
	} `json:"rsna"`
	FiveClasses struct{ Accuracy float64 } `json:"five_classes"`
	Cost        struct {
		Parameters int
		MillisA100 float64 `json:"millis_a100"`
	} `json:"cost"`
}

// reported is a model on the page.
type reported struct {
	*Tables
	Curves []template.HTML // SVG of its run
}

// search is one query and what each model finds.
type search struct {
	Query string
	Image template.URL // of an image query
	Hits  []hits
}

type hits struct {
	Model string
	Films []hit
}

type hit struct {
	Image  template.URL
	Class  string
	Cosine float64
	Right  bool
}

// hitsShown is how many films the page shows of a ranking.
const hitsShown = 8

// Report measures the models in dirs on the same phantoms and writes one HTML page, which needs
// no other file: tables beside the paper's figures, what the models find, and the curves of their
// runs, where these lie beside them.
func Report(ctx context.Context, dirs []string, o TablesOptions, path string, progress func(done, total int)) error {
	const op = "train.Report"
	data := struct {
		Models   []reported
		Searches []search
		Paper    paper
		Seed     uint64
	}{Seed: EvaluationSeed}
	if err := json.Unmarshal(eval.Paper(), &data.Paper); err != nil {
		return fault.E(op, fault.Internal, err)
	}
	for i, dir := range dirs {
		t, err := MeasureTables(ctx, dir, o, func(done, total int) {
			if progress != nil {
				progress(i*total+done, len(dirs)*total)
			}
		})
		if err != nil {
			return fault.Wrap(op, err)
		}
		m := reported{Tables: t}
		for _, name := range []string{"loss.svg", "collapse.svg", "validation.svg"} {
			svg, err := os.ReadFile(filepath.Join(filepath.Dir(dir), name))
			if err == nil {
				m.Curves = append(m.Curves, template.HTML(svg)) // of trainer.Curves, our own
			} else if !os.IsNotExist(err) {
				return fault.E(op, fault.Usage, err)
			}
		}
		data.Models = append(data.Models, m)
	}
	data.Searches = searches(data.Models)
	page, err := template.New("report").Funcs(template.FuncMap{
		"num": func(v float64) string { return fmt.Sprintf("%.3f", v) },
		"rate": func(v float64, ci [2]float64) template.HTML {
			return template.HTML(fmt.Sprintf(`<td>%.3f <span class="ci">%.3f to %.3f</span></td>`, v, ci[0], ci[1]))
		},
		"giga":    func(v float64) string { return fmt.Sprintf("%.2f", v/1e9) },
		"percent": func(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) },
	}).Parse(reportPage)
	if err != nil {
		return fault.E(op, fault.Internal, err)
	}
	var out bytes.Buffer
	if err := page.Execute(&out, data); err != nil {
		return fault.E(op, fault.Internal, err)
	}
	return fault.E(op, fault.Usage, os.WriteFile(path, out.Bytes(), 0o644)) // in place: the path may be /dev/stdout
}

// searches are one text and one film of each class, in every model. All models saw the same studies.
func searches(models []reported) []search {
	first := models[0]
	var out []search
	for q, query := range first.queries {
		if q > 0 && first.queries[q-1].Class == query.Class {
			continue
		}
		s := search{Query: fmt.Sprintf("%q", query.Text)}
		for _, m := range models {
			s.Hits = append(s.Hits, m.hits(m.queries[q].Image, query.Class, -1))
		}
		out = append(out, s)
	}
	seen := map[string]bool{}
	for i, c := range first.cases {
		if seen[c.Class] {
			continue
		}
		seen[c.Class] = true
		s := search{Query: "A film with " + c.Class, Image: first.film(i)}
		for _, m := range models {
			s.Hits = append(s.Hits, m.hits(m.cases[i].Image, c.Class, i))
		}
		out = append(out, s)
	}
	return out
}

// hits ranks the cases but skip for a vector.
func (t *Tables) hits(query []float32, class string, skip int) hits {
	type scored struct {
		i      int
		cosine float64
	}
	var all []scored
	for i, c := range t.cases {
		if i != skip {
			all = append(all, scored{i, eval.Cosine(query, c.Image)})
		}
	}
	slices.SortStableFunc(all, func(a, b scored) int { return cmp.Compare(b.cosine, a.cosine) })
	h := hits{Model: t.Model}
	for _, s := range all[:min(hitsShown, len(all))] {
		h.Films = append(h.Films, hit{t.film(s.i), t.cases[s.i].Class, s.cosine, t.cases[s.i].Class == class})
	}
	return h
}

// film is the first view of a case as a picture of half its size.
func (t *Tables) film(i int) template.URL {
	pixels := t.samples[i].Study.Images[0].Pixels
	const side = 224
	small := image.NewGray(image.Rect(0, 0, side/2, side/2))
	for y := range side / 2 {
		for x := range side / 2 {
			at := 2*y*side + 2*x
			small.Pix[y*side/2+x] = byte((int(pixels[at]) + int(pixels[at+1]) + int(pixels[at+side]) + int(pixels[at+side+1]) + 2) / 4)
		}
	}
	var b bytes.Buffer
	_ = png.Encode(&b, small) // a buffer takes everything
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes()))
}
