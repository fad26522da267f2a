// SPDX-License-Identifier: Apache-2.0

package settings

// Nearest returns the name that is most like the word, or "" if none is like it. At most
// a third of the word may differ: a letter more, a letter less, another letter, or two
// letters exchanged.
func Nearest(word string, names []string) string {
	best, least := "", max(1, len(word)/3)+1
	for _, name := range names {
		if d := distance(word, name, least); d < least {
			best, least = name, d
		}
	}
	return best
}

// longestWord bounds the time that a hostile word takes: it is longer than any flag.
const longestWord = 64

// distance is the number of changes that make b of a, or at least limit.
func distance(a, b string, limit int) int {
	if len(a) > longestWord || len(b) > longestWord || max(len(a), len(b))-min(len(a), len(b)) >= limit {
		return limit
	}
	// Three rows of the table of optimal string alignment.
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			other := 1
			if a[i-1] == b[j-1] {
				other = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+other)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
