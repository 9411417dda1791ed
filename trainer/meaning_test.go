package trainer

import "testing"

func TestMeaning(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"Small left pleural effusion.", "There is a large left-sided pleural effusion.", true},
		{"Possible pleural effusion, left.", "Left pleural effusion.", true},
		{"Right pulmonary nodule of 12 mm.", "A 1.4 cm right pulmonary nodule.", true},
		{"Left pleural effusion.", "Right pleural effusion.", false},
		{"No pneumothorax.", "Pneumothorax.", false},
		{"No pneumothorax is seen.", "There is no evidence of pneumothorax.", true},
		{"Pleural effusion.", "Pulmonary edema.", false},
		{"Blunting of the left costophrenic angle.", "Small left pleural effusion.", true},
		{"Pneumonia in the right lung.", "Focal airspace opacity in the right lung, smaller than before.", true},
		{"The heart is normal in size.", "No cardiomegaly.", true},
		{"The heart is normal in size.", "Mild cardiomegaly.", false},
		{"Bibasilar atelectasis.", "Bilateral linear atelectasis.", true},
		{"The trachea is midline.", "There is a tracheostomy tube.", false},
	} {
		if same := meaning(c.a) == meaning(c.b); same != c.same {
			t.Errorf("%q and %q: same %t, want %t (%q, %q)", c.a, c.b, same, c.same, meaning(c.a), meaning(c.b))
		}
	}
}
