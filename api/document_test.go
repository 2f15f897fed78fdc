package api

import (
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// elsewhere is what the document has and other packages serve.
var elsewhere = []string{
	"OPTIONS /files/", "POST /files/", "HEAD /files/{id}", "PATCH /files/{id}", "DELETE /files/{id}", "GET /v1/events",
}

// undocumented is what the API serves that is not an operation.
var undocumented = []string{"/v1/", "GET /openapi.json", "GET /docs"}

// recordingMux remembers what is put on it.
type recordingMux struct {
	*http.ServeMux
	patterns []string
}

func (m *recordingMux) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	m.patterns = append(m.patterns, pattern)
	m.ServeMux.HandleFunc(pattern, h)
}

// document is the part of OpenAPI 3.1 that the tests look at.
type document struct {
	OpenAPI string
	Info    struct{ Title, Version string }
	Servers []struct{ URL string }
	Paths   map[string]map[string]struct {
		OperationID string
		Summary     string
		Tags        []string
		Security    *[]map[string][]string
		Parameters  []struct {
			Name, In string
			Required bool
			Schema   json.RawMessage
		}
		RequestBody json.RawMessage
		Responses   map[string]struct {
			Description string
			Content     map[string]struct {
				Schema   json.RawMessage
				Example  any
				Examples map[string]struct{ Value Problem }
			}
		}
	}
	Components struct {
		Schemas         map[string]json.RawMessage
		SecuritySchemes map[string]map[string]string
	}
	Tags []struct{ Name string }
}

func readDocument(t *testing.T, s *server) (document, string) {
	t.Helper()
	w := s.do(request{method: http.MethodGet, path: "/openapi.json"})
	return wantJSON[document](t, w, http.StatusOK), w.Body.String()
}

func TestDocumentMatchesRoutes(t *testing.T) {
	t.Parallel()
	mux := &recordingMux{ServeMux: http.NewServeMux()}
	s := &fake{}
	New(mux, Options{Catalog: s, Objects: s, Problems: NewProblems(slog.New(slog.DiscardHandler)), PublicURL: publicURL})
	doc, _ := readDocument(t, newServer(t))
	var documented []string
	for path, item := range doc.Paths {
		for method := range item {
			documented = append(documented, strings.ToUpper(method)+" "+path)
		}
	}
	served := slices.Concat(mux.patterns, elsewhere)
	served = slices.DeleteFunc(served, func(p string) bool { return slices.Contains(undocumented, p) })
	slices.Sort(documented)
	slices.Sort(served)
	if diff := cmp.Diff(served, documented); diff != "" {
		t.Errorf("served and documented differ:\n%s", diff)
	}
	// And a request by each documented path arrives at its own route.
	for _, route := range documented {
		if slices.Contains(elsewhere, route) {
			continue
		}
		method, path, _ := strings.Cut(route, " ")
		r, err := http.NewRequest(method, strings.ReplaceAll(path, "{id}", uuid.NewString()), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, pattern := mux.Handler(r); pattern != route {
			t.Errorf("%s goes to %q", route, pattern)
		}
	}
}

func TestDocumentStructure(t *testing.T) {
	t.Parallel()
	doc, text := readDocument(t, newServer(t))
	if doc.OpenAPI != "3.1.0" || doc.Info.Title != "Reprise" || doc.Info.Version != "1.2.3" || len(doc.Servers) != 1 || doc.Servers[0].URL != publicURL {
		t.Errorf("openapi %q, info %+v, servers %+v", doc.OpenAPI, doc.Info, doc.Servers)
	}
	if diff := cmp.Diff("bearer", doc.Components.SecuritySchemes["bearer"]["scheme"]); diff != "" {
		t.Error(diff)
	}
	for _, ref := range regexp.MustCompile(`"\$ref": "([^"]*)"`).FindAllStringSubmatch(text, -1) {
		name, ok := strings.CutPrefix(ref[1], "#/components/schemas/")
		if _, known := doc.Components.Schemas[name]; !ok || !known {
			t.Errorf("%s leads nowhere", ref[1])
		}
	}
	want := []string{
		"AdminUser", "Analysis", "Artifact", "Audit", "AuditPage", "ChangeReason", "Chapter", "Correction", "CorrectionBody", "Corrections",
		"CountedEntity", "EntitiesPage", "Entity", "EntityCard", "EntityPatch", "EntityRef", "Event", "EventsPage", "FieldError", "Found",
		"GraphEdge", "GraphNode", "Insight", "Insights", "Limits", "Links", "Loudness", "Media", "Mention", "MentionedIn", "MergedEntity",
		"NamedEntity", "OccursWith", "OtherEntity", "Problem", "Quote", "Recording", "RecordingPatch", "RecordingState", "RecordingStatesPage",
		"RecordingsPage", "Related", "RelatedPage", "Reprocessing", "SearchPage", "Segment", "Sentiment", "Shared", "Silence", "Snippet",
		"StoriesPage", "Story", "StoryBody", "StoryRef", "Subgraph", "Ticket", "TimelineItem", "TimelinePage", "Topic", "Transcript", "Upload",
		"UploadsPage", "Usage", "User", "UsersPage", "Word",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(doc.Components.Schemas))); diff != "" {
		t.Errorf("schemas: %s", diff)
	}
}

