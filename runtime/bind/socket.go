package bind

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Why a number cannot be had.
var (
	errBusy       = errors.New("it is in use")
	errPrivileged = errors.New("numbers this low are for root: choose a base from 1024 up")
)

// addresses are those at which a port must be free: a listener on one of the two loopbacks would answer half of the
// clients of "localhost". The first is the one that is meant.
func addresses(host string) ([]netip.Addr, error) {
	v4, v6 := netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()
	switch host {
	case "", "0.0.0.0", "::", "*":
		return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}, nil
	case "127.0.0.1", "localhost":
		return []netip.Addr{v4, v6}, nil
	case "::1":
		return []netip.Addr{v6, v4}, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	ips, err := net.LookupIP(host)
	if err != nil || len(ips) == 0 {
		return nil, fmt.Errorf("got host %q, want an address of this machine: %w", host, err)
	}
	a, _ := netip.AddrFromSlice(ips[0])
	return []netip.Addr{a.Unmap()}, nil
}

// reserve binds the number without listening, so that nobody else gets it. SO_REUSEADDR is set only afterwards: a plain
// allocator is kept out, and a server that sets it itself binds over the reservation.
func reserve(s portSpec, number int) ([]*os.File, error) {
	as, err := addresses(s.host)
	if err != nil {
		return nil, err
	}
	return reserveAll(s.proto, as, number)
}

func reserveAll(proto string, as []netip.Addr, number int) ([]*os.File, error) {
	var holds []*os.File
	for i, a := range as {
		f, err := reserveOne(proto, a, number)
		if i > 0 && errors.Is(err, errNoAddress) {
			continue // a machine without IPv6
		}
		if err != nil {
			closeAll(holds)
			return nil, err
		}
		holds = append(holds, f)
	}
	return holds, nil
}

func reserveOne(proto string, a netip.Addr, number int) (*os.File, error) {
	fd, err := boundSocket(proto, a, number, false)
	if errors.Is(err, errBusy) && proto == "tcp" && remains(number) {
		// Old connections of a server that was there block a plain bind for a minute; nobody owns the port, though: with a
		// listener, this fails as well. Two orreries are kept apart by their claims.
		fd, err = boundSocket(proto, a, number, true)
	}
	if err != nil {
		return nil, err
	}
	if proto == "tcp" {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			unix.Close(fd)
			return nil, err
		}
	}
	return os.NewFile(uintptr(fd), "reserved"), nil
}

// errNoAddress says that the machine has no such address.
var errNoAddress = errors.New("the machine has no such address")

// boundSocket makes a socket and binds it to exactly this address.
func boundSocket(proto string, a netip.Addr, number int, reuse bool) (int, error) {
	fd, err := inetSocket(proto, a, reuse)
	if err != nil {
		return -1, err
	}
	if a.Is6() {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		err = bindTo(fd, a, number)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func inetSocket(proto string, a netip.Addr, reuse bool) (int, error) {
	domain, typ := unix.AF_INET, unix.SOCK_STREAM
	if a.Is6() {
		domain = unix.AF_INET6
	}
	if proto == "udp" {
		typ = unix.SOCK_DGRAM
	}
	fd, err := newSocket(domain, typ)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return -1, errNoAddress
	}
	if err != nil {
		return -1, err
	}
	if reuse {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	return fd, nil
}

func bindTo(fd int, a netip.Addr, number int) error {
	err := unix.Bind(fd, sockaddr(a, number))
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return errBusy
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("%w: %s", errNoAddress, a)
	case errors.Is(err, unix.EACCES):
		return errPrivileged
	}
	return err
}

func sockaddr(a netip.Addr, number int) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Port: number, Addr: a.As4()}
	}
	sa := &unix.SockaddrInet6{Port: number, Addr: a.As16()}
	if z := a.Zone(); z != "" {
		if i, err := net.InterfaceByName(z); err == nil {
			sa.ZoneId = uint32(i.Index)
		}
	}
	return sa
}

// listen opens the socket that is passed to a service, and reserves the other loopback beside it.
func listen(s portSpec, number int) (f *os.File, guards []*os.File, err error) {
	as, err := addresses(s.host)
	if err != nil {
		return nil, nil, err
	}
	var fd int
	if as[0] == netip.IPv4Unspecified() {
		fd, err = dualStack(s, number)
		as = as[:1]
	} else {
		fd, err = boundSocket(s.proto, as[0], number, s.proto == "tcp")
	}
	if err != nil {
		return nil, nil, err
	}
	f = os.NewFile(uintptr(fd), "listen")
	guards, err = reserveAll(s.proto, as[1:], number)
	if errors.Is(err, errNoAddress) {
		err = nil
	}
	if err == nil && s.proto == "tcp" {
		err = listenOn(fd, s.backlog)
	}
	if err != nil {
		f.Close()
		closeAll(guards)
		return nil, nil, err
	}
	return f, guards, nil
}

func listenOn(fd, backlog int) error {
	if backlog <= 0 {
		backlog = 128
	}
	err := unix.Listen(fd, backlog)
	if errors.Is(err, unix.EADDRINUSE) {
		return errBusy
	}
	return err
}

// dualStack binds all interfaces of both families with one socket.
func dualStack(s portSpec, number int) (int, error) {
	fd, err := inetSocket(s.proto, netip.IPv6Unspecified(), s.proto == "tcp")
	if err == nil {
		if err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err == nil {
			err = bindTo(fd, netip.IPv6Unspecified(), number)
		}
		if err == nil {
			return fd, nil
		}
		unix.Close(fd)
	}
	if !errors.Is(err, errNoAddress) {
		return -1, err
	}
	return boundSocket(s.proto, netip.IPv4Unspecified(), number, s.proto == "tcp")
}
