// SPDX-License-Identifier: Apache-2.0

package testnet

import (
	"encoding/binary"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// DropInput makes a firewall in the namespace of the calling thread. It is a table of nftables
// whose only chain drops all packets for this machine. The function that it returns takes the
// firewall away; else it goes with the namespace.
func DropInput(tb testing.TB) (open func()) {
	tb.Helper()
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	NeedPrivilege(tb, err)
	tb.Cleanup(func() { c.Close() })
	const name = "speadx"
	table := attributes(tb, func(e *netlink.AttributeEncoder) { e.String(unix.NFTA_TABLE_NAME, name) })
	chain := attributes(tb, func(e *netlink.AttributeEncoder) {
		e.String(unix.NFTA_CHAIN_TABLE, name)
		e.String(unix.NFTA_CHAIN_NAME, "input")
		e.Nested(unix.NFTA_CHAIN_HOOK, func(e *netlink.AttributeEncoder) error {
			e.ByteOrder = binary.BigEndian
			e.Uint32(unix.NFTA_HOOK_HOOKNUM, unix.NF_INET_LOCAL_IN)
			e.Uint32(unix.NFTA_HOOK_PRIORITY, 0)
			return nil
		})
		e.Uint32(unix.NFTA_CHAIN_POLICY, 0) // NF_DROP
		e.String(unix.NFTA_CHAIN_TYPE, "filter")
	})
	commit(tb, c, netfilter(unix.NFT_MSG_NEWTABLE, table), netfilter(unix.NFT_MSG_NEWCHAIN, chain))
	return func() { commit(tb, c, netfilter(unix.NFT_MSG_DELTABLE, table)) }
}

func attributes(tb testing.TB, f func(*netlink.AttributeEncoder)) []byte {
	tb.Helper()
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	f(e)
	b, err := e.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// netfilter is a message of nftables, for IPv4 and IPv6.
func netfilter(kind uint16, attributes []byte) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind), Flags: netlink.Request | netlink.Acknowledge | netlink.Create},
		Data:   append([]byte{unix.NFPROTO_INET, 0, 0, 0}, attributes...),
	}
}

// commit sends messages as one change.
func commit(tb testing.TB, c *netlink.Conn, list ...netlink.Message) {
	tb.Helper()
	mark := func(kind uint16) netlink.Message {
		return netlink.Message{
			Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request},
			Data:   []byte{unix.AF_UNSPEC, 0, 0, unix.NFNL_SUBSYS_NFTABLES},
		}
	}
	all := append([]netlink.Message{mark(unix.NFNL_MSG_BATCH_BEGIN)}, list...)
	if _, err := c.SendMessages(append(all, mark(unix.NFNL_MSG_BATCH_END))); err != nil {
		tb.Fatal(err)
	}
	for acknowledged := 0; acknowledged < len(list); {
		answers, err := c.Receive()
		if err != nil {
			tb.Fatal(err)
		}
		acknowledged += len(answers)
	}
}
