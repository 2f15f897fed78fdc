package clients

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"reprise/config"
)

type relatedView struct {
	RecordingID string
	Score       float64
	Why         []struct{ ID, Kind, Name string }
}

// From uploads to the graph: real speech is written down by a program on this machine,
// what it is about is found, and the recording that says the same is related.
func TestGraphOfUploads(t *testing.T) {
	t.Parallel()
	s := newServer(t, onGraph(t), func(c *config.Config) { c.AITranscription = "local" })
	u, bob := s.user(t, "alice"), s.user(t, "bob")
	w := u.watch(100)
	upload := func(u user, title, recordedAt, file string, make ...string) string {
		id, _ := u.upload(readFile(t, makeAudio(t, file, make...)), map[string]string{
			"title": title, "language": "en", "recordedAt": recordedAt, "storyId": newID(),
		})
		return id
	}
	// The same words in other bytes, and something without a word.
	later := upload(u, "later", "1963-01-01T00:00:00Z", "later.flac", "-t", "12", "-i", speech)
	earlier := upload(u, "earlier", "1962-01-01T00:00:00Z", "earlier.wav", "-t", "12", "-i", speech)
	tone := upload(u, "tone", "1962-06-01T00:00:00Z", "tone.flac", "-f", "lavfi", "-i", "sine=d=2")
	bobs := upload(bob, "bob's", "1961-01-01T00:00:00Z", "tone.flac", "-f", "lavfi", "-i", "sine=d=2")
	for _, id := range []string{later, earlier} {
		w.reached(t, id, "analysis.ready")
	}
	w.reached(t, tone, "recording.ready")

	related := awaitPage[relatedView](u, "/v1/recordings/"+later+"/related", 1)
	if related[0].RecordingID != earlier || related[0].Score <= 0 || len(related[0].Why) == 0 {
		t.Fatalf("related to one is %+v, want the other, %s", related, earlier)
	}
	shared := related[0].Why[0]
	t.Logf("both have %+v", related[0].Why)
	type graphView struct {
		Nodes    []struct{ ID, Kind string }
		Complete bool
	}
	path := get[graphView](u, "/v1/graph/path?from="+earlier+"&to="+later)
	if len(path.Nodes) != 3 || path.Nodes[0].ID != earlier || path.Nodes[2].ID != later {
		t.Errorf("path: %+v", path)
	}
	card := get[struct {
		Name        string
		MentionedIn []struct{ RecordingID string }
	}](u, "/v1/entities/"+shared.ID)
	if card.Name != shared.Name || len(card.MentionedIn) != 2 || card.MentionedIn[0].RecordingID != later {
		t.Errorf("%+v is %+v", shared, card)
	}
	type item struct{ RecordingID string }
	line := awaitPage[item](u, "/v1/timeline", 3)
	if ids := []string{line[0].RecordingID, line[1].RecordingID, line[2].RecordingID}; !slices.Equal(ids, []string{earlier, tone, later}) {
		t.Errorf("timeline: %q, want earlier %s, tone %s, later %s", ids, earlier, tone, later)
	}
	if list := awaitPage[item](bob, "/v1/timeline", 1); list[0].RecordingID != bobs {
		t.Errorf("bob's timeline: %+v", list)
	}
	// What its owner calls it, and what is deleted.
	name := fmt.Appendf(nil, `{"name":"As %s is called"}`, shared.Kind)
	if got := u.do(http.MethodPatch, "/v1/entities/"+shared.ID, name, "Content-Type", "application/json"); got.status != http.StatusOK {
		t.Fatal(got)
	}
	awaitPage[struct{ ID string }](u, "/v1/entities?q=as+"+shared.Kind+"+is", 1)
	if got := u.do(http.MethodDelete, "/v1/recordings/"+earlier, nil); got.status != http.StatusNoContent {
		t.Fatal(got)
	}
	awaitPage[relatedView](u, "/v1/recordings/"+later+"/related", 0)
	if got := u.do(http.MethodGet, "/v1/graph/neighborhood?of="+earlier, nil); got.status != http.StatusNotFound {
		t.Errorf("around what is deleted: %v", got)
	}
}

// awaitPage asks the graph until it has as many items as there must be.
func awaitPage[T any](u user, path string, items int) []T {
	u.t.Helper()
	var last answer
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if last = u.do(http.MethodGet, path, nil); last.status != http.StatusOK {
			continue
		}
		if list := get[page[T]](u, path).Items; len(list) == items {
			return list
		}
	}
	u.t.Fatalf("GET %s has not %d items: %v", path, items, last)
	return nil
}

// Without a graph questions say so, and with one that is away everything else works.
func TestGraphIsNotNeeded(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*config.Config){
		"none": func(*config.Config) {},
		"away": func(c *config.Config) { c.Neo4jURL, c.Neo4jPassword = "bolt://127.0.0.1:1", "x" },
	} {
		s := newServer(t, change)
		u := s.user(t, "alice")
		began := time.Now()
		for _, path := range []string{"/v1/entities", "/v1/timeline", "/v1/recordings/" + newID() + "/related"} {
			got := u.do(http.MethodGet, path, nil)
			if got.status != http.StatusServiceUnavailable || got.code() != "graph_unavailable" || got.header.Get("Retry-After") == "" {
				t.Errorf("%s, %s: %v", name, path, got)
			}
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
		u.create(1000, nil)
	}
}
