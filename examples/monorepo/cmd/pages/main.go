// Command pages turns Markdown into HTML: pages FROM-FOLDER TO-FOLDER. It knows headings, paragraphs, lists and `code`.
package main

import (
	"fmt"
	"html"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: pages FROM-FOLDER TO-FOLDER")
	}
	if err := convert(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func convert(from, to string) error {
	names, err := filepath.Glob(filepath.Join(from, "*.md"))
	if err != nil {
		return err
	}
	if err := os.RemoveAll(to); err != nil { // pages whose source is gone
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		page := strings.TrimSuffix(filepath.Base(name), ".md") + ".html"
		if err := os.WriteFile(filepath.Join(to, page), []byte(htmlOf(string(text))), 0o644); err != nil {
			return err
		}
	}
	return nil
}

var code = regexp.MustCompile("`([^`]*)`")

// htmlOf is the HTML of one file.
func htmlOf(text string) string {
	var b strings.Builder
	b.WriteString("<!doctype html>\n<meta charset=utf-8>\n")
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		line := code.ReplaceAllString(html.EscapeString(strings.TrimSpace(block)), "<code>$1</code>")
		switch rest, heading := strings.CutPrefix(line, "# "); {
		case heading:
			fmt.Fprintf(&b, "<h1>%s</h1>\n", rest)
		case strings.HasPrefix(line, "- "):
			fmt.Fprintf(&b, "<ul><li>%s</ul>\n", strings.ReplaceAll(line[2:], "\n- ", "\n<li>"))
		default:
			fmt.Fprintf(&b, "<p>%s</p>\n", line)
		}
	}
	return b.String()
}
