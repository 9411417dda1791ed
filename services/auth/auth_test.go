package auth

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/radstream/radstream/schemas/event"
	"github.com/radstream/radstream/schemas/fault"
)

func newToken(t *testing.T, tenant event.Tenant) (token, line string) {
	t.Helper()
	token, line, err := NewToken(tenant, "a gateway")
	if err != nil {
		t.Fatal(err)
	}
	return token, line
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTokens: a token is let in as its tenant while its line is in the file, and no longer.
func TestTokens(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	north, lineN := newToken(t, "north")
	south, lineS := newToken(t, "south")
	write(t, file, "# who may ask\n\n"+lineN+"\n"+strings.ToUpper(lineS[:64])+lineS[64:]+"\n")
	var told []error
	tokens, err := OpenTokens(file, func(err error) { told = append(told, err) })
	if err != nil {
		t.Fatal(err)
	}
	a := New(tokens, nil)
	check := func(token string, want event.Tenant) {
		t.Helper()
		tokens.checked = time.Time{} // a second has passed
		c, err := a.Authenticate(t.Context(), "Bearer "+token)
		if want == "" && (fault.ReasonOf(err) != ReasonUnauthenticated || strings.Contains(err.Error(), token)) || want != "" && (err != nil || c.Tenant != want || c.ID == "" || strings.Contains(c.ID, token)) {
			t.Errorf("%+v, %v; want %q", c, err, want)
		}
	}
	check(north, "north")
	check(south, "south")
	other, _ := newToken(t, "north")
	check(other, "")
	for _, header := range []string{"", "Bearer", "Bearer ", north, "Basic " + north, "Bearer x", "Bearer " + strings.Repeat("x", maxToken+1)} {
		if _, err := a.Authenticate(t.Context(), header); fault.ReasonOf(err) != ReasonUnauthenticated {
			t.Errorf("%.20q: %v", header, err)
		}
	}
	write(t, file, lineS+"\n") // taken back
	check(north, "")
	check(south, "south")
	write(t, file, lineS+"\nnorth\n") // a slip lets nobody in, and is told once
	check(south, "")
	check(south, "")
	if len(told) != 1 || !strings.Contains(told[0].Error(), "line 2") {
		t.Errorf("told %v", told)
	}
	write(t, file, "# mended\n"+lineS+"\n")
	check(south, "south")
	// Read in vain, and then again with the size and the time that it had: a folder takes its place
	// for a while, since nothing else refuses root.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 20 { // so that its size is that of a file with a token
		write(t, filepath.Join(file, fmt.Sprint("entry ", i)), "")
	}
	hour := time.Now().Truncate(time.Hour)
	if err := os.Chtimes(file, hour, hour); err != nil {
		t.Fatal(err)
	}
	folder, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	check(south, "")
	if err := os.RemoveAll(file); err != nil {
		t.Fatal(err)
	}
	write(t, file, lineS+"\n#"+strings.Repeat("x", int(folder.Size())-len(lineS)-2))
	if err := os.Chtimes(file, hour, hour); err != nil {
		t.Fatal(err)
	}
	check(south, "south")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	check(south, "")
	check(south, "")
	if len(told) != 3 {
		t.Errorf("told %v", told)
	}
}

