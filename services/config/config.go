// Package config is the one configuration of radstream: what every part may be told, with
// its default, unit, range and meaning in one place.
//
//	Default() -> YAML file -> environment RADSTREAM_* -> command-line flags -> Validate -> Config
//
// A later source wins over an earlier one, key by key. A key that is not known is an
// error in a file and a warning in the environment, where others may use the prefix.
// Every source and the whole are checked to the end, so that one run names every fault.
//
// The struct tags of [Config] are the single description: koanf is the key, doc its
// meaning, min, max, oneof and need its range, flag its flag where that is not the key
// with hyphens. Loading, checking, printing ([Print]) and the reference text ([Reference])
// all read them.
package config

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/radstream/radstream/schemas/fault"
)

// Config is the whole configuration. Its zero value is not usable; start with [Default].
type Config struct {
	DataDir  string   `koanf:"data_dir" flag:"data" need:"yes" doc:"folder of everything that is kept: streams, index, keys"`
	Target   []string `koanf:"target" need:"yes" oneof:"ingest,embed,index,query" doc:"stages that run in this process"`
	Insecure bool     `koanf:"insecure" doc:"allow the NATS server and the index of this process to listen on addresses that other machines reach, although nothing authenticates callers of the index"`

	NATS        NATS        `koanf:"nats"`
	Qdrant      Qdrant      `koanf:"qdrant"`
	Query       Query       `koanf:"query"`
	Model       Model       `koanf:"model"`
	ONNXRuntime ONNXRuntime `koanf:"onnxruntime"`
	Ingest      Ingest      `koanf:"ingest"`
	Embed       Embed       `koanf:"embed"`
	Index       Index       `koanf:"index"`
	Tenants     Tenants     `koanf:"tenants"`
	Telemetry   Telemetry   `koanf:"telemetry"`
	Log         Log         `koanf:"log"`
}

// NATS says where the bus is.
type NATS struct {
	URL    string `koanf:"url" doc:"NATS server or servers, such as nats://host:4222, separated by commas; empty runs one in this process"`
	Listen Listen `koanf:"listen" doc:"where the server in this process listens; port 0 takes a free one"`
	Creds  string `koanf:"creds" doc:"credentials file for nats.url; empty for none"`
	Token  Secret `koanf:"token" doc:"token that clients of the server in this process present; needed when it listens beyond loopback"`
}

// Qdrant says where the index is.
type Qdrant struct {
	Address string `koanf:"address" doc:"host:port of a Qdrant server's gRPC; empty runs a compatible exact index in this process"`
	Listen  Listen `koanf:"listen" doc:"where the index in this process listens; port 0 takes a free one"`
	APIKey  Secret `koanf:"api_key" doc:"API key for qdrant.address; empty for none"`
	TLS     bool   `koanf:"tls" doc:"dial qdrant.address with TLS"`
}

// Query is the HTTP API; its limits hold on the bus as well.
type Query struct {
	Listen          Listen        `koanf:"listen" doc:"where the query API listens; port 0 takes a free one, off leaves it out; beyond loopback it needs query.tokens or query.oidc_issuer"`
	Tokens          string        `koanf:"tokens" doc:"file with the sha256 and the tenant of each token that is let in, one a line, as radstream token new prints them; it is read again when it changes"`
	OIDCIssuer      string        `koanf:"oidc_issuer" doc:"URL of the OpenID Connect issuer whose tokens are let in; empty for none"`
	OIDCAudience    string        `koanf:"oidc_audience" doc:"audience that a token of the issuer must be for"`
	OIDCTenantClaim string        `koanf:"oidc_tenant_claim" need:"yes" doc:"claim of such a token that holds the tenant"`
	TLSCert         string        `koanf:"tls_cert" doc:"PEM file with the certificate and its chain; empty serves plain HTTP, for loopback and behind a proxy that terminates TLS"`
	TLSKey          string        `koanf:"tls_key" doc:"PEM file with the key of query.tls_cert"`
	Rate            int           `koanf:"rate" min:"1" max:"100000" doc:"requests a second that one caller may make: a credential, or on the bus a tenant"`
	Burst           int           `koanf:"burst" min:"1" max:"100000" doc:"requests that one caller may make at once"`
	Concurrency     int           `koanf:"concurrency" min:"1" max:"10000" doc:"requests that are answered at the same time, those of all callers together; with credentials one caller may have three quarters of them"`
	Timeout         time.Duration `koanf:"timeout" min:"100ms" max:"10m" doc:"how long one request may take"`
}

