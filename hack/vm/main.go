// SPDX-License-Identifier: Apache-2.0

// Vm runs Go tests in emulated machines, on kernels and network cards that this
// machine does not have.
//
//	vm [flags] [-run REGEXP]
//
// It gets QEMU, kernels and a few programs from Debian's repository by package name,
// with the addresses of this machine's own apt sources. It unpacks them into a cache
// (--cache) and installs nothing but QEMU. For each kernel it boots one guest, whose
// root folder is an initramfs with busybox, ip, ethtool and compiled test binaries:
//
//	         host                                   guest
//	┌──────────────────────┐            ┌──────────────────────────────────┐
//	│ vm: packages, cpio,  │  QEMU, TCG │ init ─► guest.test, bpf.test, …  │
//	│ reads the tests' end │◄─ serial 2 ┤         │                        │
//	│ sets carriers        │◄─ serial 3 ┤   rx0 ══╪══ wire ══ tx0 (netns)  │
//	│ shows the console    │◄─ serial 1 ┤   rx1 ══╪══ wire ══ tx1 (netns)  │
//	└──────────────────────┘            └──────────────────────────────────┘
//
// Each wire connects a card to receive on with one to send from. The tests are in the
// package guest, what they expect in the package matrix.
//
// Nothing is left behind but the cache. Guests are emulated, for many machines that have
// /dev/kvm cannot use it. That is slow: a boot takes some 15 seconds.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/hack/internal/tally"
	"github.com/speadx/speadx/hack/vm/matrix"
)

type options struct {
	cache, series, nics, run, skip, accel string
	short, verbose                        bool
	timeout                               time.Duration
}

func main() {
	var o options
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	flag.StringVar(&o.cache, "cache", filepath.Join(cache, "speadx-vm"), "`folder` for packages that were downloaded")
	flag.StringVar(&o.series, "kernels", "", "`series` of kernels to boot, such as 6.1,newest (default all, or two with --short)")
	flag.StringVar(&o.nics, "nics", "", "`names` of the cards that the guest has (default all, or two with --short)")
	flag.StringVar(&o.run, "run", "", "run only tests that match this `regexp`, as with go test")
	flag.StringVar(&o.skip, "skip", "", "skip tests that match this `regexp`, as with go test")
	flag.StringVar(&o.accel, "accel", "tcg", "how QEMU runs a guest: `tcg` emulates every processor, kvm is quicker where it works")
	flag.BoolVar(&o.short, "short", false, "the newest and the oldest kernel, with two cells of the matrix each")
	flag.BoolVar(&o.verbose, "v", false, "print the output of tests that pass, too")
	flag.DurationVar(&o.timeout, "timeout", 15*time.Minute, "how long one guest may take")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "vm: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	t := tally.Tally{Out: os.Stdout, Verbose: o.verbose}
	ctx, stop := untilSignal()
	defer stop()
	if err := run(ctx, o, &t); err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
		t.Failed++
	}
	fmt.Println(t.Summary())
	if !t.OK() {
		os.Exit(1)
	}
}

// untilSignal is a context that ends when the program is to end. Then guests are killed, and
// temporary folders removed.
func untilSignal() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	// go run dies of SIGTERM and does not pass it on. Its threads do not end before it.
	parent := os.Getppid()
	if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", parent)); err == nil && string(comm) == "go\n" {
		err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGTERM), 0, 0, 0)
		if err == nil && os.Getppid() != parent {
			stop() // it has died already
		}
	}
	return ctx, stop
}

func run(ctx context.Context, o options, t *tally.Tally) error {
	if err := os.MkdirAll(o.cache, 0o755); err != nil {
		return err
	}
	repo, err := openRepository(ctx, o.cache)
	if err != nil {
		return err
	}
	if err := needEmulator(repo); err != nil {
		return err
	}
	base, runs, err := baseArchive(repo, o)
	if err != nil {
		return err
	}
	series, nics := matrix.Series, []string{}
	for _, n := range matrix.NICs {
		nics = append(nics, n.Name)
	}
	if o.short {
		series, nics = matrix.ShortSeries, matrix.ShortNICs
	}
	if o.series != "" {
		series = strings.Split(o.series, ",")
	}
	if o.nics != "" {
		nics = strings.Split(o.nics, ",")
	}
	var errs []error
	for _, s := range series {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, errInterrupted)...)
		}
		if err := runGuest(ctx, o, t, repo, s, nics, base, runs); err != nil {
			errs = append(errs, err) // other kernels can still be tested
			t.Failed++
		}
	}
	return errors.Join(errs...)
}

// errInterrupted is the error of what a signal has ended.
var errInterrupted = errors.New("interrupted")

