package graph

// Problem is something wrong with the declarations.
type Problem struct {
	Code    string    // short and stable: "unknown-node", "cycle" ...
	Pos     Pos       // of the declaration
	Stack   []Frame   // the calls below it
	Node    string    // name of the declaration, or ""
	Field   string    // the argument that holds the mistake, or ""
	Message string    // what is wrong: "got X, want Y" or "cannot ..."
	Hint    string    // what to do, or ""
	Related []Related // other places that have to do with it

	order int // index of the declaration, for sorting
}

// Related is a further place of a Problem.
type Related struct {
	Pos     Pos    `json:"pos"`
	Message string `json:"message"`
}
