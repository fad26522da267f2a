// SPDX-License-Identifier: Apache-2.0

package heap

// MaxSlots is how many slots and feeding threads together a stream can have.
const MaxSlots = maxRecords
