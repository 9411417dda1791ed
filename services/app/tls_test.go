package app

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/radstream/radstream/schemas/fault"
	"github.com/radstream/radstream/services/config"
	"github.com/radstream/radstream/services/query"
)

// selfSigned writes a certificate for 127.0.0.1 that nobody but itself vouches for, and its key,
// to dir. The pool trusts it.
func selfSigned(t *testing.T, dir, name string) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "radstream"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name, kind string, der []byte) (path string, text []byte) {
		path, text = filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path, text
	}
	cert, text := file(name+".crt", "CERTIFICATE", der)
	key, _ = file(name+".key", "PRIVATE KEY", secret)
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return cert, key, pool
}

// TestTLS: with a certificate the query API answers those who trust it, over TLS 1.2 or later,
// and nobody else.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key, trusted := selfSigned(t, dir, "query")
	_, _, foreign := selfSigned(t, dir, "foreign")
	var log bytes.Buffer
	s := start(t, t.TempDir(), &log, func(c *config.Config) { c.Query.TLSCert, c.Query.TLSKey = cert, key })
	get := func(scheme string, c *tls.Config) (*http.Response, []byte, error) {
		t.Helper()
		client := http.Client{Transport: &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}, Timeout: patience}
		r, err := client.Get(scheme + "://" + s.Addresses().Query + "/v1/status")
		if err != nil {
			return nil, nil, err
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r, body, nil
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		r, body, err := get("https", &tls.Config{RootCAs: trusted, MaxVersion: version})
		var status query.Status
		if err != nil || r.StatusCode != http.StatusOK || json.Unmarshal(body, &status) != nil || status.Version != "test" || r.TLS.Version != version {
			t.Errorf("%s, who trusts it: %v, %s", tls.VersionName(version), err, body)
		}
	}
	if _, body, err := get("https", &tls.Config{RootCAs: foreign}); !errors.As(err, new(x509.UnknownAuthorityError)) {
		t.Errorf("who does not trust it: %v, %s", err, body)
	}
	if _, body, err := get("https", &tls.Config{RootCAs: trusted, ServerName: "other.example"}); !errors.As(err, new(x509.HostnameError)) {
		t.Errorf("under another name: %v, %s", err, body)
	}
	if _, body, err := get("https", &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil || !strings.Contains(err.Error(), "protocol version not supported") {
		t.Errorf("TLS 1.1: %v, %s", err, body)
	}
	if r, body, err := get("http", nil); err != nil || r.StatusCode != http.StatusBadRequest || strings.Contains(string(body), "{") {
		t.Errorf("in the clear: %v, %s", err, body)
	}

	// What a handshake failed of is in the log, and in its form.
	s.stop(t)
	failed := 0
	for line := range strings.Lines(log.String()) {
		var l struct{ Level, Message string }
		if err := json.Unmarshal([]byte(line), &l); err == nil && l.Level == "warn" && strings.Contains(l.Message, "TLS handshake error") {
			failed++
		}
	}
	if failed != 4 {
		t.Errorf("%d handshakes that failed are in the log, of 4", failed)
	}
}

// TestTLSFiles: files that cannot be used keep the App from starting, with one line that names them.
func TestTLSFiles(t *testing.T) {
	dir := t.TempDir()
	cert, key, _ := selfSigned(t, dir, "query")
	otherCert, otherKey, _ := selfSigned(t, dir, "other")
	text, missing := filepath.Join(dir, "text"), filepath.Join(dir, "missing")
	if err := os.WriteFile(text, []byte("no PEM\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ cert, key, why string }{
		"key of another certificate": {cert, otherKey, "does not match"},
		"certificate of another key": {otherCert, key, "does not match"},
		"certificate for a key":      {cert, cert, "certificate"},
		"text for a key":             {cert, text, "key input"},
		"text for a certificate":     {text, key, "certificate input"},
		"no such key":                {cert, missing, "no such file"},
		"no such certificate":        {missing, key, "no such file"},
	} {
		_, err := secure(config.Query{TLSCert: c.cert, TLSKey: c.key})
		if d := fault.Detail(err); fault.KindOf(err) != fault.Usage || !strings.Contains(d, c.cert) || !strings.Contains(d, c.key) || !strings.Contains(d, c.why) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	conf := config.Default()
	conf.DataDir = t.TempDir()
	conf.NATS.Listen, conf.Qdrant.Listen, conf.Query.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	conf.Query.TLSCert, conf.Query.TLSKey = cert, otherKey
	a, err := Start(t.Context(), conf, Options{Version: "test", Log: zerolog.Nop()})
	if err == nil {
		a.Stop()
		t.Fatalf("with the key of another certificate it started, and ended with %v", a.Wait())
	}
	if fault.KindOf(err) != fault.Usage || !strings.Contains(fault.Detail(err), otherKey) {
		t.Error(err)
	}
}