func TestDocumentOperations(t *testing.T) {
	t.Parallel()
	doc, _ := readDocument(t, newServer(t))
	tags := []string{}
	for _, tag := range doc.Tags {
		tags = append(tags, tag.Name)
	}
	ids := map[string]bool{}
	for path, item := range doc.Paths {
		var inPath []string
		for _, match := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
			inPath = append(inPath, match[1])
		}
		for method, op := range item {
			where := method + " " + path
			if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" || op.Security == nil {
				t.Errorf("%s: operationId %q (twice: %t), summary %q, security %v", where, op.OperationID, ids[op.OperationID], op.Summary, op.Security)
			}
			ids[op.OperationID] = true
			if len(op.Tags) != 1 || !slices.Contains(tags, op.Tags[0]) {
				t.Errorf("%s: tags %v", where, op.Tags)
			}
			var declared []string
			for _, p := range op.Parameters {
				if p.In == "path" {
					declared = append(declared, p.Name)
				}
				if p.Schema == nil || p.In == "path" && !p.Required {
					t.Errorf("%s: parameter %+v", where, p)
				}
			}
			if diff := cmp.Diff(inPath, declared); diff != "" {
				t.Errorf("%s: path parameters %s", where, diff)
			}
			if _, ok := op.Responses["401"]; !ok && method != "options" {
				t.Errorf("%s: no 401", where)
			}
			for status, response := range op.Responses {
				if response.Description == "" {
					t.Errorf("%s: %s has no description", where, status)
				}
				if status < "400" {
					if json, ok := response.Content["application/json"]; ok && json.Example == nil && path != "/v1/recordings/{id}/peaks" {
						t.Errorf("%s: %s has no example", where, status)
					}
					continue
				}
				if status == "422" || method == "head" && response.Content != nil || method != "head" && len(response.Content[problemType].Examples) == 0 {
					t.Errorf("%s: %s: %+v", where, status, response.Content)
				}
				for code, example := range response.Content[problemType].Examples {
					if p := example.Value; string(p.Code) != code || strconv.Itoa(p.Status) != status {
						t.Errorf("%s: %s: example %s is %+v", where, status, code, p)
					}
				}
			}
		}
	}
}

func TestDocsPageIsComplete(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	doc, _ := readDocument(t, s)
	w := s.do(request{method: http.MethodGet, path: "/docs"})
	page := w.Body.String()
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/html; charset=utf-8" || w.Header().Get("Content-Security-Policy") != docsPolicy {
		t.Errorf("status %d, headers %v", w.Code, w.Header())
	}
	for _, item := range doc.Paths {
		for _, op := range item {
			if !strings.Contains(page, `<section id="`+op.OperationID+`">`) {
				t.Errorf("%s is not on the page", op.OperationID)
			}
		}
	}
	for code := range kinds { // where the type of a problem leads
		if strings.Count(page, `id="`+string(code)+`"`) != 1 {
			t.Errorf("no place for the problem %s", code)
		}
	}
	ids := map[string]bool{}
	for _, id := range regexp.MustCompile(` id="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if ids[id[1]] {
			t.Errorf("id %s is there twice", id[1])
		}
		ids[id[1]] = true
	}
	for _, href := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if name, ok := strings.CutPrefix(href[1], "#"); href[1] != "/openapi.json" && (!ok || !ids[name]) {
			t.Errorf("link to %s", href[1])
		}
	}
	if loads := regexp.MustCompile(`<script|<link|<img|<iframe|src=|@import|url\(`).FindAllString(page, -1); loads != nil {
		t.Errorf("the page loads: %v", loads)
	}
}

func TestDocumentNeedsNoToken(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, path := range []string{"/openapi.json", "/docs"} {
		w := s.do(request{method: http.MethodHead, path: path})
		if n, err := strconv.Atoi(w.Header().Get("Content-Length")); w.Code != http.StatusOK || err != nil || n < 1000 {
			t.Errorf("%s: %d, %d bytes, %v", path, w.Code, n, err)
		}
	}
}
