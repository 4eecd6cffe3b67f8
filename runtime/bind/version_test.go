package bind

import "testing"

func TestVersionIn(t *testing.T) {
	for text, want := range map[string]string{
		"v20.11.0\n": "20.11.0",
		"psql (PostgreSQL) 15.8 (Debian 15.8-0+deb12)":  "15.8",
		"go version go1.26.0 linux/amd64":               "1.26.0",
		"Redis server v=7.0.15 sha=00000000:0":          "7.0.15",
		"bzip2, a block-sorting file compressor. 1.0.8": "1.0.8",
		"less 590 (GNU regular expressions)":            "590",
		"systemd 252 (252.22-1)":                        "252.22",
		"k6 v0.49.0":                                    "0.49.0",
		"nosuch2 v7":                                    "7",
		"none":                                          "",
		"":                                              "",
		"1.":                                            "1",
	} {
		if got := versionIn(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
