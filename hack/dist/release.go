// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// release is what the names and times of a release come from.
type release struct {
	version string    // a semantic version, without a v
	when    time.Time // of all files
}

// environ hands the time on, as https://reproducible-builds.org/specs/source-date-epoch/.
func (r release) environ() string { return "SOURCE_DATE_EPOCH=" + strconv.FormatInt(r.when.Unix(), 10) }

// releaseOf asks the environment, or else git.
func releaseOf(root string) (release, error) {
	r := release{version: strings.TrimPrefix(os.Getenv("VERSION"), "v")}
	if r.version == "" {
		described, err := git(root, "describe", "--tags", "--long", "--always", "--abbrev=12", "--dirty", "--match=v[0-9]*")
		if err != nil {
			return r, fmt.Errorf("%w (VERSION takes its place where there is no clone)", err)
		}
		commits, err := git(root, "rev-list", "--count", "HEAD")
		if err != nil {
			return r, err
		}
		if r.version, err = semantic(described, commits); err != nil {
			return r, err
		}
	}
	if !isSemantic.MatchString(r.version) {
		return r, fmt.Errorf("version %q is not one like 1.2.3, 1.2.3-rc.1 or 1.2.3+4.gabc (set VERSION)", r.version)
	}
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		var err error
		if epoch, err = git(root, "log", "-1", "--format=%ct"); err != nil {
			return r, fmt.Errorf("%w (SOURCE_DATE_EPOCH takes its place where there is no clone)", err)
		}
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil || seconds < 0 {
		return r, fmt.Errorf("SOURCE_DATE_EPOCH %q is no number of seconds since 1970", epoch)
	}
	r.when = time.Unix(seconds, 0).UTC()
	return r, nil
}

var (
	isSemantic  = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)
	isDescribed = regexp.MustCompile(`^v(.+)-(\d+)-(g[0-9a-f]+)(-dirty)?$`)
	isCommit    = regexp.MustCompile(`^([0-9a-f]+)(-dirty)?$`)
)

// semantic makes a version of what git describe --long says, so that a later commit has a
// later version: also before the first tag, where commits is how many there are.
func semantic(described, commits string) (string, error) {
	var version string
	var extra []string
	var dirty bool
	if m := isDescribed.FindStringSubmatch(described); m != nil {
		version, dirty = m[1], m[4] != ""
		if m[2] != "0" {
			extra = append(extra, m[2], m[3])
		}
	} else if m := isCommit.FindStringSubmatch(described); m != nil {
		version, dirty = "0.0.0-dev."+commits, m[2] != ""
		extra = append(extra, "g"+m[1])
	} else {
		return "", fmt.Errorf("git describe says %q, which names neither a tag like v1.2.3 nor a commit", described)
	}
	if dirty {
		extra = append(extra, "dirty")
	}
	if len(extra) > 0 {
		version += "+" + strings.Join(extra, ".")
	}
	return version, nil
}

func git(root string, args ...string) (string, error) {
	out, err := exec.Command("git", append([]string{"-C", root}, args...)...).Output()
	if err != nil {
		text := ""
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			text = ": " + strings.TrimSpace(string(exit.Stderr))
		}
		return "", fmt.Errorf("git %s: %w%s", strings.Join(args, " "), err, text)
	}
	return strings.TrimSpace(string(out)), nil
}
