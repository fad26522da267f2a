// SPDX-License-Identifier: Apache-2.0

package uplot

import (
	"strings"
	"testing"
)

// A page that holds the files must not end early because of them.
func TestFilesFitIntoAPage(t *testing.T) {
	for name, text := range map[string]string{"script": Script, "style": Style, "licence": License} {
		if text == "" {
			t.Errorf("the %s is empty", name)
		}
		for _, end := range []string{"</script", "</style", "<!--", "-->"} {
			if strings.Contains(strings.ToLower(text), end) {
				t.Errorf("the %s has %q in it", name, end)
			}
		}
	}
	if !strings.Contains(Script, "v1.6.32") || !strings.Contains(License, "MIT License") {
		t.Error("the version or the licence is another one")
	}
}
