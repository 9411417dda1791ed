package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/radstream/radstream/schemas/fault"
)

// Validate returns a [fault.Usage] that lists everything that is wrong, one fault a line:
// the key, what it has to be, and why.
func (c Config) Validate() error {
	return fault.E("config.Validate", fault.Usage, errors.Join(c.faults()...))
}

func (c Config) faults() []error {
	var faults []error
	for _, f := range c.fields() {
		if err := f.check(); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", f.key, err))
		}
	}
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	for _, l := range []struct {
		key    string
		listen Listen
	}{{"nats.listen", c.NATS.Listen}, {"qdrant.listen", c.Qdrant.Listen}, {"query.listen", c.Query.Listen}} {
		if l.listen.Off() {
			continue
		}
		if why := badHostPort(string(l.listen)); why != "" {
			wrong(true, "%s: %s", l.key, why)
			continue
		}
		if l.key == "query.listen" {
			wrong(!l.listen.Loopback() && c.Query.Open(), "%s: must be on 127.0.0.1, ::1 or localhost, because anybody who reaches it may ask; set query.tokens, or query.oidc_issuer and query.oidc_audience, to tell callers apart", l.key)
			continue
		}
		wrong(!l.listen.Loopback() && !c.Insecure, "%s: must be on 127.0.0.1, ::1 or localhost, because callers are not authenticated yet; insecure: true allows it", l.key)
	}
	if l := c.Telemetry.Listen; !l.Off() {
		why := badHostPort(string(l))
		wrong(why != "", "telemetry.listen: %s", why)
	}
	if u := c.Telemetry.Traces; u != "" {
		at, err := url.Parse(u)
		plain := err == nil && at.Host != "" && (at.Scheme == "http" || at.Scheme == "https") && at.User == nil && at.RawQuery == "" && at.Fragment == ""
		wrong(!plain, "telemetry.traces: must be an http or https URL without credentials and query, such as http://127.0.0.1:4318; a token of the collector goes into OTEL_EXPORTER_OTLP_HEADERS")
	}
	wrong(c.NATS.URL == "" && c.NATS.Listen.Off(), "nats.listen: must not be off without nats.url, because the stages reach the bus through it")
	beyond := badHostPort(string(c.NATS.Listen)) == "" && !c.NATS.Listen.Loopback()
	wrong(c.NATS.URL == "" && beyond && c.NATS.Token == "", "nats.token: must be set when nats.listen is beyond loopback, because the bus carries identifiers")
	wrong(c.Qdrant.Address == "" && c.Qdrant.Listen.Off(), "qdrant.listen: must not be off without qdrant.address, because the stages reach the index through it")
	if c.Qdrant.Address != "" {
		why := badHostPort(c.Qdrant.Address)
		wrong(why != "", "qdrant.address: %s", why)
	}
	wrong(c.Qdrant.APIKey != "" && !c.Qdrant.TLS && c.Qdrant.Address != "" && !Listen(c.Qdrant.Address).Loopback(), "qdrant.tls: must be true with qdrant.api_key, because the key would travel in the clear")
	wrong(c.NATS.Creds != "" && c.NATS.URL == "", "nats.creds: needs nats.url, because the server in this process knows no credentials")
	wrong((c.Query.OIDCIssuer == "") != (c.Query.OIDCAudience == ""), "query.oidc_audience: must be set with query.oidc_issuer, and not without, because an issuer has tokens for others too")
	if u := c.Query.OIDCIssuer; u != "" {
		at, err := url.Parse(u)
		safe := err == nil && at.Host != "" && (at.Scheme == "https" || at.Scheme == "http" && Listen(net.JoinHostPort(at.Hostname(), "0")).Loopback())
		wrong(!safe, "query.oidc_issuer: must be an https URL, because its keys decide who is let in")
	}
	wrong((c.Query.TLSCert == "") != (c.Query.TLSKey == ""), "query.tls_key: must be set with query.tls_cert, and not without")
	for _, root := range c.Ingest.AllowedRoots {
		wrong(!filepath.IsAbs(root), "ingest.allowed_roots: must be absolute paths, because publishers name files absolutely")
		wrong(filepath.Clean(root) == "/", "ingest.allowed_roots: must not be /, because every file could be read")
	}
	return faults
}

// check holds one field against the range in its tags.
func (f field) check() error {
	if f.tag.Get("need") != "" && f.value.Len() == 0 {
		return errors.New("must not be empty")
	}
	oneof := f.tag.Get("oneof")
	switch v := f.value.Interface().(type) {
	case string:
		if oneof != "" && !slices.Contains(strings.Split(oneof, ","), v) {
			return fmt.Errorf("must be one of %s", oneof)
		}
	case []string:
		for _, e := range v {
			if oneof != "" && !slices.Contains(strings.Split(oneof, ","), e) {
				return fmt.Errorf("each must be one of %s", oneof)
			}
		}
	case int:
		least, err1 := strconv.Atoi(f.tag.Get("min"))
		most, err2 := strconv.Atoi(f.tag.Get("max"))
		return f.between(v < least || v > most, err1, err2)
	case time.Duration:
		least, err1 := time.ParseDuration(f.tag.Get("min"))
		most, err2 := time.ParseDuration(f.tag.Get("max"))
		return f.between(v < least || v > most, err1, err2)
	}
	return nil
}

func (f field) between(outside bool, tagErrors ...error) error {
	if err := errors.Join(tagErrors...); err != nil {
		return fmt.Errorf("has no range: %w", err)
	}
	if outside {
		return fmt.Errorf("must be %s to %s", f.tag.Get("min"), f.tag.Get("max"))
	}
	return nil
}

// badHostPort says what is wrong with an address, or "".
func badHostPort(s string) string {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return "must be host:port, such as 127.0.0.1:8080"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "must end in a port from 0 to 65535"
	}
	return ""
}