// Open reports whether nobody is asked for a credential.
func (q Query) Open() bool { return q.Tokens == "" && q.OIDCIssuer == "" }

// Model says which model embeds.
type Model struct {
	Dir string `koanf:"dir" doc:"folder of a model with its manifest.json; empty takes the one that serves by the registry, at first the built-in model tiny"`
}

// ONNXRuntime is the library that runs models.
type ONNXRuntime struct {
	Library string `koanf:"library" doc:"path of libonnxruntime.so; empty searches the usual places"`
	Threads int    `koanf:"threads" min:"0" max:"1024" doc:"threads of one inference; 0 takes one for each core"`
}

// Ingest makes prepared studies of what arrives.
type Ingest struct {
	Workers        int      `koanf:"workers" min:"0" max:"1024" doc:"objects prepared at the same time; 0 takes one for each core"`
	WindowPolicy   string   `koanf:"window_policy" oneof:"auto,dicom,percentile,fixed" doc:"how stored values become grey: the object's own window (dicom), percentiles of the exposed field, width 1500 level -500 (fixed), or the object's where usable, else percentiles (auto)"`
	QualityGate    string   `koanf:"quality_gate" oneof:"on,off" doc:"whether films are refused that are blank, over- or under-exposed, blurred, inverted, cropped, or no chest by their pixels"`
	BurnedInText   string   `koanf:"burned_in_text" oneof:"remove,remove-with-markers,off" doc:"what becomes of text in the pixels: found, removed and looked for once more, all but laterality and position markers (remove) or those too (remove-with-markers), or not looked for (off)"`
	OCRDir         string   `koanf:"ocr_dir" doc:"folder of the text recognition graphs; empty searches .deps/ocr here, above, and beside the program"`
	AllowedRoots   []string `koanf:"allowed_roots" doc:"absolute folders below which file: references may be read; empty allows none"`
	MaxObjectBytes int      `koanf:"max_object_bytes" min:"1024" max:"1073741824" doc:"largest object that is read, in bytes"`
}

// Embed runs the encoders.
type Embed struct {
	BatchSize     int           `koanf:"batch_size" min:"1" max:"1024" doc:"images, or texts, in one inference at most"`
	Device        string        `koanf:"device" oneof:"auto,cpu,cuda" doc:"where the encoders run: an NVIDIA GPU (cuda, with an onnxruntime.library that was built for it), the CPU, or a GPU where there is one, else the CPU (auto)"`
	Patience      time.Duration `koanf:"patience" min:"1s" max:"1h" doc:"how long one inference may take until the process is no longer ready, queries are refused and the log says so; it recovers when the inference ends"`
	BatchDeadline time.Duration `koanf:"batch_deadline" min:"1ms" max:"1m" doc:"how long the archive's images and texts wait for others to fill a batch; queries do not wait"`
}

// Index writes to the index.
type Index struct {
	BatchSize  int    `koanf:"batch_size" min:"1" max:"10000" doc:"points in one upsert at most"`
	Collection string `koanf:"collection" need:"yes" doc:"alias of the Qdrant collection that is written and searched"`
}

// Tenants are the customers.
type Tenants struct {
	KeysDir string `koanf:"keys_dir" doc:"folder of the tenants' secret keys; empty takes keys in data_dir"`
}

// Telemetry is what operators watch.
type Telemetry struct {
	Listen        Listen `koanf:"listen" doc:"where GET /metrics, /healthz and /readyz are served apart from the query API, for processes without it and for networks where the two must not meet; the query API then serves no /metrics; port 0 takes a free one, off leaves it out"`
	Traces        string `koanf:"traces" doc:"URL of a collector that takes traces by OTLP over HTTP, such as http://127.0.0.1:4318; empty sends none"`
	TracesPercent int    `koanf:"traces_percent" min:"0" max:"100" doc:"how many of the traces that begin here are sent, in percent; who sends a traceparent decides of its own"`
}

// Log is what operators read.
type Log struct {
	Level  string `koanf:"level" oneof:"debug,info,warn,error" doc:"least severe events that are logged"`
	Format string `koanf:"format" oneof:"json,console" doc:"one JSON object a line, or text for a terminal"`
}

