package deid

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/radstream/radstream/ingest/realdata"
)

// Names that are planted: of the census lists, of none of them, and ordinary words.
var (
	plantedLast = []string{"Smith", "Johnson", "Garcia", "Nguyen", "Patterson", "Fitzgerald", "O'Brien", "McAllister", "Smith-Jones",
		"Okonkwo", "Przybylski", "Nakagawa", "Thistlewood", "Abdurrahmani", "Wijesinghe", "Szczepanik", "Oyelaran", "Vandersloot",
		"Brown", "Young", "Long", "Rivers"}
	plantedFirst = []string{"James", "Mary", "Linda", "Kevin", "Sandra", "Jose", "Aisha", "Wojciech", "Ngozi", "Thandiwe", "Priya", "Xiulan"}
	plantedTowns = []string{"Springfield", "Fort Wayne", "Cedar Rapids", "Muncie", "Terre Haute"}
	plantedHomes = []string{"St. Vincent Hospital", "Methodist Hospital", "Mayo Clinic", "Riverside Medical Center", "Lakeview Imaging Center",
		"Wishard Memorial Hospital", "University of Chicago Hospital", "Cleveland Clinic", "Good Samaritan Hospital", "Kowloon General Hospital"}
)

// plant makes one identifier; tells are the pieces none of which may stay.
type plant struct {
	kind  Kind
	text  string
	tells []string
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

func digits(r *rand.Rand, n int) string {
	s := strconv.Itoa(1 + r.IntN(9))
	for len(s) < n {
		s += strconv.Itoa(r.IntN(10))
	}
	return s
}

// person writes a name in one of several forms.
func person(r *rand.Rand) plant {
	first, last := pick(r, plantedFirst), pick(r, plantedLast)
	text := pick(r, []string{last, first + " " + last, first[:1] + ". " + last, first + " " + string(rune('A'+r.IntN(8))) + ". " + last})
	p := plant{KindName, text, []string{last}}
	if strings.Contains(text, first) {
		p.tells = append(p.tells, first)
	}
	return p
}

func when(r *rand.Rand) plant {
	y, m, d := 1995+r.IntN(30), 1+r.IntN(12), 1+r.IntN(28)
	month := []string{"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"}[m-1]
	text := pick(r, []string{
		fmt.Sprintf("%d/%d/%d", m, d, y), fmt.Sprintf("%02d/%02d/%02d", m, d, y%100), fmt.Sprintf("%d-%02d-%02d", y, m, d),
		fmt.Sprintf("%s %d, %d", month, d, y), fmt.Sprintf("%d %s %d", d, month[:3], y), fmt.Sprintf("%s %d", month, y),
		fmt.Sprintf("%d%02d%02d", y, m, d), fmt.Sprintf("%02d.%02d.%d", d, m, y), strconv.Itoa(y), fmt.Sprintf("%s %dth", month, 4+r.IntN(16)),
		fmt.Sprintf("%02d-%s-%d", d, strings.ToUpper(month[:3]), y),
	})
	return plant{KindDate, text, []string{text}}
}

func clock(r *rand.Rand) plant {
	h, m := 1+r.IntN(12), r.IntN(60)
	text := pick(r, []string{fmt.Sprintf("%d:%02d pm", h, m), fmt.Sprintf("%02d:%02d", h, m), fmt.Sprintf("%d:%02d a.m.", h, m),
		fmt.Sprintf("%02d%02d hours", h+11, m), fmt.Sprintf("%d:%02dPM EST", h, m), fmt.Sprintf("%d am", h)})
	return plant{KindTime, text, []string{text}}
}

func phoneNumber(r *rand.Rand) plant {
	a, b, c := digits(r, 3), digits(r, 3), digits(r, 4)
	text := pick(r, []string{a + "-" + b + "-" + c, "(" + a + ") " + b + "-" + c, a + "." + b + "." + c, "+1 " + a + " " + b + " " + c, b + "-" + c, "1-" + a + "-" + b + "-" + c + " ext. 12"})
	return plant{KindPhone, text, []string{c}}
}

func idNumber(r *rand.Rand) plant {
	n := digits(r, 7)
	text := pick(r, []string{n, digits(r, 3) + "-" + digits(r, 2) + "-" + digits(r, 4), "A" + n, "CR-" + digits(r, 2) + "-" + digits(r, 5), "1.2.840." + digits(r, 6) + ".3.1.4." + digits(r, 5), n + "^^^HOSP^MR"})
	return plant{KindID, text, []string{text}}
}

// template plants by sentences; the verbs %s take what its kinds make.
type template struct {
	text  string
	kinds []Kind
}

// tuned are the templates that the rules were written with, for even studies; measured are
// others, for the odd ones.
var (
	tuned = []template{
		{"Findings were discussed with Dr. %s by telephone at %s on %s.", []Kind{KindName, KindTime, KindDate}},
		{"Results called to %s, MD at %s.", []Kind{KindName, KindTime}},
		{"Electronically signed by: %s, M.D.", []Kind{KindName}},
		{"Compared with %s.", []Kind{KindDate}}, {"Unchanged since %s.", []Kind{KindDate}},
		{"MRN: %s.", []Kind{KindID}}, {"Accession number %s.", []Kind{KindID}},
		{"Call %s with questions.", []Kind{KindPhone}}, {"Fax: %s.", []Kind{KindPhone}},
		{"Mail %s.", []Kind{KindEmail}}, {"See %s.", []Kind{KindURL}},
		{"The patient lives at %s.", []Kind{KindAddress}},
		{"Transferred from %s.", []Kind{KindHospital}},
		{"This is a %s man.", []Kind{KindAge}},
	}
	measured = []template{
		{"The above was conveyed to Dr. %s over the phone on %s, %s.", []Kind{KindName, KindDate, KindTime}},
		{"Critical result: %s, RN, read it back at %s.", []Kind{KindName, KindTime}},
		{"Reviewed and approved by %s, DO.", []Kind{KindName}},
		{"Attending radiologist: %s", []Kind{KindName}},
		{"Dictated by: %s", []Kind{KindName}},
		{"I notified Drs. %s and %s.", []Kind{KindName, KindName}},
		{"Nodule first seen on the study of %s.", []Kind{KindDate}}, {"Prior film dated %s is similar.", []Kind{KindDate}},
		{"Surgery in the interval (%s).", []Kind{KindDate}},
		{"Patient ID %s, please verify.", []Kind{KindID}}, {"Acc# %s.", []Kind{KindID}}, {"Order no. %s was cancelled.", []Kind{KindID}},
		{"The office number is %s.", []Kind{KindPhone}}, {"Paged at %s.", []Kind{KindPhone}}, {"Telephone %s.", []Kind{KindPhone}},
		{"Images were sent to %s today.", []Kind{KindEmail}}, {"A copy is at %s for review.", []Kind{KindURL}},
		{"Home address: %s.", []Kind{KindAddress}}, {"Send films to %s.", []Kind{KindAddress}},
		{"Outside film from %s reviewed.", []Kind{KindHospital}}, {"Seen at %s last week.", []Kind{KindHospital}},
		{"History: %s female with cough.", []Kind{KindAge}}, {"Patient aged %s.", []Kind{KindAge}},
	}
)

func identifier(r *rand.Rand, k Kind) plant {
	switch k {
	case KindName:
		return person(r)
	case KindDate:
		return when(r)
	case KindTime:
		return clock(r)
	case KindPhone:
		return phoneNumber(r)
	case KindID:
		return idNumber(r)
	case KindEmail:
		text := strings.ToLower(pick(r, plantedFirst)) + pick(r, []string{".", "_", ""}) + strings.ToLower(pick(r, plantedLast)) + "@" + pick(r, []string{"example.org", "mail.hospital.edu", "rad-group.com"})
		return plant{k, text, []string{text}}
	case KindURL:
		text := pick(r, []string{"https://pacs.example.org/study?id=", "www.example.com/p/", "http://10.0.0.7/view/"}) + digits(r, 5)
		return plant{k, text, []string{text}}
	case KindAddress:
		street := digits(r, 3) + " " + pick(r, []string{"Main Street", "W. Oak Ave", "North Maple Drive", "Elm St", "Martin Luther King Blvd"})
		town := pick(r, plantedTowns)
		text := pick(r, []string{street, street + ", " + town + ", IN " + digits(r, 5), "PO Box " + digits(r, 4)})
		return plant{k, text, []string{text}}
	case KindHospital:
		text := pick(r, plantedHomes)
		return plant{k, text, []string{text}}
	case KindAge:
		text := strconv.Itoa(90+r.IntN(15)) + pick(r, []string{"-year-old", " year old", " y/o", "yo"})
		return plant{k, text, []string{text}}
	}
	panic("no identifier of kind " + k)
}

// floors are what was measured on the odd studies, rounded down.
var floors = map[Kind]float64{
	KindName: 0.99, KindDate: 0.99, KindTime: 0.99, KindID: 0.99, KindPhone: 0.99, KindEmail: 0.99,
	KindURL: 0.99, KindAddress: 0.99, KindHospital: 0.99, KindAge: 0.99,
}

// TestPlanted plants identifiers into the Indiana reports, which hold none of their own,
// and counts what stays; and counts the words that are taken out of them as they are.
//
// Rules were written looking at even studies and the first list of templates only. The first
// run on the odd ones found 0.992 of the names: "Drs. Okonkwo and Young" kept Young. That was
// mended, so for names the figure is no longer blind. One author wrote rules, templates and
// name lists: real letters will do worse.
func TestPlanted(t *testing.T) {
	reports := indiana(t)
	if reports == nil {
		return
	}
	for _, half := range []struct {
		name      string
		odd       int
		templates []template
	}{{"even, tuned", 0, tuned}, {"odd, measured", 1, measured}} {
		found, planted := map[Kind]int{}, map[Kind]int{}
		missed := map[Kind][]string{}
		words, wrong := 0, 0
		removedWords := map[string]int{}
		for _, rep := range reports {
			if rep.uid%2 != half.odd {
				continue
			}
			_, removed, err := Text(rep.text, Known{})
			if err != nil {
				t.Fatal(err)
			}
			words += len(strings.Fields(rep.text))
			for _, x := range removed {
				wrong += len(strings.Fields(x.Text))
				removedWords[string(x.Kind)+" "+x.Text]++
			}
			r := rand.New(rand.NewPCG(uint64(rep.uid), 5))
			for range 3 {
				tm := pick(r, half.templates)
				var args []any
				var plants []plant
				for _, k := range tm.kinds {
					p := identifier(r, k)
					plants, args = append(plants, p), append(args, p.text)
				}
				sentence := fmt.Sprintf(tm.text, args...)
				if r.IntN(4) == 0 {
					sentence = strings.ToUpper(sentence)
				}
				sentences := strings.SplitAfter(rep.text, ". ")
				sentences = slices.Insert(sentences, r.IntN(len(sentences)+1), "\n"+sentence+"\n")
				clean, _, _ := Text(strings.Join(sentences, ""), Known{})
				for _, p := range plants {
					planted[p.kind]++
					if stays(clean, rep.text, p.tells) {
						missed[p.kind] = append(missed[p.kind], sentence)
					} else {
						found[p.kind]++
					}
				}
			}
		}
		share := float64(wrong) / float64(words)
		t.Logf("%s: %d of %d words taken from reports without identifiers (%.3f %%): %v", half.name, wrong, words, 100*share, most(removedWords, 25))
		for _, k := range Kinds() {
			recall := float64(found[k]) / float64(max(1, planted[k]))
			t.Logf("%s: %-8s %4d of %4d found, recall %.4f", half.name, k, found[k], planted[k], recall)
			for i, s := range missed[k] {
				if half.odd == 0 && i < 12 || half.odd == 1 && os.Getenv("SHOW_MISSED") != "" && i < 12 {
					t.Logf("   missed: %q", s)
				}
			}
			if half.odd == 1 && (recall < floors[k] || planted[k] < 30) {
				t.Errorf("recall of %s is %.4f of %d, below %.2f", k, recall, planted[k], floors[k])
			}
		}
		if share > 0.001 {
			t.Errorf("%.3f %% of the words were removed wrongly", 100*share)
		}
	}
}

// stays reports whether one of tells is in clean as a whole word, and was not in before.
func stays(clean, before string, tells []string) bool {
	for _, tell := range tells {
		tell = strings.ToLower(tell)
		c, b := strings.ToLower(clean), strings.ToLower(before)
		if countWord(c, tell) > countWord(b, tell) {
			return true
		}
	}
	return false
}

func countWord(s, w string) (n int) {
	for i := strings.Index(s, w); i >= 0; {
		end := i + len(w)
		if (i == 0 || !wordByte(s[i-1])) && (end == len(s) || !wordByte(s[end])) {
			n++
		}
		next := strings.Index(s[end:], w)
		if next < 0 {
			break
		}
		i = end + next
	}
	return n
}

func most(count map[string]int, n int) []string {
	var keys []string
	for k := range count {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int { return count[b]*1000 - count[a]*1000 + strings.Compare(a, b) })
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%s x%d", k, count[k])
	}
	return keys[:min(n, len(keys))]
}

type indianaReport struct {
	uid  int
	text string
}

// indiana reads findings and impressions of the Open-i reports.
func indiana(t *testing.T) []indianaReport {
	t.Helper()
	var out []indianaReport
	for _, row := range realdata.Table(t, "indiana/openi_reports.csv") {
		uid, _ := strconv.Atoi(row["uid"])
		out = append(out, indianaReport{uid, row["findings"] + "\n\n" + row["impression"]})
	}
	return out
}
