package libs

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// fetchTime bounds the download of an archive.
const fetchTime = 2 * time.Minute

// fetchArchive reads an archive over https or from a file.
func fetchArchive(ctx context.Context, s Source) (content, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	var text []byte
	var err error
	if strings.HasPrefix(s.URL, "https://") {
		text, err = download(ctx, http.DefaultClient, s.URL)
	} else {
		text, err = readArchive(s.URL)
	}
	if err != nil {
		return nil, err
	}
	return unpack(archiveKind(s.URL), text, s.Path)
}

func readArchive(name string) ([]byte, error) {
	if u, err := url.Parse(name); err == nil && u.Scheme == "file" {
		name = u.Path
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return bounded(f, maxTotal)
}

func bounded(r io.Reader, most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(b)) > most {
		err = tooLarge()
	}
	return b, err
}

// download follows redirects to https only.
func download(ctx context.Context, c *http.Client, from string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	safe := *c
	safe.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if req.URL.Scheme != "https" || len(via) > 10 {
			return fmt.Errorf("it leads on to %s, want https", req.URL.Redacted())
		}
		return nil
	}
	resp, err := safe.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("got status %s", resp.Status)
	}
	return bounded(resp.Body, maxTotal)
}

// unpack reads an archive into memory. The one folder that holds all of it, as
// forges make it, is left out.
func unpack(kind string, text []byte, dir string) (content, error) {
	c := content{}
	var err error
	if kind == "zip" {
		err = c.unzip(text)
	} else {
		err = c.untar(text)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot unpack it: %w", err)
	}
	if err := c.shape(); err != nil {
		return nil, err
	}
	if top := c.top(); top != "" {
		if c, err = c.below(top); err != nil {
			return nil, err
		}
	}
	return c.below(dir)
}

// top is the folder that holds everything, or "".
func (c content) top() string {
	top := ""
	for name := range c {
		first, _, nested := strings.Cut(name, "/")
		if !nested || top != "" && first != top {
			return ""
		}
		top = first
	}
	return top
}

func (c content) untar(text []byte) error {
	z, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return err
	}
	defer z.Close()
	in, left := tar.NewReader(z), int64(maxTotal)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var e entry
		switch h.Typeflag {
		case tar.TypeDir, tar.TypeXGlobalHeader:
			continue
		case tar.TypeSymlink:
			e.target = h.Linkname
		case tar.TypeReg:
			if e.data, err = bounded(in, min(maxFile, left)); err != nil {
				return err
			}
			left -= int64(len(e.data))
		default:
			return fmt.Errorf("got %q, which is no file, folder or symbolic link", h.Name)
		}
		if err := c.add(h.Name, e); err != nil {
			return err
		}
	}
}

func (c content) unzip(text []byte) error {
	in, err := zip.NewReader(bytes.NewReader(text), int64(len(text)))
	if err != nil {
		return err
	}
	left := int64(maxTotal)
	for _, f := range in.File {
		mode := f.Mode()
		if mode.IsDir() {
			continue
		}
		if !mode.IsRegular() && mode.Type() != fs.ModeSymlink {
			return fmt.Errorf("got %q, which is no file, folder or symbolic link", f.Name)
		}
		r, err := f.Open()
		if err != nil {
			return err
		}
		data, err := bounded(r, min(maxFile, left))
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
		left -= int64(len(data))
		e := entry{data: data}
		if mode.Type() == fs.ModeSymlink {
			e = entry{target: string(data)}
		}
		if err := c.add(f.Name, e); err != nil {
			return err
		}
	}
	return nil
}
