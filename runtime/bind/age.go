package bind

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"

	"orrery/lang/graph"
)

// maxIdentity bounds a file of identities.
const maxIdentity = 1 << 20

// keyring is what the places of identities held.
type keyring struct {
	ids   []age.Identity
	tried []string // each place, and what was there; never what it holds
	to    string   // arguments for age that encrypt to one of them, or ""
}

// decryptAge decrypts a file of age in memory. Nothing asks for a passphrase.
func (b *Binding) decryptAge(s *graph.Secret) ([]byte, error) {
	k := b.identities(s)
	text, err := readLimited(b.abs(s.Age), 2*maxSecret)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no file %s; write it: %s", s.Age, k.howTo(s.Age))
	}
	if err != nil {
		return nil, err
	}
	if len(text) > 2*maxSecret {
		return nil, fmt.Errorf("%s: got more than %d bytes", s.Age, 2*maxSecret)
	}
	var in io.Reader = bytes.NewReader(text)
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte(armor.Header)) {
		in = armor.NewReader(in)
	}
	if len(k.ids) == 0 {
		return nil, fmt.Errorf("cannot decrypt %s: found no identity; looked at %s; name one in identities or ORRERY_AGE_IDENTITY", s.Age, strings.Join(k.tried, ", "))
	}
	out, err := age.Decrypt(bufio.NewReader(in), k.ids...)
	var none *age.NoIdentityMatchError
	switch {
	case errors.As(err, &none) && bytes.Contains(head64(text), []byte("\n-> scrypt ")):
		return nil, fmt.Errorf("cannot decrypt %s: it is encrypted with a passphrase, which nothing asks for; encrypt it to a key: %s", s.Age, k.howTo(s.Age))
	case errors.As(err, &none):
		return nil, fmt.Errorf("cannot decrypt %s: it is encrypted to none of %s; encrypt it to one of them: %s", s.Age, strings.Join(k.tried, ", "), k.howTo(s.Age))
	case err != nil:
		return nil, fmt.Errorf("cannot decrypt %s: %w", s.Age, err)
	}
	v, err := io.ReadAll(io.LimitReader(out, maxSecret+1))
	if err != nil {
		return nil, fmt.Errorf("cannot decrypt %s: %w", s.Age, err)
	}
	return v, nil
}

// head64 is where the recipients of a file stand.
func head64(text []byte) []byte { return text[:min(len(text), 64)] }

// howTo is the command that encrypts a file.
func (k *keyring) howTo(file string) string {
	to := k.to
	if to == "" {
		to = "-r RECIPIENT"
	}
	return "age " + to + " -o " + file + " PLAINTEXT"
}

// identities gathers the keys that may decrypt a secret.
func (b *Binding) identities(s *graph.Secret) *keyring {
	k := &keyring{}
	for _, name := range []string{"ORRERY_AGE_IDENTITY", "AGE_IDENTITY"} {
		v, ok := b.opts.getenv(name)
		switch {
		case !ok || v == "":
		case strings.HasPrefix(v, "AGE-SECRET-KEY-"):
			k.take([]byte(v), "$"+name, "")
		default:
			k.look(b.homely(v), "$"+name+" ("+v+")")
		}
	}
	for _, file := range s.Identities {
		k.look(b.homely(file), file)
	}
	if len(s.Identities) > 0 {
		return k
	}
	for _, file := range []string{"~/.config/age/keys.txt", "~/.ssh/id_ed25519", "~/.ssh/id_rsa"} {
		k.look(b.homely(file), file)
	}
	return k
}

// homely is a path in which ~/ means the caller's home.
func (b *Binding) homely(file string) string {
	rest, ok := strings.CutPrefix(file, "~/")
	if !ok {
		return b.abs(file)
	}
	home, _ := b.opts.getenv("HOME")
	if home == "" {
		home, _ = os.UserHomeDir() // none: the file is not there
	}
	if dir, set := b.opts.getenv("XDG_CONFIG_HOME"); set && filepath.IsAbs(dir) && strings.HasPrefix(rest, ".config/") {
		return filepath.Join(dir, strings.TrimPrefix(rest, ".config/"))
	}
	return filepath.Join(home, rest)
}

func (k *keyring) look(file, shown string) {
	text, err := readLimited(file, maxIdentity)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		k.tried = append(k.tried, shown+" (not there)")
	case err != nil || len(text) > maxIdentity:
		k.tried = append(k.tried, shown+" (cannot be read)")
	default:
		k.take(text, shown, file)
	}
}

// take parses identities. Errors of the parser are not shown: they may hold
// what they are about.
func (k *keyring) take(text []byte, shown, file string) {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("-----BEGIN")) {
		id, err := agessh.ParseIdentity(text)
		switch {
		case err == nil:
			k.add(shown, []age.Identity{id})
			if k.to == "" {
				k.to = "-R " + file + ".pub"
			}
		case strings.Contains(err.Error(), "passphrase"):
			k.tried = append(k.tried, shown+" (has a passphrase, which nothing asks for)")
		default:
			k.tried = append(k.tried, shown+" (is no ssh key that age can use)")
		}
		return
	}
	ids, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil {
		k.tried = append(k.tried, shown+" (is no file of age identities)")
		return
	}
	k.add(shown, ids)
	if x, ok := ids[0].(*age.X25519Identity); ok && k.to == "" {
		k.to = "-r " + x.Recipient().String()
	}
}

func (k *keyring) add(shown string, ids []age.Identity) {
	k.ids = append(k.ids, ids...)
	k.tried = append(k.tried, shown)
}
