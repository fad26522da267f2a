// SPDX-License-Identifier: Apache-2.0

package send

import (
	"bufio"
	"math"
	"os"
	"strconv"
	"strings"
)

// availableMemory is how many bytes the kernel thinks can be had without
// swapping, see proc_meminfo(5), or a very large number where it does not say.
func availableMemory() int64 {
	file, err := os.Open("/proc/meminfo")
	if err != nil {
		return math.MaxInt64
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 && fields[0] == "MemAvailable:" {
			if kib, err := strconv.ParseInt(fields[1], 10, 53); err == nil {
				return kib << 10
			}
		}
	}
	return math.MaxInt64
}
