package notify

import (
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func ptr[T any](v T) *T { return &v }

func TestParse(t *testing.T) {
	long := strings.Repeat("n", 255)
	tests := []struct {
		name, in string
		want     Message
	}{
		{"ready", "READY=1", Message{Ready: true}},
		{"ready with newline and NUL", "READY=1\n\x00", Message{Ready: true}},
		{"ready and status", "READY=1\nSTATUS=hello", Message{Ready: true, Status: ptr("hello")}},
		{"status cleared", "STATUS=", Message{Status: ptr("")}},
		{"status holds =", "STATUS=a=b", Message{Status: ptr("a=b")}},
		{"status not UTF-8", "READY=1\nSTATUS=\xff", Message{Ready: true, Ignored: 1}},
		{"no READY=0", "READY=0\nSTOPPING=1", Message{Stopping: true, Ignored: 1}},
		{"reload", "RELOADING=1\nMONOTONIC_USEC=123", Message{Reloading: true, MonotonicUsec: 123}},
		{"access", "NOTIFYACCESS=exec", Message{NotifyAccess: "exec"}},
		{"access unknown", "NOTIFYACCESS=some\nREADY=1", Message{Ready: true, Ignored: 1}},
		{"failure", "ERRNO=2\nBUSERROR=org.x.Y\nVARLINKERROR=a.b\nEXIT_STATUS=7",
			Message{Errno: 2, BusError: "org.x.Y", VarlinkError: "a.b", ExitStatus: ptr(7)}},
		{"numbers out of range", "READY=1\nERRNO=4096\nEXIT_STATUS=256\nMAINPID=0\nMAINPIDFDID=-1", Message{Ready: true, Ignored: 4}},
		{"main pid", "MAINPID=42\nMAINPIDFDID=18446744073709551615", Message{MainPID: 42, MainPIDFDID: 1<<64 - 1}},
		{"ping", "WATCHDOG=1", Message{Watchdog: WatchdogPing}},
		{"trigger", "WATCHDOG=trigger", Message{Watchdog: WatchdogTrigger}},
		{"watchdog off", "WATCHDOG_USEC=0", Message{WatchdogUsec: ptr(int64(0))}},
		{"watchdog forever", "WATCHDOG_USEC=18446744073709551615", Message{WatchdogUsec: ptr(int64(9223372036854775))}},
		{"extend", "EXTEND_TIMEOUT_USEC=3000000", Message{ExtendTimeoutUsec: 3000000}},
		{"restart reset", "RESTART_RESET=1", Message{RestartReset: true}},
		{"store", "FDSTORE=1", Message{FDStore: true, FDName: "stored", FDPoll: true}},
		{"store named", "FDSTORE=1\nFDNAME=db\nFDPOLL=0", Message{FDStore: true, FDName: "db"}},
		{"store long name", "FDSTORE=1\nFDNAME=" + long, Message{FDStore: true, FDName: long, FDPoll: true}},
		{"store bad name", "FDSTORE=1\nFDNAME=a:b", Message{FDStore: true, FDName: "stored", FDPoll: true, Ignored: 1}},
		{"remove", "FDSTOREREMOVE=1\nFDNAME=db", Message{FDStoreRemove: true, FDName: "db"}},
		{"remove without a name", "FDSTOREREMOVE=1", Message{Ignored: 1}},
		{"first one counts", "STATUS=a\nSTATUS=b", Message{Status: ptr("a"), Ignored: 1}},
		{"private and unknown", "X_A=1\nFOO=1\nbar\nREADY=1", Message{Ready: true, Ignored: 2}},
		{"barrier", "BARRIER=1\n", Message{Barrier: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Parse([]byte(test.in))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(test.want, got, cmpopts.IgnoreUnexported(Message{}, os.File{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestParseDrops(t *testing.T) {
	for name, in := range map[string]string{
		"empty":         "",
		"only NUL":      "\x00",
		"NUL inside":    "READY=1\x00\nSTATUS=x",
		"two NULs":      "READY=1\x00\x00",
		"too large":     "READY=1\nSTATUS=" + strings.Repeat("x", MaxDatagram),
		"nothing known": "FOO=1\nX_BAR=1",
		"mixed barrier": "BARRIER=1\nREADY=1",
		"garbage":       "\xff\xfe\n===\n",
	} {
		if m, err := Parse([]byte(in)); err == nil {
			t.Errorf("%s: got %+v, want an error", name, m)
		}
	}
	full := "READY=1\nSTATUS="
	if _, err := Parse([]byte(full + strings.Repeat("x", MaxDatagram-len(full)))); err != nil {
		t.Errorf("a datagram of exactly %d bytes: %v", MaxDatagram, err)
	}
}

// What is unknown never changes what is known.
func TestParseUnknownIsHarmless(t *testing.T) {
	known := []string{"READY=1", "STATUS=x", "WATCHDOG=1", "MAINPID=7", "FDSTORE=1", "FDNAME=n", "STOPPING=1"}
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfNDistinct(rapid.SampledFrom(known), 1, 7, rapid.ID).Draw(t, "known")
		want, err := Parse([]byte(strings.Join(lines, "\n")))
		if err != nil {
			t.Fatal(err)
		}
		noise := rapid.SliceOf(rapid.StringMatching(`(X_|zz)[A-Z=01]{0,8}`)).Draw(t, "noise")
		got, err := Parse([]byte(strings.Join(append(noise, lines...), "\n")))
		if err != nil {
			t.Fatal(err)
		}
		want.Ignored, got.Ignored = 0, 0
		if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Message{}, os.File{})); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("READY=1\nSTATUS=hello"))
	f.Add([]byte("BARRIER=1"))
	f.Add([]byte("FDSTORE=1\nFDNAME=a\nFDPOLL=0\nWATCHDOG=trigger\nWATCHDOG_USEC=1\n\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data)
		if err != nil {
			return
		}
		if m.Status != nil && !utf8.ValidString(*m.Status) {
			t.Errorf("got status %q, want UTF-8", *m.Status)
		}
		if m.Barrier && (m.Ready || m.FDStore || m.Status != nil) {
			t.Errorf("got a barrier with more: %+v", m)
		}
		if m.FDStoreRemove && m.FDName == "" || m.FDStore && m.FDName == "" || m.FDPoll && !m.FDStore {
			t.Errorf("got descriptor fields that do not agree: %+v", m)
		}
		if m.MonotonicUsec < 0 || m.ExtendTimeoutUsec < 0 || m.WatchdogUsec != nil && *m.WatchdogUsec < 0 || m.MainPID < 0 {
			t.Errorf("got a negative number: %+v", m)
		}
	})
}

func TestAllowed(t *testing.T) {
	member := func(pid int) bool { return pid == 20 }
	for _, test := range []struct {
		access string
		sender int
		want   bool
	}{
		{"none", 10, false}, {"none", 0, false},
		{"main", 10, true}, {"main", 20, false}, {"main", 0, true},
		{"exec", 10, true}, {"exec", 20, true}, {"exec", 30, false},
		{"all", 10, true}, {"all", 20, true}, {"all", 30, false}, {"all", 0, true},
		{"", 10, false}, {"ALL", 10, false},
	} {
		if got := Allowed(test.access, test.sender, 10, member); got != test.want {
			t.Errorf("Allowed(%q, %d): got %v, want %v", test.access, test.sender, got, test.want)
		}
	}
}
