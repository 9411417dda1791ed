package fhir

import (
	"html"
	"strings"
)

// htmlText returns the text of XHTML or of the HTML of a report: blocks become lines,
// paragraphs and headings get a blank line before them, items of a list a dash, cells of a table
// a blank between.
// Outside of pre, white space is one blank. Scripts, styles, comments and what was struck out are
// left out; what a tag that is never closed strikes out ends with its line. A "<" that begins no tag is
// itself.
func htmlText(s string) string {
	w := htmlWriter{}
	pre := 0
	last := strings.LastIndexByte(s, '>')
	s, tail := s[:last+1], s[last+1:] // no tag ends in the tail
	strikes := findStrikes(s)
	end := -1         // the bytes of s that follow what is struck out
	unclosed := false // the rest of the line is struck out
	for s != "" {
		at := strings.IndexByte(s, '<')
		if at < 0 {
			at = len(s)
		}
		if end < 0 && !unclosed {
			w.text(html.UnescapeString(s[:at]), pre > 0)
		}
		if s = s[at:]; s == "" {
			break
		}
		var name string
		closing := false
		here := len(s)
		name, closing, s = cutTag(s)
		if end >= 0 {
			if len(s) <= end {
				end = -1
			}
			continue
		}
		if to, ok := strikes[here]; ok {
			end, unclosed = to, unclosed || to < 0
			continue
		}
		switch name {
		case "<":
			if !unclosed {
				w.text("<", pre > 0)
			}
		case "br":
			w.newlines++
			unclosed = false
		case "p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "caption", "paragraph", "list":
			w.breakLines(2)
			unclosed = false
		case "pre":
			w.breakLines(2)
			unclosed = false
			if closing {
				pre = max(pre-1, 0)
			} else {
				pre++
			}
		case "div", "tr", "li", "dt", "dd", "section", "article", "header", "footer", "hr", "item", "title", "body":
			w.breakLines(1)
			unclosed = false
			if name == "li" || name == "item" {
				w.item = !closing
			}
		case "td", "th":
			w.space = true
			unclosed = false
		case "script", "style", "head":
			if !closing {
				s = skipTo(s, "</"+name)
			}
		}
	}
	if !unclosed {
		w.text(html.UnescapeString(tail), pre > 0)
	}
	return strings.TrimSpace(w.b.String())
}

// findStrikes finds the tags of s that strike out their content, in HTML or in C-CDA. Of each it
// returns, by the bytes that are left of s where it begins, those that are left behind its closing tag,
// or -1 where it has none.
func findStrikes(s string) map[int]int {
	strikes := map[int]int{}
	open := map[string][]int{} // by name
	for {
		at := strings.IndexByte(s, '<')
		if at < 0 {
			return strikes
		}
		s = s[at:]
		name, closing, rest := cutTag(s)
		tag := s[:len(s)-len(rest)]
		switch name {
		case "del", "s", "strike", "content":
			before := open[name]
			switch {
			case strings.HasSuffix(tag, "/>"): // it has no content
			case !closing:
				open[name] = append(before, len(s))
				if name != "content" || strings.Contains(tag, `revised="delete"`) || strings.Contains(tag, `revised='delete'`) {
					strikes[len(s)] = -1
				}
			case len(before) > 0:
				opening := before[len(before)-1]
				open[name] = before[:len(before)-1]
				if _, ok := strikes[opening]; ok {
					strikes[opening] = len(rest)
				}
			}
		case "script", "style", "head":
			if !closing {
				rest = skipTo(rest, "</"+name)
			}
		}
		s = rest
	}
}

// htmlWriter collects text and holds back the white space until more text comes.
type htmlWriter struct {
	b        strings.Builder
	newlines int
	space    bool
	item     bool // the text that comes is that of a list item
}

func (w *htmlWriter) breakLines(n int) { w.newlines = max(w.newlines, n) }

func (w *htmlWriter) text(s string, pre bool) {
	if pre {
		for i, line := range strings.Split(s, "\n") {
			if i > 0 {
				w.newlines++
			}
			if line = strings.TrimRight(line, " \t\r"); line != "" {
				w.word(line)
			}
		}
		return
	}
	for i, word := range strings.Fields(s) {
		w.space = w.space || i > 0 || strings.IndexAny(s[:1], " \t\r\n\u00a0") == 0
		w.word(word)
	}
	w.space = w.space || s != "" && strings.ContainsAny(s[len(s)-1:], " \t\r\n")
}

func (w *htmlWriter) word(s string) {
	if w.b.Len() > 0 {
		switch {
		case w.newlines > 0:
			w.b.WriteString(strings.Repeat("\n", min(w.newlines, 2)))
		case w.space:
			w.b.WriteByte(' ')
		}
	}
	if w.item {
		w.b.WriteString("- ")
	}
	w.newlines, w.space, w.item = 0, false, false
	w.b.WriteString(s)
}

// cutTag cuts the tag that s begins with. The name is in lower case, without a namespace;
// it is "" for comments and declarations, and "<" when s begins with no tag.
func cutTag(s string) (name string, closing bool, rest string) {
	if strings.HasPrefix(s, "<!--") {
		return "", false, strings.TrimPrefix(skipTo(s, "-->"), "-->")
	}
	body := s[1:]
	if closing = strings.HasPrefix(body, "/"); closing {
		body = body[1:]
	}
	if body == "" || !(body[0]|0x20 >= 'a' && body[0]|0x20 <= 'z' || body[0] == '!' || body[0] == '?') {
		return "<", false, s[1:]
	}
	end := tagEnd(body)
	if end < 0 {
		return "<", false, s[1:]
	}
	name = strings.ToLower(body[:min(end, 32)])
	if at := strings.IndexAny(name, " \t\r\n/>"); at >= 0 {
		name = name[:at]
	}
	if colon := strings.LastIndexByte(name, ':'); colon >= 0 {
		name = name[colon+1:]
	}
	return name, closing, body[end+1:]
}

// tagEnd returns where the ">" of a tag is that is not quoted. Quotes are minded for the
// length of an ordinary tag only, so that one without its other half costs little.
func tagEnd(s string) int {
	quote := byte(0)
	for i := range min(len(s), 256) {
		switch c := s[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			return i
		}
	}
	return strings.IndexByte(s, '>')
}

// skipTo returns s from the next mark on, in any case, or "".
func skipTo(s, mark string) string {
	for at := range len(s) - len(mark) + 1 {
		if strings.EqualFold(s[at:at+len(mark)], mark) {
			return s[at:]
		}
	}
	return ""
}