func TestTokensFile(t *testing.T) {
	_, line := newToken(t, "north")
	for name, text := range map[string]string{
		"no hash": "north", "short hash": "abcd north", "no tenant": line[:64], "bad tenant": line[:64] + " North!", "twice": line + "\n" + line,
		"long line": strings.Repeat("x", 100_000), "long": strings.Repeat("# x\n", 300_000),
	} {
		file := filepath.Join(t.TempDir(), "tokens")
		write(t, file, text)
		if _, err := OpenTokens(file, nil); fault.KindOf(err) != fault.Usage || strings.Contains(err.Error(), "North!") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := OpenTokens(filepath.Join(t.TempDir(), "none"), nil); fault.KindOf(err) != fault.Usage {
		t.Error(err)
	}
	if _, _, err := NewToken("No Tenant", ""); err == nil {
		t.Error("a tenant of a wrong form")
	}
	if _, _, err := NewToken("north", "two\nlines"); err == nil {
		t.Error("a note that is a line of its own")
	}
}

// issuer is an OpenID Connect provider of one key.
type issuer struct {
	*httptest.Server
	key  *rsa.PrivateKey
	down bool
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{}
	var err error
	if i.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case i.down:
			w.WriteHeader(http.StatusBadGateway)
		case r.URL.Path == "/.well-known/openid-configuration":
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"id_token_signing_alg_values_supported":["RS256"]}`, i.URL, i.URL+"/keys")
		default:
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(), KeyID: "1", Algorithm: "RS256", Use: "sig"}}})
		}
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) sign(t *testing.T, key *rsa.PrivateKey, claims map[string]any) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{"iss": i.URL, "aud": "radstream", "sub": "somebody", "exp": time.Now().Add(time.Hour).Unix(), "hospital": "north"}
	for k, v := range claims {
		all[k] = v
	}
	token, err := jwt.Signed(s).Claims(all).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestOIDC(t *testing.T) {
	i := newIssuer(t)
	foreign, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	a := New(nil, NewOIDC(i.URL, "radstream", "hospital"))
	i.down = true
	if _, err := a.Authenticate(t.Context(), "Bearer "+i.sign(t, i.key, nil)); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("without the issuer: %v", err)
	}
	i.down = false
	for name, c := range map[string]struct {
		token  string
		reason fault.Reason
	}{
		"good":             {i.sign(t, i.key, nil), ""},
		"several":          {i.sign(t, i.key, map[string]any{"aud": []string{"other", "radstream"}}), ""},
		"another key":      {i.sign(t, foreign, nil), ReasonUnauthenticated},
		"another audience": {i.sign(t, i.key, map[string]any{"aud": "other"}), ReasonUnauthenticated},
		"another issuer":   {i.sign(t, i.key, map[string]any{"iss": "https://other.example"}), ReasonUnauthenticated},
		"expired":          {i.sign(t, i.key, map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), ReasonUnauthenticated},
		"no tenant":        {i.sign(t, i.key, map[string]any{"hospital": nil}), ReasonForbidden},
		"several tenants":  {i.sign(t, i.key, map[string]any{"hospital": []string{"north", "south"}}), ReasonForbidden},
		"bad tenant":       {i.sign(t, i.key, map[string]any{"hospital": "*"}), ReasonForbidden},
		"unsigned":         {"eyJhbGciOiJub25lIn0." + strings.Split(i.sign(t, i.key, nil), ".")[1] + ".", ReasonUnauthenticated},
		"nonsense":         {"a.b.c", ReasonUnauthenticated},
		"one of ours":      {"rs_abc", ReasonUnauthenticated},
	} {
		got, err := a.Authenticate(t.Context(), "bearer "+c.token)
		if fault.ReasonOf(err) != c.reason || c.reason == "" && (err != nil || got.Tenant != "north") {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// TestLimiter: a caller that asks too often waits, others do not, and idle ones are forgotten.
func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(2, 3)
		for range 3 {
			if _, ok := l.Allow("a"); !ok {
				t.Fatal("within the burst")
			}
		}
		wait, ok := l.Allow("a")
		if ok || wait <= 0 || wait > 500*time.Millisecond {
			t.Errorf("after the burst: %v, %v", wait, ok)
		}
		if _, ok := l.Allow("b"); !ok {
			t.Error("another caller waits too")
		}
		time.Sleep(wait)
		if _, ok := l.Allow("a"); !ok {
			t.Error("after the wait")
		}
		time.Sleep(time.Minute)
		for i := range 3 * maxBuckets {
			l.Allow(fmt.Sprint(i))
			time.Sleep(time.Second)
		}
		if len(l.buckets) > maxBuckets {
			t.Errorf("%d callers are remembered", len(l.buckets))
		}
	})
}
