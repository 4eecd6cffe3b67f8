package graph

import (
	"fmt"
	"strings"
)

// versionParts is how many numbers of a version count.
const versionParts = 4

// Satisfies reports whether a version such as "v1.26.0" fits a constraint such
// as ">=1.22, <2": operators >= > <= < == (or =) between numbers, all of which
// must hold; a bare number is a least one. What follows the numbers (-rc1, p1)
// does not count. A version that begins with no number fits all; a constraint
// that does not is an error.
func Satisfies(version, constraint string) (bool, error) {
	have, known := parseVersion(version)
	all := true
	for part := range strings.SplitSeq(constraint, ",") {
		part = strings.TrimSpace(part)
		op := ">="
		for _, o := range []string{">=", "<=", "==", "=", ">", "<"} {
			if rest, found := strings.CutPrefix(part, o); found {
				op, part = o, strings.TrimSpace(rest)
				break
			}
		}
		want, valid := parseVersion(part)
		if !valid {
			return false, fmt.Errorf("got %q, want a version such as \">=0.3\" or \">=20, <23\"", constraint)
		}
		c := 0
		for i := range have {
			if c == 0 {
				c = have[i] - want[i]
			}
		}
		fits := map[string]bool{">=": c >= 0, "<=": c <= 0, "==": c == 0, "=": c == 0, ">": c > 0, "<": c < 0}
		all = all && (fits[op] || !known)
	}
	return all, nil
}

// parseVersion reads the numbers that a version begins with.
func parseVersion(s string) (v [versionParts]int, ok bool) {
	s = strings.TrimPrefix(s, "v")
	for i := range v {
		digits := 0
		for digits < len(s) && digits < 9 && s[digits] >= '0' && s[digits] <= '9' {
			v[i] = v[i]*10 + int(s[digits]-'0')
			digits++
		}
		if digits == 0 {
			return v, i > 0
		}
		var more bool
		if s, more = strings.CutPrefix(s[digits:], "."); !more {
			return v, true
		}
	}
	return v, true
}
