// SPDX-License-Identifier: Apache-2.0

package send

import (
	"fmt"
	"net"
)

func openEngine(c *Config) (engine, error) {
	if c.Interface != "" {
		if _, err := net.InterfaceByName(c.Interface); err != nil {
			return nil, fmt.Errorf("interface %s: %w", c.Interface, err)
		}
	}
	switch c.Engine {
	case UDP, Blast: // what Blast does not make itself
		return openUDP(c)
	case AFXDP:
		return openAFXDP(c)
	case TCP:
		return openTCP(c)
	}
	return nil, fmt.Errorf("engine %d is unknown", c.Engine)
}

// checkMTU compares the largest packet with what fits into one frame: fragments
// would be lost in receivers that bypass the kernel.
func checkMTU(c *Config, v4 bool, mtu int, where string) error {
	headers := udpHeader + ipv4Header
	if !v4 {
		headers = udpHeader + ipv6Header
	}
	largest := c.MaxPacket &^ 7 // as the packetiser rounds it
	if mtu > 0 && largest+headers > mtu {
		return fmt.Errorf("packets of %d bytes need an MTU of %d, but that of %s is %d (raise it, or lower the packet size to %d)",
			largest, largest+headers, where, mtu, (mtu-headers)&^7)
	}
	return nil
}
