package cli

import (
	"encoding/base64"
	"html/template"
	"os"

	"github.com/radstream/radstream/schemas/fault"
)

// page is the demo's answers with films, as one HTML file that needs nothing else.
type page struct {
	Model     string
	Untrained bool
	Text      string // P@5
	Image     string
	Queries   []pageQuery
}

type pageQuery struct {
	Title string
	Film  template.URL // of an image query; else empty
	Hits  []pageHit
}

type pageHit struct {
	Film       template.URL
	Similarity float32
	Study      string
	Findings   string
	Right      bool
}

// dataURL puts a PNG into the page.
func dataURL(png []byte) template.URL {
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(png))
}

// write renders the page into file.
func (p page) write(file string) error {
	const op = "cli.page"
	f, err := os.Create(file)
	if err != nil {
		return fault.E(op, fault.Usage, err)
	}
	defer f.Close()
	if err := pageTemplate.Execute(f, p); err != nil {
		return fault.E(op, fault.Internal, err)
	}
	return fault.E(op, fault.Internal, f.Sync())
}

var pageTemplate = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Radstream demo</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222; background: #fff }
h2 { margin: 1.6em 0 .4em; font-size: 1.1em }
.row { display: flex; gap: 1em; flex-wrap: wrap; align-items: flex-start }
figure { margin: 0; width: 12em }
img { width: 100%; border: 4px solid #bbb; background: #000 }
.right img { border-color: #2a8f2a }
.wrong img { border-color: #c22 }
figcaption { font-size: .85em; overflow-wrap: anywhere }
.study { color: #888; font-size: .8em }
</style>
<h1>Radstream demo</h1>
<p>Phantom studies, not patients. Nothing here is for diagnosis. Model {{.Model}}{{if .Untrained}}, which is
untrained: similarities mean nothing{{end}}. P@5: text to image {{.Text}}, image to image {{.Image}}.</p>
{{range .Queries}}
<h2>{{.Title}}</h2>
<div class="row">
{{if .Film}}<figure><img src="{{.Film}}" alt="the film asked for"><figcaption>the film asked for</figcaption></figure>{{end}}
{{range .Hits}}<figure class="{{if .Right}}right{{else}}wrong{{end}}"><img src="{{.Film}}" alt="">
<figcaption>{{printf "%.4f" .Similarity}} {{if .Right}}right{{else}}wrong{{end}}: {{.Findings}}<br><span class="study">{{.Study}}</span></figcaption></figure>
{{end}}</div>
{{end}}
</html>
`))
