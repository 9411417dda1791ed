package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/radstream/radstream/embedder/tokenizer"
	"github.com/radstream/radstream/ingest"
	"github.com/radstream/radstream/ingest/phantom"
	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/app"
	"github.com/radstream/radstream/services/bus"
	"github.com/radstream/radstream/services/config"
	"github.com/radstream/radstream/services/publish"
	"github.com/radstream/radstream/services/query"
)

// The demo fails when the trained model answers worse than this; a hit is right when it
// truly shows what was asked for.
const (
	textFloor  = 0.3
	imageFloor = 0.3
)

// demoMark lies in the demo's folder and says that the demo may empty it.
const demoMark = ".radstream-demo"

func (c *cli) demo() *cobra.Command {
	d := demo{cli: c, phantoms: phantom.Defaults()}
	d.phantoms.Broken = 7
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Make phantom studies, run everything on them, print answers",
		Long: `Make phantom studies, some broken on purpose, publish them to a radstream inside this
process, and print what came of them: each broken one with its reason, text and image
queries, the label scores of one study, counts and times. It exits 0 only if every
expected study was found by its own id and by each of its own films, and if enough of the
first five hits are right. Everything lies in one folder, which is emptied first.`,
		Example: `  radstream demo
  radstream demo --stay      # and go on at the usual addresses, for your own queries`,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&d.dir, "dir", "demo", "folder for studies and data; emptied first")
	cmd.Flags().IntVar(&d.phantoms.Studies, "studies", d.phantoms.Studies, "how many studies")
	cmd.Flags().Uint64Var(&d.phantoms.Seed, "seed", d.phantoms.Seed, "another seed gives other patients")
	cmd.Flags().BoolVar(&d.stay, "stay", false, "stay up at the usual addresses until interrupted")
	return cmd
}

// demo is one run of the command.
type demo struct {
	*cli
	dir      string
	stay     bool
	phantoms phantom.Config

	app    *app.App
	bus    *bus.Bus
	client *query.Client
	truth  map[event.StudyUID]phantom.Truth
	order  []event.StudyUID // of the studies that are not broken

	preparer    *ingest.Preparer // for pictures
	text, image precision
	page        page
}

func (d *demo) run(ctx context.Context) (err error) {
	if d.phantoms.Studies <= d.phantoms.Broken {
		return fault.Errorf("", fault.Usage, "--studies must be more than the %d that are broken on purpose", d.phantoms.Broken)
	}
	if err := d.empty(); err != nil {
		return err
	}
	start := time.Now()
	studies := filepath.Join(d.dir, "studies")
	if _, err := d.makePhantoms(ctx, studies, d.phantoms); err != nil {
		return err
	}
	if err := d.readTruth(studies); err != nil {
		return err
	}
	made := time.Since(start)
	if err := d.start(ctx); err != nil {
		return err
	}
	defer func() {
		d.app.Stop()
		err = errors.Join(err, d.app.Wait())
	}()
	tok, err := tokenizer.BERTBaseCased()
	if err != nil {
		return err
	}
	if d.preparer, err = ingest.New(ingest.Default(), tok); err != nil {
		return err
	}
	d.client = query.NewClient(d.app.Addresses().Query, "")
	status, err := d.client.Status(ctx)
	if err != nil {
		return err
	}
	d.say("%d phantom studies, %d of them broken on purpose, made in %.1f s. Nothing here is for diagnosis.", d.phantoms.Studies, d.phantoms.Broken, made.Seconds())
	if status.Untrained {
		d.say("The model %s is UNTRAINED: its weights are random. A film finds its own study, which shows\nthat the machinery works; texts and scores mean nothing until a trained model is there.", status.Model)
	}
	conf := bus.DefaultConfig()
	conf.URL = d.app.Addresses().NATS
	if d.bus, err = bus.Connect(ctx, conf, zerolog.Nop()); err != nil {
		return err
	}
	defer d.bus.Close()

	summary, err := d.publishFolder(ctx, studies)
	if err != nil {
		return err
	}
	stages := d.app.StageTimes()
	wrong := d.reportRejections(summary)
	if err := d.queries(ctx); err != nil {
		return err
	}
	lost, err := d.findEach(ctx)
	if err != nil {
		return err
	}
	latency, err := d.oneMore(ctx)
	if err != nil {
		return err
	}
	d.section("Counts")
	d.say("%d published = %d indexed + %d rejected", summary.Published, summary.Indexed, summary.Rejected)
	d.section("Time of each stage")
	d.printTimes(made, summary, stages)
	d.say("publish to searchable, one more study with nothing else going on: %.0f ms", float64(latency)/float64(time.Millisecond))
	if err := d.writePage(status); err != nil {
		return err
	}
	switch {
	case summary.Published != summary.Indexed+summary.Rejected || summary.Published != d.phantoms.Studies:
		return fault.Errorf("", fault.Internal, "%d studies were made, but %d published, %d indexed, %d rejected", d.phantoms.Studies, summary.Published, summary.Indexed, summary.Rejected)
	case wrong > 0:
		return fault.Errorf("", fault.Internal, "%d studies were rejected that should not have been, or the other way round", wrong)
	case lost > 0:
		return fault.Errorf("", fault.Internal, "%d searches did not find the study that they came from", lost)
	case !status.Untrained && (d.text.mean() < textFloor || d.image.mean() < imageFloor):
		return fault.Errorf("", fault.Internal, "P@5 is below its floor of %.2f for texts or %.2f for films", textFloor, imageFloor)
	}
	if d.stay {
		return d.remain(ctx)
	}
	return nil
}

