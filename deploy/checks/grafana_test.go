// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

const dashboardFile = "../grafana/speadx.json"

// board is what the tests need of a dashboard.
type board struct {
	UID        string `json:"uid"`
	Templating struct {
		List []variable `json:"list"`
	} `json:"templating"`
	Annotations struct {
		List []struct {
			Expr string `json:"expr"`
		} `json:"list"`
	} `json:"annotations"`
	Panels []boardPanel `json:"panels"`
}

type variable struct {
	Name       string          `json:"name"`
	Type       string          `json:"type"`
	Query      json.RawMessage `json:"query"`
	Definition string          `json:"definition"`
}

type source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type boardPanel struct {
	ID          int    `json:"id"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Datasource  source `json:"datasource"`
	GridPos     struct {
		X, Y, W, H int
	} `json:"gridPos"`
	Targets []struct {
		RefID      string `json:"refId"`
		Datasource source `json:"datasource"`
		Expr       string `json:"expr"`
	} `json:"targets"`
}

func readBoard(t *testing.T) (b board) {
	t.Helper()
	if err := json.Unmarshal(read(t, dashboardFile), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// strictly reads a dashboard with the types that are made from Grafana's schemas. They
// refuse unknown fields.
func strictly(text []byte) error {
	var d dashboard.Dashboard
	for _, err := range []error{d.UnmarshalJSONStrict(text), d.Validate()} {
		// The types return an empty list where they found nothing.
		var found cog.BuildErrors
		if err != nil && (!errors.As(err, &found) || len(found) > 0) {
			return err
		}
	}
	return nil
}

// TestDashboard: Grafana's own types read the dashboard strictly. Its panels have places and
// names of their own, and nothing in it has to be filled in.
func TestDashboard(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	text := read(t, dashboardFile)
	if err := strictly(text); err != nil {
		t.Fatal(err)
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(text, &top); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"id", "__inputs", "__requires"} { // of one Grafana, or of a form to fill in
		if top[key] != nil {
			t.Errorf("the dashboard has %s", key)
		}
	}
	b := readBoard(t)
	if len(b.UID) < 8 || len(b.UID) > 40 {
		t.Errorf("uid %q", b.UID)
	}
	known := map[string]bool{"__rate_interval": true, "__all": true}
	for _, v := range b.Templating.List {
		if v.Type == "datasource" != (v.Name == "datasource") {
			t.Errorf("variable %s is a %s", v.Name, v.Type)
		}
		known[v.Name] = true
	}
	for _, want := range []string{"datasource", "instance", "stream", "device"} {
		if !known[want] {
			t.Errorf("no variable %s", want)
		}
	}
	// $name is the only form, and matches a whole label.
	for _, m := range regexp.MustCompile(`\$\{?(\w+)`).FindAllSubmatch(text, -1) {
		if !known[string(m[1])] {
			t.Errorf("there is no variable %s", m[1])
		}
	}
	theSource := source{"prometheus", "${datasource}"}
	ids := map[int]bool{}
	for i, p := range b.Panels {
		if p.ID <= 0 || ids[p.ID] {
			t.Errorf("panel %q: id %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		g := p.GridPos
		if g.X < 0 || g.Y < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
			t.Errorf("panel %q is at %+v", p.Title, g)
		}
		for _, o := range b.Panels[:i] {
			if h := o.GridPos; g.X < h.X+h.W && h.X < g.X+g.W && g.Y < h.Y+h.H && h.Y < g.Y+g.H {
				t.Errorf("panels %q and %q overlap", o.Title, p.Title)
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Title == "" || p.Description == "" || p.Datasource != theSource || len(p.Targets) == 0 {
			t.Errorf("panel %d lacks a title, a description, a data source or queries: %+v", p.ID, p)
		}
		var refs []string
		for _, q := range p.Targets {
			if q.Expr == "" || q.Datasource != theSource || slices.Contains(refs, q.RefID) {
				t.Errorf("panel %q: query %+v", p.Title, q)
			}
			refs = append(refs, q.RefID)
			if strings.Contains(q.Expr, "speadx:") || strings.Contains(q.Expr, ":rate") {
				t.Errorf("panel %q needs recording rules: %s", p.Title, q.Expr)
			}
		}
	}
}

// TestDashboardSchema: what is wrong in a dashboard is found by the types that it is read with.
func TestDashboardSchema(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	text := string(read(t, dashboardFile))
	for _, c := range []struct{ old, with string }{
		{`"gridPos"`, `"gridpos"`},
		{`"expr"`, `"expression"`},
		{`"graphMode"`, `"graphmode"`},
		{`"h": 4`, `"h": "4"`},
		{`"schemaVersion": 39,`, ``},
	} {
		wrong := strings.Replace(text, c.old, c.with, 1)
		if wrong == text {
			t.Fatalf("no %s", c.old)
		}
		if err := strictly([]byte(wrong)); err == nil {
			t.Errorf("%s in place of %s is read without an error", c.with, c.old)
		}
	}
}
