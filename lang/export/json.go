package export

import (
	"encoding/json"
	"io"

	"orrery/lang/graph"
)

// plan writes the documented JSON of the graph (graph.Graph.MarshalJSON),
// indented. Brackets and ampersands stay as they are: people read it too.
func plan(w io.Writer, g *graph.Graph, _ int) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(g)
}
