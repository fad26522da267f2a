// SPDX-License-Identifier: Apache-2.0

// Package settings gives the flags of a command their values from four layers. The
// first layer that has a value wins:
//
//	flag > environment variable > configuration file > default
//
// A configuration file is YAML: one mapping, whose keys are the names of flags. [Read]
// reads such a file, and [Resolve] applies the layers to a pflag.FlagSet. The result
// says for each flag where its value comes from.
package settings
