// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// maxTable bounds the RSS table and its key, and the number of rules.
const maxTable = 1 << 16

// unsupported makes one error of those by which drivers say that they lack something.
func unsupported(err error) error {
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
		return errUnsupported
	}
	return err
}

// readRSS reads the RSS table and the key of an interface.
func readRSS(fd int, name string) (RSS, error) {
	head := make([]byte, rxfhSize)
	binary.NativeEndian.PutUint32(head, unix.ETHTOOL_GRSSH)
	if err := ethtool(fd, name, head); err != nil { // it tells the sizes
		return RSS{}, unsupported(err)
	}
	entries, key := binary.NativeEndian.Uint32(head[8:]), binary.NativeEndian.Uint32(head[12:])
	if entries > maxTable || key > maxTable {
		return RSS{}, fmt.Errorf("an RSS table of %d entries and a key of %d bytes", entries, key)
	}
	if entries == 0 {
		return RSS{}, errUnsupported
	}
	b := make([]byte, rxfhSize+4*entries+key)
	binary.NativeEndian.PutUint32(b, unix.ETHTOOL_GRSSH)
	binary.NativeEndian.PutUint32(b[8:], entries)
	binary.NativeEndian.PutUint32(b[12:], key)
	if err := ethtool(fd, name, b); err != nil {
		return RSS{}, unsupported(err)
	}
	return decodeRXFH(b)
}

// readHash reads the fields that the hash of a kind of packets is made of.
func readHash(fd int, name string, kind uint32) (uint64, error) {
	b := make([]byte, rxnfcSize)
	binary.NativeEndian.PutUint32(b, unix.ETHTOOL_GRXFH)
	binary.NativeEndian.PutUint32(b[4:], kind)
	if err := ethtool(fd, name, b); err != nil {
		return 0, unsupported(err)
	}
	return binary.NativeEndian.Uint64(b[8:]), nil
}

// readRules reads the steering rules for UDP.
func readRules(fd int, name string) ([]Rule, error) {
	b := make([]byte, rxnfcSize)
	binary.NativeEndian.PutUint32(b, unix.ETHTOOL_GRXCLSRLCNT)
	if err := ethtool(fd, name, b); err != nil {
		return nil, unsupported(err)
	}
	n := binary.NativeEndian.Uint32(b[rxnfcN:])
	if n == 0 {
		return nil, nil
	}
	if n > maxTable {
		return nil, fmt.Errorf("%d steering rules", n)
	}
	all := make([]byte, rxnfcSize+4*n)
	binary.NativeEndian.PutUint32(all, unix.ETHTOOL_GRXCLSRLALL)
	binary.NativeEndian.PutUint32(all[rxnfcN:], n)
	if err := ethtool(fd, name, all); err != nil {
		return nil, unsupported(err)
	}
	var rules []Rule
	for i := range min(n, binary.NativeEndian.Uint32(all[rxnfcN:])) {
		clear(b)
		binary.NativeEndian.PutUint32(b, unix.ETHTOOL_GRXCLSRULE)
		copy(b[flowPlace:flowPlace+4], all[rxnfcLocs+4*i:])
		if err := ethtool(fd, name, b); err != nil {
			continue // it was removed meanwhile
		}
		if r, ok := decodeRule(b); ok {
			rules = append(rules, r)
		}
	}
	return rules, nil
}

// Places in struct ethtool_link_settings.
const (
	linkSettingsSize = 48
	linkSpeed        = 4
	linkWords        = 15 // link_mode_masks_nwords
)

// readSpeed is the speed of a link in Mb/s; 0: it is not known.
func readSpeed(fd int, name string) int {
	b := make([]byte, linkSettingsSize)
	binary.NativeEndian.PutUint32(b, unix.ETHTOOL_GLINKSETTINGS)
	if ethtool(fd, name, b) != nil { // it tells the size of three masks, as a negative number
		return 0
	}
	words := -int(int8(b[linkWords]))
	if words <= 0 {
		return 0
	}
	b = make([]byte, linkSettingsSize+3*4*words)
	binary.NativeEndian.PutUint32(b, unix.ETHTOOL_GLINKSETTINGS)
	b[linkWords] = byte(words)
	if ethtool(fd, name, b) != nil {
		return 0
	}
	speed := binary.NativeEndian.Uint32(b[linkSpeed:])
	const most = 1 << 24 // SPEED_UNKNOWN is far above it
	if speed > most {
		return 0
	}
	return int(speed)
}