// Default returns the configuration of `radstream up` with no arguments: everything in
// this process, on loopback, below ./data.
func Default() Config {
	return Config{
		DataDir:   "./data",
		Telemetry: Telemetry{Listen: off, TracesPercent: 100},
		Target:    []string{"ingest", "embed", "index", "query"},
		NATS:      NATS{Listen: "127.0.0.1:4222"},
		Qdrant:    Qdrant{Listen: "127.0.0.1:6334"},
		Query:     Query{Listen: "127.0.0.1:8080", OIDCTenantClaim: "tenant", Rate: 200, Burst: 400, Concurrency: 64, Timeout: 30 * time.Second},
		Ingest:    Ingest{WindowPolicy: "auto", QualityGate: "on", BurnedInText: "remove", MaxObjectBytes: 128 << 20},
		Embed:     Embed{BatchSize: 4, BatchDeadline: 5 * time.Millisecond, Patience: 30 * time.Second, Device: "auto"},
		Index:     Index{BatchSize: 256, Collection: "studies"},
		Log:       Log{Level: "info", Format: "json"},
	}
}

// KeyDir returns the folder of the tenants' keys.
func (c Config) KeyDir() string {
	if c.Tenants.KeysDir != "" {
		return c.Tenants.KeysDir
	}
	return filepath.Join(c.DataDir, "keys")
}

// Listen is an address to listen on, host:port, or "off".
type Listen string

const off Listen = "off"

// Off reports whether nothing listens.
func (l Listen) Off() bool { return l == off }

// Loopback reports whether only this machine reaches the address.
func (l Listen) Loopback() bool {
	host, _, err := net.SplitHostPort(string(l))
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Open listens on the address over TCP. Errors: Usage, in one line that says why it cannot.
func (l Listen) Open(ctx context.Context) (net.Listener, error) {
	const op = "config.Listen"
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", string(l))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fault.Errorf(op, fault.Usage, "address %s is in use; stop the server there or set another port", l)
	}
	if err != nil {
		return nil, fault.Errorf(op, fault.Usage, "cannot listen on %s: %w", l, err)
	}
	return listener, nil
}

// Secret is text that is never printed, whatever prints it; convert it to string to use
// it. It has no flag, because other users see command lines.
type Secret string

// masked stands in for a secret that is set.
const masked = "********"

// String returns asterisks, or "" for no secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return masked
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText is String, for encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Sources are the places that a configuration is read from.
type Sources struct {
	File    string         // path of a YAML file; empty for none
	Environ []string       // KEY=value, as os.Environ gives them
	Flags   *pflag.FlagSet // with flags of [AddFlags], parsed; nil for none
}

// Load reads every source over [Default] and validates the whole. warnings are for the
// log: they name what was ignored. The error is a [fault.Usage] with one fault a line,
// each starting with its key.
func Load(s Sources) (c Config, warnings []string, err error) {
	const op = "config.Load"
	c = Default()
	var faults []error
	if s.File != "" {
		values, err := readFile(s.File)
		if err != nil {
			return c, nil, fault.E(op, fault.Usage, err)
		}
		faults = append(faults, c.apply(values, s.File)...)
	}
	values, warnings, err := readEnviron(s.Environ)
	if err != nil {
		return c, nil, fault.E(op, fault.Usage, err)
	}
	faults = append(faults, c.apply(values, "environment")...)
	if s.Flags != nil {
		values, err := readFlags(s.Flags)
		if err != nil {
			return c, nil, fault.E(op, fault.Usage, err)
		}
		faults = append(faults, c.apply(values, "command line")...)
	}
	faults = append(faults, c.faults()...)
	if len(faults) > 0 {
		return c, warnings, fault.E(op, fault.Usage, errors.Join(faults...))
	}
	return c, warnings, nil
}

// apply sets the fields that values names by key; from says where they come from.
func (c *Config) apply(values map[string]any, from string) []error {
	var faults []error
	fields := c.fields()
	for _, f := range fields {
		v, ok := values[f.key]
		if !ok {
			continue
		}
		delete(values, f.key)
		if err := f.set(v); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w (%s)", f.key, err, from))
		}
	}
	return append(faults, unknown(values, fields, from)...)
}
