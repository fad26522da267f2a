// SPDX-License-Identifier: Apache-2.0

// Package sched says where the calling thread runs and how soon: on which processors,
// at what priority, how it naps, and how late its sleeps may end. See sched(7).
//
// All but [Yielder] belongs to a thread, not to a goroutine. The goroutine that calls these
// functions must be locked to its thread ([runtime.LockOSThread]); [OnCPU] does that itself.
// The function that undoes a change must be called on the same goroutine.
package sched
