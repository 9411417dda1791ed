package hl7

import (
	"encoding/hex"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/radstream/radstream/ingest/report"
)

// unescape resolves the escape sequences of HL7 v2 chapter 2.7 in s:
//
//	\F\ \S\ \T\ \R\ \E\   the separators themselves; \P\ the truncation character
//	\Xdd..\               bytes: UTF-8 if they can be, else Latin-1
//	\.br\ \.ce\ \.sp<n>\  line ends; \.sk<n>\ blanks
//	\.in\ \.ti\ \.fi\ \.nf\ \H\ \N\ \Zxx\   layout and local codes: nothing
//	\Cxxyy\ \Mxxyyzz\     other character sets: U+FFFD, so that the gap is seen
//
// Anything else between two escape characters stays as sent.
func unescape(s string, sep separators) string {
	at := strings.IndexByte(s, sep.escape)
	if at < 0 {
		return s
	}
	var b strings.Builder
	for at >= 0 {
		b.WriteString(s[:at])
		s = s[at+1:]
		at = strings.IndexByte(s, sep.escape)
		if at < 0 {
			b.WriteByte(sep.escape)
			break
		}
		with, ok := resolve(s[:at], sep)
		if !ok {
			b.WriteByte(sep.escape) // a lone one; the next may begin a sequence
			continue
		}
		b.WriteString(with)
		s = s[at+1:]
		at = strings.IndexByte(s, sep.escape)
	}
	b.WriteString(s)
	return b.String()
}

// resolve returns what the sequence between two escape characters stands for.
func resolve(code string, sep separators) (string, bool) {
	switch code {
	case "F":
		return string(rune(sep.field)), true
	case "S":
		return string(rune(sep.component)), true
	case "T":
		if sep.sub == 0 {
			return "&", true
		}
		return string(rune(sep.sub)), true
	case "R":
		return string(rune(sep.repetition)), true
	case "E":
		return string(rune(sep.escape)), true
	case "P":
		return "#", true
	case "H", "N":
		return "", true
	case "":
		return "", false
	}
	rest := code[1:]
	switch code[0] {
	case 'X':
		raw, err := hex.DecodeString(rest)
		if err != nil || len(raw) == 0 {
			return "", false
		}
		if utf8.Valid(raw) {
			return string(raw), true
		}
		return report.Latin1(raw), true
	case 'Z':
		return "", plain(rest)
	case 'C', 'M':
		_, err := hex.DecodeString(rest)
		return "\ufffd", err == nil && (len(rest) == 4 || len(rest) == 6)
	case '.':
		return layout(rest)
	}
	return "", false
}

// layout resolves the formatting commands of FT (HL7 v2 chapter 2.7.6).
func layout(command string) (string, bool) {
	if len(command) < 2 {
		return "", false
	}
	n := 1
	if arg := strings.TrimSpace(command[2:]); arg != "" {
		v, err := strconv.Atoi(arg)
		if err != nil {
			return "", false
		}
		n = min(max(v, 1), 16)
	}
	switch strings.ToLower(command[:2]) {
	case "br", "ce":
		return "\n", true
	case "sp":
		return strings.Repeat("\n", n), true
	case "sk":
		return strings.Repeat(" ", n), true
	case "in", "ti", "fi", "nf":
		return "", true
	}
	return "", false
}

// plain reports whether s could be a local code: letters and digits, a few.
func plain(s string) bool {
	for _, c := range []byte(s) {
		if !alphanumeric(c) {
			return false
		}
	}
	return len(s) <= 16
}
