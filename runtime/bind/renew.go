package bind

import "maps"

// Renew takes in what another process has bound since FromSnapshot: ports and values that were not known then.
func (b *Binding) Renew(snapshot map[string]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.Copy(b.values, snapshot)
}

// Root is the folder of the project file.
func (b *Binding) Root() string { return b.dirs.Root }
