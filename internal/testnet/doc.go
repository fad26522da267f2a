// SPDX-License-Identifier: Apache-2.0

// Package testnet gives a test its own wire, a veth pair between two network
// namespaces, and takes it away when the test ends. The model is that of
// internal/vnet: A is the sender's end, B the receiver's, each in a namespace of
// its own, and the test runs in B's.
//
// Such tests need privileges. Where they are missing a test is skipped, unless
// SPEADX_PRIVILEGED is set in the environment: a run that exists to run these
// tests must not pass by skipping all of them.
package testnet