func runGuest(ctx context.Context, o options, t *tally.Tally, repo *repository, series string, nics []string, base []byte, runs []matrix.Run) error {
	began := time.Now()
	packages, err := repo.kernelPackages(series)
	if err != nil {
		return err
	}
	dir := filepath.Join(o.cache, packages[0])
	if err := repo.unpack(dir, packages...); err != nil {
		return err
	}
	k, err := openKernel(series, dir)
	if err != nil {
		return err
	}
	modules, err := k.load(guestModules...)
	if err != nil {
		return err
	}
	m, err := newMachine(nics)
	if err != nil {
		return err
	}
	boot, err := json.Marshal(matrix.Boot{Series: series, Release: k.release, Short: o.short, Wires: m.wires, Runs: runs})
	if err != nil {
		return err
	}
	a := newArchive()
	a.addModules(modules)
	a.add(strings.TrimPrefix(matrix.BootFile, "/"), 0o644, boot)
	own, err := a.bytes()
	if err != nil {
		return fmt.Errorf("make the initramfs: %w", err)
	}
	fmt.Fprintf(t.Out, "guest %s: Linux %s, cards %s\n", series, k.release, strings.Join(nics, ", "))
	g := &guest{name: series, kernel: k, machine: m, initramfs: slices.Concat(base, own), emulator: qemu, accel: o.accel, timeout: o.timeout}
	err = g.run(ctx, t)
	fmt.Fprintf(t.Out, "guest %s: %.0f s\n", series, time.Since(began).Seconds())
	return err
}

// guestModules are the kernel's modules that the guests load: the cards' drivers, and the
// kinds of virtual interface that the tests make.
var guestModules = []string{
	"virtio_pci", "virtio_net", "igb", "e1000e", "vmxnet3",
	"8021q", "bonding", "macvlan", "bridge", "veth", "dummy", "xsk_diag",
}

// binaries are the test binaries that a guest runs.
var binaries = []struct {
	name, pkg, tags string
	run             string // which of its tests; "": all
	short           string // which in a short run
}{
	{name: "bpf", pkg: "./bpf", run: "^(TestSteer|TestLoad|TestCounters|TestSockets)", short: "^(TestSteer|TestLoad)"},
	{name: "guest", pkg: "./hack/vm/guest", tags: "vmguest", short: "^(TestMatrix|TestCarrier|TestKilledAndRestarted|TestFileCapabilities|TestTwoVLANs)$"},
}

// baseArchive is the part of the initramfs that all guests share.
func baseArchive(repo *repository, o options) ([]byte, []matrix.Run, error) {
	libs, err := repo.libraries(userland...)
	if err != nil {
		return nil, nil, err
	}
	packages := append(slices.Clone(userland), libs...)
	root := filepath.Join(o.cache, fmt.Sprintf("userland-%08x", crc32.ChecksumIEEE([]byte(strings.Join(packages, " ")))))
	if err := repo.unpack(root, packages...); err != nil {
		return nil, nil, err
	}
	build, err := os.MkdirTemp("", "speadx-vm-build-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(build)
	a := newArchive()
	for _, dir := range []string{"proc", "sys", "dev", "tmp", "run"} {
		a.addDir(dir)
	}
	var runs []matrix.Run
	for _, b := range binaries {
		name := b.name + ".test"
		if err := goTool(repo.ctx, build, "test", "-c", "-tags="+b.tags, "-o", filepath.Join(build, name), b.pkg); err != nil {
			return nil, nil, err
		}
		a.addFile("bin/"+name, filepath.Join(build, name))
		r := matrix.Run{Package: b.name, Binary: "/bin/" + name, Dir: "/tmp", Args: []string{"-test.v=test2json", "-test.timeout=" + o.timeout.String()}}
		only := cmp.Or(o.run, b.run)
		if o.short {
			only = cmp.Or(o.run, b.short)
		}
		if only != "" {
			r.Args = append(r.Args, "-test.run="+only)
		}
		if o.skip != "" {
			r.Args = append(r.Args, "-test.skip="+o.skip)
		}
		runs = append(runs, r)
	}
	for name, pkg := range map[string]string{"init": "./hack/vm/init", "bin/speadx": "./cmd/speadx"} {
		if err := goTool(repo.ctx, build, "build", "-o", filepath.Join(build, filepath.Base(name)), pkg); err != nil {
			return nil, nil, err
		}
		a.addFile(name, filepath.Join(build, filepath.Base(name)))
	}
	if err := a.addUserland(root); err != nil {
		return nil, nil, err
	}
	archive, err := a.bytes()
	return archive, runs, err
}

// goTool runs go without cgo, so that what it builds runs in the guest.
func goTool(ctx context.Context, build string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append(args[:1:1], append([]string{"-ldflags=-s -w"}, args[1:]...)...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}
