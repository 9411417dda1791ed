package config

import (
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Print writes c as YAML with secrets masked. With onlyChanged it writes only what
// differs from [Default]: what an operator has decided.
func Print(w io.Writer, c Config, onlyChanged bool) error {
	var b strings.Builder
	section := ""
	for _, f := range c.shown(onlyChanged) {
		section = f.heading(&b, section)
		b.WriteString(f.line())
	}
	if b.Len() == 0 {
		b.WriteString("# all defaults\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Values returns what [Print] writes, sections as maps within: for JSON, where durations are text.
func Values(c Config, onlyChanged bool) map[string]any {
	out := map[string]any{}
	for _, f := range c.shown(onlyChanged) {
		in := out
		section, name, nested := strings.Cut(f.key, ".")
		if !nested {
			name = section
		} else if in, nested = out[section].(map[string]any); !nested {
			in = map[string]any{}
			out[section] = in
		}
		in[name] = f.value.Interface()
		if v, ok := in[name].(fmt.Stringer); ok { // a secret, masked, or a duration
			in[name] = v.String()
		}
	}
	return out
}

// shown lists the fields, or those that differ from Default.
func (c *Config) shown(onlyChanged bool) []field {
	standard := Default()
	var out []field
	for i, f := range standard.fields() {
		if mine := c.fields()[i]; !onlyChanged || !reflect.DeepEqual(mine.value.Interface(), f.value.Interface()) {
			out = append(out, mine)
		}
	}
	return out
}

// Reference returns every key with its default, range, variable, flag and meaning, as a
// YAML file that changes nothing: a template to edit.
func Reference() string {
	var b strings.Builder
	b.WriteString("# Every setting of radstream with its default. A file wins over the defaults, the\n" +
		"# environment over the file, a flag over the environment. Unknown keys are errors.\n")
	section := ""
	c := Default()
	for _, f := range c.fields() {
		b.WriteString("\n")
		section = f.heading(&b, section)
		indent := f.indent()
		for _, line := range wrap(capitalised(f.tag.Get("doc"))+".", 88-len(indent)) {
			b.WriteString(indent + "# " + line + "\n")
		}
		fmt.Fprintf(&b, "%s# %s. %s", indent, f.describeRange(), f.env())
		if f.flag() != "" {
			b.WriteString(", --" + f.flag())
		}
		b.WriteString("\n")
		b.WriteString(f.line())
	}
	return b.String()
}

// heading opens the field's section when it is not the open one.
func (f field) heading(b *strings.Builder, open string) string {
	section, _, nested := strings.Cut(f.key, ".")
	if nested && section != open {
		b.WriteString(section + ":\n")
		return section
	}
	return open
}

func (f field) indent() string { return strings.Repeat("  ", strings.Count(f.key, ".")) }

// line is "key: value" in YAML.
func (f field) line() string {
	name := f.key[strings.LastIndexByte(f.key, '.')+1:]
	return f.indent() + name + ": " + f.text() + "\n"
}

// text writes the value as a YAML scalar or list; secrets are masked.
func (f field) text() string {
	switch v := f.value.Interface().(type) {
	case string:
		return strconv.Quote(v)
	case Listen:
		return strconv.Quote(string(v))
	case Secret:
		return strconv.Quote(v.String())
	case []string:
		quoted := make([]string, len(v))
		for i, s := range v {
			quoted[i] = strconv.Quote(s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	default:
		return fmt.Sprint(v) // numbers, durations and booleans are plain
	}
}

func (f field) describeRange() string {
	min, max, oneof := f.tag.Get("min"), f.tag.Get("max"), f.tag.Get("oneof")
	switch f.value.Interface().(type) {
	case bool:
		return "true or false"
	case Listen:
		return "host:port or off"
	case []string:
		if oneof != "" {
			return "List of " + strings.ReplaceAll(oneof, ",", ", ")
		}
		return "List of text"
	case int:
		return "Number, " + min + " to " + max
	case time.Duration:
		return "Duration, " + min + " to " + max
	}
	if oneof != "" {
		return "One of " + strings.ReplaceAll(oneof, ",", ", ")
	}
	return "Text"
}

func capitalised(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// wrap breaks s into lines of at most width bytes where words allow.
func wrap(s string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
