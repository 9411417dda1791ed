package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

const (
	envPrefix    = "RADSTREAM_"
	maxFileBytes = 1 << 20
)

// field is one leaf of a Config.
type field struct {
	key   string // as in YAML, sections joined by a point
	value reflect.Value
	tag   reflect.StructTag
}

// fields lists the leaves of c in the order of declaration; setting one sets c.
func (c *Config) fields() []field {
	return leaves(reflect.ValueOf(c).Elem(), "")
}

func leaves(v reflect.Value, prefix string) []field {
	var fs []field
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		key := prefix + sf.Tag.Get("koanf")
		if sf.Type.Kind() == reflect.Struct {
			fs = append(fs, leaves(v.Field(i), key+".")...)
			continue
		}
		fs = append(fs, field{key, v.Field(i), sf.Tag})
	}
	return fs
}

func (f field) env() string { return envPrefix + strings.ToUpper(strings.ReplaceAll(f.key, ".", "_")) }

// flag is the name of the field's flag, empty when it has none.
func (f field) flag() string {
	if _, secret := f.value.Interface().(Secret); secret {
		return ""
	}
	if name := f.tag.Get("flag"); name != "" {
		return name
	}
	return strings.NewReplacer(".", "-", "_", "-").Replace(f.key)
}

// set stores v, which came from YAML (any scalar or list) or as a string from the
// environment or a flag.
func (f field) set(v any) error {
	text, isText := v.(string)
	switch p := f.value.Addr().Interface().(type) {
	case *string:
		if !isText {
			return errors.New("wants text; put it in quotes")
		}
		*p = text
	case *Secret:
		if !isText {
			return errors.New("wants text; put it in quotes")
		}
		*p = Secret(text)
	case *Listen:
		if n, ok := v.(int); ok && n == 0 || isText && (text == "0" || strings.EqualFold(text, string(off))) {
			*p = off
			return nil
		}
		if !isText {
			return errors.New("wants host:port in quotes, or off")
		}
		*p = Listen(text)
	case *bool:
		b, ok := v.(bool)
		if isText {
			var err error
			b, err = strconv.ParseBool(text)
			ok = err == nil
		}
		if !ok {
			return errors.New("wants true or false")
		}
		*p = b
	case *int:
		n, ok := v.(int)
		if isText {
			var err error
			n, err = strconv.Atoi(text)
			ok = err == nil
		}
		if !ok {
			return errors.New("wants a whole number")
		}
		*p = n
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return errors.New("wants a number with a unit, such as 200ms or 2s")
		}
		*p = d
	case *[]string:
		list, err := textList(v)
		if err != nil {
			return err
		}
		*p = list
	default:
		return fmt.Errorf("has type %T, which nothing can set", p)
	}
	return nil
}

// textList reads a YAML list of text, or text separated by commas.
func textList(v any) ([]string, error) {
	switch v := v.(type) {
	case string:
		var list []string
		for _, s := range strings.Split(v, ",") {
			if s = strings.TrimSpace(s); s != "" {
				list = append(list, s)
			}
		}
		return list, nil
	case []any:
		var list []string
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, errors.New("wants a list of text")
			}
			list = append(list, s)
		}
		return list, nil
	}
	return nil, errors.New("wants a list of text")
}

// unknown names the keys that are left over, in order. A section without content is none.
func unknown(values map[string]any, fields []field, from string) []error {
	var faults []error
	for _, key := range sortedKeys(values) {
		isSection := slices.ContainsFunc(fields, func(f field) bool { return strings.HasPrefix(f.key, key+".") })
		switch v := values[key].(type) {
		case nil:
			if isSection {
				continue
			}
		case map[string]any:
			if isSection && len(v) == 0 {
				continue
			}
		}
		if isSection {
			faults = append(faults, fmt.Errorf("%s: is a section and wants keys below it (%s)", key, from))
		} else {
			faults = append(faults, fmt.Errorf("%s: no such key (%s)", key, from))
		}
	}
	return faults
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// readFile returns the values of a YAML file by key.
func readFile(path string) (map[string]any, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFileBytes || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: a configuration is a file of at most %d bytes", path, maxFileBytes)
	}
	k := koanf.New(".")
	if err := k.Load(file.Provider(path), oneDocument{yaml.Parser()}); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k.All(), nil
}

// oneDocument refuses a file of several YAML documents, of which the parser reads the first alone.
type oneDocument struct{ *yaml.YAML }

// Unmarshal implements koanf.Parser.
func (d oneDocument) Unmarshal(data []byte) (map[string]any, error) {
	begun := false
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, " \t\r\n")
		mark := line == "---" || strings.HasPrefix(line, "--- ")
		if mark && begun {
			return nil, errors.New("holds more than one YAML document")
		}
		begun = begun || line != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "%") // comments and directives
	}
	return d.YAML.Unmarshal(data)
}

// readEnviron returns the values of environment variables by key, and warnings for
// variables with our prefix that no key has.
func readEnviron(environ []string) (map[string]any, []string, error) {
	keys := map[string]string{}
	c := Default()
	for _, f := range c.fields() {
		keys[f.env()] = f.key
	}
	// The data folder of tests, and where the command looks for its file.
	others := []string{envPrefix + "DATA", envPrefix + "CONFIG"}
	var warnings []string
	k := koanf.New(".")
	err := k.Load(env.Provider(".", env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			key := keys[name]
			if key == "" && !slices.Contains(others, name) {
				warnings = append(warnings, name+": no such variable; it is ignored")
			}
			return key, value
		},
	}), nil)
	return k.All(), warnings, err
}

// AddFlags adds a flag for each of keys to fs, for all when there are none; secrets
// have none. Their defaults are those of [Default]; only flags that were
// given count in [Load].
func AddFlags(fs *pflag.FlagSet, keys ...string) error {
	c := Default()
	for _, key := range keys {
		if !slices.ContainsFunc(c.fields(), func(f field) bool { return f.key == key }) {
			return fmt.Errorf("config.AddFlags: no key is named %s", key)
		}
	}
	for _, f := range c.fields() {
		if f.flag() == "" || len(keys) > 0 && !slices.Contains(keys, f.key) {
			continue
		}
		usage := f.tag.Get("doc")
		switch p := f.value.Addr().Interface().(type) {
		case *bool:
			fs.Bool(f.flag(), *p, usage)
		case *[]string:
			fs.StringSlice(f.flag(), *p, usage)
		default:
			fs.String(f.flag(), fmt.Sprint(f.value.Interface()), usage)
		}
	}
	return nil
}

// readFlags returns the values of the flags that were given, by key.
func readFlags(fs *pflag.FlagSet) (map[string]any, error) {
	keys := map[string]string{}
	c := Default()
	for _, f := range c.fields() {
		keys[f.flag()] = f.key
	}
	k := koanf.New(".")
	err := k.Load(posflag.ProviderWithFlag(fs, ".", nil, func(f *pflag.Flag) (string, any) {
		if list, ok := f.Value.(pflag.SliceValue); ok {
			return keys[f.Name], strings.Join(list.GetSlice(), ",")
		}
		return keys[f.Name], f.Value.String()
	}), nil)
	return k.All(), err
}