// writePage prints how good the answers were and writes them down with films.
func (d *demo) writePage(status query.Status) error {
	d.section("How good the answers are")
	d.say("P@5 of texts: %s (floor %.2f)\nP@5 of films: %s (floor %.2f)", &d.text, textFloor, &d.image, imageFloor)
	d.page.Model, d.page.Untrained, d.page.Text, d.page.Image = status.Model, status.Untrained, d.text.String(), d.image.String()
	file := filepath.Join(d.dir, "answers.html")
	if err := d.page.write(file); err != nil {
		return err
	}
	d.say("the hits with their films: %s", file)
	return nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.Stdout, format+"\n", args...) }

func (d *demo) section(title string) {
	fmt.Fprintf(d.Stdout, "\n%s\n%s\n", title, strings.Repeat("-", len(title)))
}

// empty removes what an earlier demo left, and nothing else.
func (d *demo) empty() error {
	const op = "cli.demo"
	entries, err := os.ReadDir(d.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.E(op, fault.Usage, err)
	}
	mark := filepath.Join(d.dir, demoMark)
	if _, err := os.Stat(mark); err != nil && len(entries) > 0 {
		return fault.Errorf(op, fault.Usage, "%s holds files that no demo wrote: name another folder with --dir", d.dir)
	}
	if err := os.RemoveAll(d.dir); err != nil {
		return fault.E(op, fault.Usage, err)
	}
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return fault.E(op, fault.Usage, err)
	}
	return fault.E(op, fault.Usage, os.WriteFile(mark, []byte("radstream demo may empty this folder\n"), 0o644))
}

func (d *demo) readTruth(studies string) error {
	data, err := os.ReadFile(filepath.Join(studies, "truth.json"))
	if err != nil {
		return fault.E("cli.demo", fault.Internal, err)
	}
	var list []phantom.Truth
	if err := json.Unmarshal(data, &list); err != nil {
		return fault.E("cli.demo", fault.Internal, err)
	}
	d.truth = map[event.StudyUID]phantom.Truth{}
	for _, t := range list {
		uid := event.StudyUID(t.StudyUID)
		d.truth[uid] = t
		if t.Broken == "" {
			d.order = append(d.order, uid)
		}
	}
	return nil
}

func (d *demo) start(ctx context.Context) (err error) {
	conf := config.Default()
	conf.DataDir = filepath.Join(d.dir, "data")
	conf.Log.Level = "error"
	if !d.stay { // free ports, so that a demo never meets another server
		conf.NATS.Listen, conf.Qdrant.Listen, conf.Query.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	}
	d.app, err = app.Start(ctx, conf, app.Options{Version: d.Version, Log: d.logger(conf.Log)})
	return err
}

