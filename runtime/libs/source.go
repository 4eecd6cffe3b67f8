package libs

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"
)

// Source is where a library comes from.
type Source struct {
	// URL is that of a git repository, as git takes it, or of an archive: https or file, ending in .tar.gz, .tgz or .zip.
	URL string
	// Ref is a branch, a tag or a commit; empty: the repository's default branch. An archive has none.
	Ref string
	// Path is the folder of it that is the library; empty: all.
	Path string
}

// String is the source as it is typed.
func (s Source) String() string {
	if s.Ref != "" {
		return s.URL + "@" + s.Ref
	}
	return s.URL
}

// ParseSource reads URL[@REF]. An absolute path is a source, a relative one is
// not: it would mean something else in each folder.
func ParseSource(text, dir string) (Source, error) {
	s := Source{URL: text, Path: strings.Trim(path.Clean("/"+filepath.ToSlash(dir)), "/")}
	at := 0 // where a path begins: before it, an @ belongs to the host
	if i := strings.Index(text, "://"); i >= 0 {
		if at = strings.Index(text[i+3:], "/"); at < 0 {
			return s, fmt.Errorf("got the source %q, want URL[@REF]", text)
		}
		at += i + 3
	} else if i := strings.IndexByte(text, ':'); i >= 0 && !strings.HasPrefix(text, "/") {
		at = i
	}
	if i := strings.LastIndexByte(text, '@'); i > at {
		s.URL, s.Ref = text[:i], text[i+1:]
		if s.Ref == "" {
			return s, fmt.Errorf("got the source %q, want a branch, tag or commit behind @", text)
		}
	}
	return s, s.check()
}

// check refuses what git or we would take for something else.
func (s Source) check() error {
	u := s.URL
	scheme, _, isURL := strings.Cut(u, "://")
	scp := !isURL && !strings.HasPrefix(u, "/") && strings.Contains(u, ":") && !strings.Contains(u, "::")
	switch {
	case strings.HasPrefix(u, "-") || strings.HasPrefix(s.Ref, "-") || strings.ContainsAny(u+s.Ref, "\n\x00"):
		return fmt.Errorf("got the source %q, want URL[@REF]", s)
	case strings.ContainsAny(s.Ref, " ~^:?*[\\") || strings.Contains(s.Ref, ".."):
		return fmt.Errorf("got the ref %q, want a branch, tag or commit", s.Ref)
	case s.Path != "" && !filepath.IsLocal(s.Path):
		return fmt.Errorf("got the path %q, want a folder inside the source", s.Path)
	case s.archive() && s.Ref != "":
		return fmt.Errorf("got the ref %q for an archive, which has none", s.Ref)
	case s.archive() && scheme != "https" && scheme != "file" && !strings.HasPrefix(u, "/"):
		return fmt.Errorf("got the archive %q, want it over https or file", u)
	case isURL:
		for _, ok := range []string{"https", "http", "ssh", "git", "git+ssh", "ssh+git", "file"} {
			if scheme == ok {
				return nil
			}
		}
		return fmt.Errorf("got the source %q, want https, ssh, git or file", u)
	case strings.HasPrefix(u, "/"), scp:
		return nil
	}
	return fmt.Errorf("got the source %q, want a URL such as https://host/x.git, user@host:x.git or an absolute path", u)
}

func (s Source) archive() bool { return archiveKind(s.URL) != "" }

// archiveKind tells the kind of an archive from its name: "tar", "zip" or "".
func archiveKind(u string) string {
	if parsed, err := url.Parse(u); err == nil && parsed.Scheme != "" {
		u = parsed.Path
	}
	switch {
	case strings.HasSuffix(u, ".tar.gz"), strings.HasSuffix(u, ".tgz"):
		return "tar"
	case strings.HasSuffix(u, ".zip"):
		return "zip"
	}
	return ""
}

// resolve gets what a source holds now.
func resolve(ctx context.Context, s Source) (commit string, c content, err error) {
	if err := s.check(); err != nil {
		return "", nil, err
	}
	if s.archive() {
		c, err = fetchArchive(ctx, s)
		return "", c, err
	}
	return fetchGit(ctx, s, "")
}

// fetch gets what was pinned.
func fetch(ctx context.Context, p Pin) (content, error) {
	s := p.From()
	if s.archive() {
		return fetchArchive(ctx, s)
	}
	if p.Commit == "" {
		return nil, errors.New("no commit is pinned")
	}
	_, c, err := fetchGit(ctx, s, p.Commit)
	return c, err
}
