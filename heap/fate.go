// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/spead"
)

// fateOf maps the reasons for which a packet does not decode to their fates.
var fateOf = [...]ledger.Fate{
	spead.TooShort:        ledger.TooShort,
	spead.BadMagic:        ledger.BadMagic,
	spead.BadFlavour:      ledger.BadFlavour,
	spead.ItemsOverflow:   ledger.ItemsOverflow,
	spead.HeadersSplit:    ledger.HeadersSplit,
	spead.MissingItems:    ledger.MissingItems,
	spead.PayloadOverflow: ledger.PayloadOverflow,
	spead.HeapOverflow:    ledger.HeapOverflow,
	spead.SizeMismatch:    ledger.SizeMismatch,
}