func (d *demo) publishFolder(ctx context.Context, dir string) (publish.Summary, error) {
	plan, err := publish.Scan(ctx, []string{dir})
	if err != nil {
		return publish.Summary{}, err
	}
	return d.runPlan(ctx, d.bus, plan, publish.Config{Tenant: event.DefaultTenant, Wait: true})
}

// reportRejections prints every rejection and counts those that do not fit the truth.
func (d *demo) reportRejections(s publish.Summary) (wrong int) {
	d.section("Broken on purpose, and what became of each")
	broken := map[string]phantom.BrokenKind{}
	for _, t := range d.truth {
		if t.Broken != "" {
			broken[filepath.Join(d.dir, "studies", t.Folder, t.BrokenObject)] = t.Broken
		}
	}
	w := tabwriter.NewWriter(d.Stdout, 0, 0, 2, ' ', 0)
	for _, r := range s.Rejections {
		kind, expected := broken[r.Path]
		delete(broken, r.Path)
		if !expected {
			wrong++
			kind = "NOT BROKEN"
		}
		fmt.Fprintf(w, "%s\t%s\t%s: %s\n", r.Path, kind, r.Reason, r.Detail)
	}
	for path, kind := range broken {
		wrong++
		fmt.Fprintf(w, "%s\t%s\tNOT REJECTED\n", path, kind)
	}
	w.Flush()
	return wrong
}

// queries prints five texts, a film and the scores of a study.
func (d *demo) queries(ctx context.Context) error {
	d.section("Five texts, the five best studies of each")
	for _, q := range demoTexts {
		r, err := d.client.Search(ctx, query.Request{Text: q.text, K: depth})
		if err != nil {
			return err
		}
		right := func(h query.Hit) bool { return shows(d.truth[h.Study], q.kind) }
		d.text.add(r.Hits, right)
		d.say("%q", q.text)
		if err := d.show(ctx, pageQuery{Title: q.text}, r.Hits, right); err != nil {
			return err
		}
	}
	uid := d.order[len(d.order)/2]
	t := d.truth[uid]
	film := d.film(t, 0)
	d.section("One film, of a study that shows: " + findings(t))
	r, err := d.searchFilm(ctx, film, depth+1)
	if err != nil {
		return err
	}
	asked := pageQuery{Title: "A film that shows: " + findings(t)}
	if asked.Film, err = d.picture(ctx, film); err != nil {
		return err
	}
	d.say("%s", film)
	if err := d.show(ctx, asked, others(r.Hits, uid), func(h query.Hit) bool { return alike(t, d.truth[h.Study]) }); err != nil {
		return err
	}
	d.section(fmt.Sprintf("Label scores of study %s, which shows: %s", uid, findings(t)))
	labels, err := d.client.Labels(ctx, event.DefaultTenant, uid)
	if err != nil {
		return err
	}
	d.printLabels(labels)
	return nil
}

// film is the path of object n of a study.
func (d *demo) film(t phantom.Truth, n int) string {
	return filepath.Join(d.dir, "studies", t.Folder, t.Objects[n])
}

func (d *demo) searchFilm(ctx context.Context, film string, k int) (query.Response, error) {
	data, err := readBounded(film, query.MaxImage)
	if err != nil {
		return query.Response{}, err
	}
	return d.client.Search(ctx, query.Request{Image: data, K: k})
}

// others leaves out the study that was asked for.
func others(hits []query.Hit, uid event.StudyUID) []query.Hit {
	return slices.DeleteFunc(slices.Clone(hits), func(h query.Hit) bool { return h.Study == uid })
}

