package report

import (
	"os"
	"testing"
)

// The documents hold the tables of the ledger as they are.
func TestDocumentsAreFresh(t *testing.T) {
	for _, path := range Documents {
		b, err := os.ReadFile("../../docs/" + path)
		if err != nil {
			t.Fatal(err)
		}
		want, err := Document(string(b))
		if err != nil {
			t.Fatal(err)
		}
		if string(b) != want {
			t.Errorf("docs/%s does not have the tables of package ledger: make generate", path)
		}
	}
}

func TestDocumentErrors(t *testing.T) {
	for _, text := range []string{"<!-- generated: nothing -->\n<!-- end -->", "<!-- generated: fates -->\n"} {
		if _, err := Document(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}
