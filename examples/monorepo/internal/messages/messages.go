// Package messages is what the service says.
package messages

// catalogue is filled by messages_gen.go, which the task messages writes.
var catalogue map[string]string

// Get is the message of a name, or the name.
func Get(name string) string {
	if text, ok := catalogue[name]; ok {
		return text
	}
	return name
}