// show prints the hits of a query, right or wrong, and puts them on the page.
func (d *demo) show(ctx context.Context, q pageQuery, hits []query.Hit, right func(query.Hit) bool) error {
	for _, h := range hits {
		t := d.truth[h.Study]
		mark := "wrong"
		if right(h) {
			mark = "right"
		}
		d.say("  %.4f  %s  %s  %s", h.Similarity, mark, h.Study, findings(t))
		picture, err := d.picture(ctx, d.film(t, 0))
		if err != nil {
			return err
		}
		q.Hits = append(q.Hits, pageHit{picture, h.Similarity, string(h.Study), findings(t), right(h)})
	}
	d.page.Queries = append(d.page.Queries, q)
	return nil
}

// picture returns a film as the model sees it.
func (d *demo) picture(ctx context.Context, film string) (template.URL, error) {
	data, err := readBounded(film, query.MaxImage)
	if err != nil {
		return "", err
	}
	v, err := d.preparer.View(ctx, ingest.Object{Data: data})
	return dataURL(v.GetPng()), err
}

// findEach looks for every study by its id and by each of its films, and counts the
// searches whose best hit is another study, or is not the same film. What else a film
// finds is judged.
func (d *demo) findEach(ctx context.Context) (lost int, err error) {
	d.section("Every study by its own id, and by each of its own films")
	films := 0
	check := func(how string, uid event.StudyUID, r query.Response) {
		if len(r.Hits) == 0 || r.Hits[0].Study != uid || r.Hits[0].Similarity < 0.999 {
			lost++
			d.say("  NOT FOUND by %s: %s", how, uid)
		}
	}
	for _, uid := range d.order {
		t := d.truth[uid]
		r, err := d.client.Search(ctx, query.Request{Study: uid, K: 1})
		if err != nil {
			return lost, err
		}
		check("id", uid, r)
		for n, object := range t.Objects {
			films++
			r, err := d.searchFilm(ctx, d.film(t, n), depth+1)
			if err != nil {
				return lost, err
			}
			check(object, uid, r)
			d.image.add(others(r.Hits, uid), func(h query.Hit) bool { return alike(t, d.truth[h.Study]) })
		}
	}
	d.say("%d studies and %d films searched for, %d not found", len(d.order), films, lost)
	return lost, nil
}

// oneMore publishes a single study and returns the time until it can be found.
func (d *demo) oneMore(ctx context.Context) (time.Duration, error) {
	conf := d.phantoms
	conf.Studies, conf.Seed, conf.Broken, conf.PriorShare = 1, conf.Seed+1, 0, 0
	dir := filepath.Join(d.dir, "one-more")
	if _, err := phantom.Write(ctx, dir, conf, nil); err != nil {
		return 0, err
	}
	plan, err := publish.Scan(ctx, []string{dir})
	if err != nil {
		return 0, err
	}
	store, err := d.objects(ctx, d.bus)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	s, err := publish.New(d.bus, store, publish.Config{Tenant: event.DefaultTenant, Wait: true}).Run(ctx, plan)
	took := time.Since(start)
	if err == nil && s.Indexed != 1 {
		err = fault.Errorf("cli.demo", fault.Internal, "the one more study was not indexed")
	}
	return took, err
}

func (d *demo) printTimes(made time.Duration, s publish.Summary, stages []app.StageTime) {
	w := tabwriter.NewWriter(d.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, n int, took time.Duration) {
		fmt.Fprintf(w, "%s\t%d studies\t%.2f s\t%.1f ms each\t\n", name, n, took.Seconds(), took.Seconds()*1000/float64(max(n, 1)))
	}
	row("phantoms made", d.phantoms.Studies, made)
	for _, st := range stages {
		row(st.Name, st.Inputs, st.Busy)
	}
	row("publish until searchable, all", s.Published, time.Duration(s.Seconds*float64(time.Second)))
	w.Flush()
}

// remain keeps everything up until the user interrupts.
func (d *demo) remain(ctx context.Context) error {
	uid := d.order[0]
	film := d.film(d.truth[uid], 0)
	d.section("It stays up. In another terminal")
	d.say("  bin/radstream search --text \"left pleural effusion\"\n  bin/radstream search --image %s\n  bin/radstream labels --study %s\n  bin/radstream status\n  bin/radstream publish /path/to/your/studies --wait\nStop it with Ctrl-C.", film, uid)
	<-ctx.Done()
	return nil
}
