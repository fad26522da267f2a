// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"fmt"
	"slices"
	"strings"

	"github.com/speadx/speadx/xsk"
)

// Effect is something that reception changes for the other traffic of an interface, until
// it ends. A link that was reset shows in [DeviceInfo.CarrierTime].
type Effect string

// The effects.
const (
	// EffectPeerTSO: the other end of a veth pair sends without segmentation offload.
	EffectPeerTSO Effect = "peer-tso"
	// EffectLRO: large receive offload is off.
	EffectLRO Effect = "lro"
	// EffectHWGRO: the hardware's generic receive offload is off.
	EffectHWGRO Effect = "rx-gro-hw"
)

// effects are those of the program on the device.
func (d *device) effects() (list []Effect) {
	// veth_xdp_set takes NETIF_F_GSO_SOFTWARE from the peer.
	if d.plan.facts.Kind == "veth" && d.link.Mode() != xsk.ModeGeneric {
		list = append(list, EffectPeerTSO)
	}
	on := d.after.Names()
	for _, name := range d.before.Names() {
		if !slices.Contains(on, name) {
			list = append(list, Effect(name))
		}
	}
	return list
}

// effectsText says it in words; "" if there are none.
func (d *device) effectsText() string {
	var what []string
	for _, e := range d.effects() {
		switch e {
		case EffectPeerTSO:
			what = append(what, "the other end of the veth pair sends without TSO")
		default:
			what = append(what, fmt.Sprintf("its offload %s is off", e))
		}
	}
	if what == nil {
		return ""
	}
	return fmt.Sprintf("%s: until reception ends, %s: TCP of other programs is slower there", d.plan.facts.Name, strings.Join(what, ", and "))
}
