package task

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ValuesVar is the variable that names the file to which a task writes its values.
const ValuesVar = "ORRERY_VALUES"

// maxValues bounds that file, in bytes.
const maxValues = 1 << 20

// valuesFile is the file of one try; nil if the task declares no values.
type valuesFile struct{ path string }

func newValuesFile(j *Job) (*valuesFile, error) {
	if len(j.Values) == 0 {
		return nil, nil
	}
	f, err := os.CreateTemp("", "orrery-values-*")
	if err != nil {
		return nil, fmt.Errorf("cannot make the file for values: %w", err)
	}
	v := &valuesFile{f.Name()}
	if err := errors.Join(give(f, j.User, j.Group), f.Close()); err != nil {
		v.remove()
		return nil, fmt.Errorf("cannot make the file for values: %w", err)
	}
	return v, nil
}

func (v *valuesFile) env() []string {
	if v == nil {
		return nil
	}
	return []string{ValuesVar + "=" + v.path}
}

// paths is the file in a list that is empty without one.
func (v *valuesFile) paths() []string {
	if v == nil {
		return nil
	}
	return []string{v.path}
}

func (v *valuesFile) remove() {
	if v != nil {
		os.Remove(v.path)
	}
}

// read gives the declared values; a missing one, or one that is not declared, is an error that names it.
func (v *valuesFile) read(declared []string) (map[string]string, error) {
	if v == nil {
		return nil, nil
	}
	f, err := os.Open(v.path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the values: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxValues+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the values: %w", err)
	}
	if len(text) > maxValues {
		return nil, fmt.Errorf("wrote more than %d bytes of values; hand over a file as an output instead", maxValues)
	}
	values, err := parseValues(text)
	if err != nil {
		return nil, fmt.Errorf("$%s, line %w", ValuesVar, err)
	}
	var errs []error
	for _, name := range declared {
		if _, ok := values[name]; !ok {
			errs = append(errs, fmt.Errorf("declared value %s was not written to $%s", name, ValuesVar))
		}
	}
	var extra []string
	for name := range values {
		if !slices.Contains(declared, name) {
			extra = append(extra, name)
		}
	}
	slices.Sort(extra)
	for _, name := range extra {
		errs = append(errs, fmt.Errorf("wrote the value %s, which it does not declare; add it to values", name))
	}
	return values, errors.Join(errs...)
}

// parseValues reads what a task wrote. A line name=value gives the bytes after the first = up to the end of the line,
// exactly. For a value that holds newlines:
//
//	name<<END
//	first line
//	last line
//	END
//
// with any word for END; the value has no newline at its end. Of several values with one name the last counts; empty lines
// between entries do not. An error begins with the line's number.
func parseValues(text []byte) (map[string]string, error) {
	values := map[string]string{}
	lines := strings.Split(string(text), "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		if line == "" {
			continue
		}
		at := i + 1
		eq, doc := strings.Index(line, "="), strings.Index(line, "<<")
		if eq < 0 && doc < 0 {
			return nil, fmt.Errorf("%d: got %q, want name=value", at, line[:min(len(line), 60)])
		}
		name, value := "", ""
		if doc >= 0 && (eq < 0 || doc < eq) {
			end := slices.Index(lines[i+1:], line[doc+2:])
			if end < 0 || line[doc+2:] == "" {
				return nil, fmt.Errorf("%d: want a line with %q alone after the value", at, line[doc+2:])
			}
			name, value = line[:doc], strings.Join(lines[i+1:i+1+end], "\n")
			i += end + 1
		} else {
			name, value = line[:eq], line[eq+1:]
		}
		if !validValue(name) {
			return nil, fmt.Errorf("%d: got %q, want the name of a value: letters, digits, _ . -", at, name)
		}
		if strings.IndexByte(value, 0) >= 0 {
			return nil, fmt.Errorf("%d: the value %s holds a NUL byte, which no program can be given", at, name)
		}
		values[name] = value
	}
	return values, nil
}

func validValue(name string) bool {
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '.', c == '-':
		default:
			return false
		}
	}
	return name != ""
}

// memo is the form of a Memo file: bytes, as values need not be UTF-8.
type memo map[string][]byte

// remember keeps values for runs that are skipped.
func (j *Job) remember(values map[string]string) error {
	if j.Memo == "" || len(j.Values) == 0 {
		return nil
	}
	m := memo{}
	for k, v := range values {
		m[k] = []byte(v)
	}
	text, err := json.Marshal(m)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(j.Memo), 0o700)
	}
	if err == nil {
		err = replace(j.Memo, text)
	}
	if err != nil {
		return fmt.Errorf("cannot keep the values: %w", err)
	}
	return nil
}

// replace writes a file by a rename.
func replace(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// recall gives the values of the last success; ok is false when a declared one is not known.
func (j *Job) recall() (values map[string]string, ok bool) {
	if len(j.Values) == 0 {
		return nil, true
	}
	text, err := os.ReadFile(j.Memo)
	if err != nil {
		return nil, false
	}
	var m memo
	if json.Unmarshal(text, &m) != nil {
		return nil, false
	}
	values = map[string]string{}
	for _, name := range j.Values {
		v, known := m[name]
		if !known {
			return nil, false
		}
		values[name] = string(v)
	}
	return values, true
}
