// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/settings"
)

// operateFlags are the flags of recv that say how it is operated.
type operateFlags struct {
	configFile       string
	controlPath      string
	keepCapabilities bool
	monitor          monitorFlags

	given    []givenFlag // on the command line
	args     []string    // likewise: the sources
	resolved *settings.Resolved
	values   map[string]string // of all flags, as resolved
}

// givenFlag is a flag and the values that it was given.
type givenFlag struct {
	name   string
	values []string
}

func (o *operateFlags) group() flagGroup {
	g := newFlagGroup("Configuration and operation")
	g.flags.StringVar(&o.configFile, configFlag, "", "read settings from `FILE`, YAML with a key for each flag, and sources: [...]; SIGHUP reads it again")
	g.flags.StringVar(&o.controlPath, "control", "", "listen on the Unix socket `PATH` for requests to add and remove sources ('speadx control' sends them)")
	g.flags.BoolVar(&o.keepCapabilities, "keep-capabilities", false, "keep the capabilities that a later change of endpoints can need; all others are dropped when reception begins")
	o.monitor.add(g.flags)
	g.note = `A flag wins over its environment variable (SPEADX_HEAP_SIZE for --heap-size),
the variable over the file, and the file over the default. 'speadx config print'
shows each value and where it comes from.
`
	return g
}

const configFlag = "config"

// notInFile are the flags that a configuration file cannot set.
var notInFile = map[string]string{
	configFlag: "cannot stand in a configuration file (use --config or SPEADX_CONFIG)",
}

// foreignVariables begin as settings do, and are the tests' own.
var foreignVariables = []string{"SPEADX_PRIVILEGED", "SPEADX_SOAK", "SPEADX_TRANSITIONS", "SPEADX_REPORT", "SPEADX_CACHE_RACE"}

// listFlags take a list as one value.
var listFlags = []string{"queues", "cpus", "affinity"}

// resolve gives the flags that were not given their values of the environment and of the
// configuration file.
func (f *recvFlags) resolve(fs *pflag.FlagSet, args []string) error {
	o := &f.operate
	o.given, o.args = givenFlags(fs), args
	return o.layers(fs, args, os.Environ())
}

func (o *operateFlags) layers(fs *pflag.FlagSet, args, environ []string) (err error) {
	for _, name := range listFlags {
		if err := fs.SetAnnotation(name, settings.List, nil); err != nil {
			return err
		}
	}
	l := settings.Layers{Flags: fs, Args: args, Environ: environ, Same: sameAs, NotInFile: notInFile, Foreign: foreignVariables}
	path := o.configFile
	if path == "" && !fs.Changed(configFlag) {
		path = lookupEnv(environ, settings.Variable(configFlag))
	}
	if path != "" {
		if l.File, err = settings.Read(path); err != nil {
			return err
		}
	} else if fs.Changed(configFlag) {
		return wrongFlag(configFlag, " \"\" names no file")
	}
	if o.resolved, err = settings.Resolve(&l); err != nil {
		return err
	}
	o.values = flagValues(fs)
	return nil
}

// lookupEnv is os.Getenv in a list.
func lookupEnv(environ []string, name string) (value string) {
	for _, text := range environ {
		if v, ok := strings.CutPrefix(text, name+"="); ok {
			value = v
		}
	}
	return value
}

// givenFlags are the flags of the command line, to be given again.
func givenFlags(fs *pflag.FlagSet) (list []givenFlag) {
	fs.Visit(func(fl *pflag.Flag) {
		g := givenFlag{fl.Name, []string{fl.Value.String()}}
		if several, ok := fl.Value.(pflag.SliceValue); ok {
			g.values = several.GetSlice()
		}
		list = append(list, g)
	})
	return list
}

// configured resolves the settings of recv and makes a configuration of them. Its errors
// are usage errors, unless the file is not for us to read.
func (f *recvFlags) configured(cmd *cobra.Command, args []string) (speadx.Config, error) {
	cfg, err := f.check(cmd.Flags(), args)
	if err != nil {
		return cfg, err
	}
	for _, note := range f.operate.resolved.Notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+note)
	}
	if bound, err := f.spead2.interfaces(); err != nil {
		return cfg, err
	} else if bound != nil {
		cfg.Interfaces = bound
	}
	return cfg, nil
}

// check resolves the settings and checks them.
func (f *recvFlags) check(fs *pflag.FlagSet, args []string) (speadx.Config, error) {
	if err := f.resolve(fs, args); err != nil {
		return speadx.Config{}, asUsage(err)
	}
	r := f.operate.resolved
	if len(r.Sources) == 0 {
		return speadx.Config{}, usageError{errors.New("at least one source is required: an address and port, a port, or a capture file")}
	}
	cfg, err := f.config(fs, slices.Clone(r.Sources))
	if err != nil {
		return cfg, asUsage(located(err, r.Origins))
	}
	return cfg, nil
}

// asUsage marks an error in what was asked for. A file that is there, and not for us to
// read, is none.
func asUsage(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return err
	}
	return usageError{err}
}
