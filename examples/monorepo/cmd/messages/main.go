// Command messages writes the Go source of a message catalogue: messages FROM.json TO.go.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/format"
	"log"
	"maps"
	"os"
	"slices"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: messages FROM.json TO.go")
	}
	if err := generate(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func generate(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var all map[string]string
	if err := json.Unmarshal(text, &all); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "// Code generated from %s. DO NOT EDIT.\n\npackage messages\n\nfunc init() {\ncatalogue = map[string]string{\n", from)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%q: %q,\n", name, all[name])
	}
	b.WriteString("}\n}\n")
	source, err := format.Source(b.Bytes())
	if err != nil {
		return err
	}
	return os.WriteFile(to, source, 0o644)
}
