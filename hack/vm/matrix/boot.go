// SPDX-License-Identifier: Apache-2.0

package matrix

// Boot is what a guest is told: which kernel it runs and which cards it has. The host
// writes it into the guest's file [BootFile].
type Boot struct {
	Series  string // of the kernel: "6.1", "6.12" or "newest"
	Release string // as uname -r prints it
	Short   bool   // only the cells of a short run
	Wires   []Wire
	Runs    []Run
}

// BootFile is where a guest finds its [Boot].
const BootFile = "/boot.json"

// Wire is a pair of cards that are connected: one to receive on, and one to send from.
// Both are named by their hardware address, as their order differs between kernels.
type Wire struct {
	NIC      string // name of the kind of the receiving card: see [NICs]
	Device   string // the receiving card's name in the emulator
	Receiver string
	Sender   string
}

// Run is a test binary in the guest, to be run with these arguments.
type Run struct {
	Package string
	Binary  string
	Dir     string
	Args    []string
}

// Mark begins the lines of a guest itself on its second serial port, among those that its
// test binaries print:
//
//	Mark + "run " + package                   the package's tests begin
//	Mark + "exit " + package + " " + status   they have ended
//	Mark + "done"                             all have
//
// On the third serial port it asks the host for what only the emulator can do, a line
// for each wish, and is answered "ok" or by what went wrong:
//
//	link DEVICE on|off                        give a card a carrier, or take it
const Mark = "\x01"
