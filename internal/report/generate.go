// SPDX-License-Identifier: Apache-2.0

package report

//go:generate go run ./gen
