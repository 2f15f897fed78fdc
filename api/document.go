package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"reprise/recording"
)

// The groups of the document, in its order.
const (
	tagAccount    = "Account"
	tagUploads    = "Uploads"
	tagRecordings = "Recordings"
	tagStories    = "Stories"
	tagInsights   = "Transcripts and search"
	tagEntities   = "People, places and topics"
	tagEvents     = "Events"
	tagAdmin      = "Administration"
)

const bearerScheme = "bearer"

func (a *API) config(version string) huma.Config {
	c := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:   "Reprise",
				Version: version,
				Description: "Takes recordings from phones on bad networks and makes them playable.\n\n" +
					"Every request needs a token: `Authorization: Bearer …`. " +
					"JSON is camelCase, times are RFC 3339 in UTC, durations end in `Ms`, sizes in `Bytes`; an answer may get new fields. " +
					"Errors are `application/problem+json` (RFC 9457) with a stable `code`; where a limit is why, `limitName`, `limit` and `used` say which, and `Retry-After` when to ask again. " +
					"What belongs to somebody else answers as what does not exist: 404.",
				License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Servers: []*huma.Server{{URL: a.publicURL}},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", schemaName),
				SecuritySchemes: map[string]*huma.SecurityScheme{bearerScheme: {
					Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "An identity token of the configured provider.",
				}},
			},
			Security: []map[string][]string{{bearerScheme: {}}},
			Tags: []*huma.Tag{
				{Name: tagAccount, Description: "The user."},
				{Name: tagUploads, Description: "Sending a recording: the tus protocol 1.0.0 (https://tus.io/protocols/resumable-upload), extensions creation, creation-with-upload, creation-defer-length, termination and concatenation. Any tus client will do."},
				{Name: tagRecordings, Description: "What has been sent."},
				{Name: tagStories, Description: "What recordings are gathered in."},
				{Name: tagInsights, Description: "What was said, what it is about, and finding it again. Nobody waits for these to listen: they follow when the recording is ready."},
				{Name: tagEntities, Description: "Who and what recordings mention, or are about, across all of a user's recordings. Two users share none of them."},
				{Name: tagEvents, Description: "What is happening."},
				{Name: tagAdmin, Description: "For tokens with the custom claim `role`: `support` reads, `admin` also changes. For all others these paths do not exist. Every use is written into the audit. Nothing here tells titles, file names or content."},
			},
		},
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{translate},
	}
	// Clients must bear new fields in answers; bodies say themselves that theirs
	// must be known.
	c.AllowAdditionalPropertiesByDefault = true
	return c
}

// document adds what operations have in common: the token and the errors.
func (a *API) document(op *huma.Operation, codes []recording.Code) {
	op.Security = []map[string][]string{{bearerScheme: {}}}
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	codes = append(slices.Clone(codes), recording.CodeUnauthenticated, recording.CodeRateLimited, recording.CodeInternal, recording.CodeUnavailable)
	schema := a.problemSchema()
	for _, code := range codes {
		status := strconv.Itoa(Status(code))
		response := op.Responses[status]
		if response == nil {
			response = &huma.Response{Description: kinds[code].title + "."}
			op.Responses[status] = response
		} else {
			response.Description += " " + kinds[code].title + "."
		}
		if op.Method == http.MethodHead {
			continue // has no body
		}
		if response.Content == nil {
			response.Content = map[string]*huma.MediaType{problemType: {Schema: schema, Examples: map[string]*huma.Example{}}}
		}
		example := newProblem(code, exampleDetail(code))
		example.exampleLimit()
		response.Content[problemType].Examples[string(code)] = &huma.Example{Value: example}
	}
}

// exampleDetail is a detail as it may come with a code.
func exampleDetail(code recording.Code) string {
	switch code {
	case recording.CodeNotFound:
		return recording.ErrNotFound.Message
	case recording.CodeTakenOver:
		return recording.ErrTakenOver.Message
	}
	return "What is wrong, in a sentence for people."
}

// exampleLimit adds what comes with the code of a limit.
func (p *Problem) exampleLimit() {
	day := time.Date(2026, 5, 5, 0, 0, 0, 0, time.UTC)
	switch p.Code {
	case recording.CodeRateLimited:
		p.exceeded(&recording.Exceeded{Name: recording.LimitUserRequests, Limit: 100})
	case recording.CodeTooManyUploads:
		p.exceeded(&recording.Exceeded{Name: recording.LimitOpenUploads, Limit: 1000, Used: 1000})
	case recording.CodeDailyQuota:
		p.exceeded(&recording.Exceeded{Name: recording.LimitDailyBytes, Limit: 20 << 30, Used: 19 << 30, ResetAt: day})
	case recording.CodeStorageQuota:
		p.exceeded(&recording.Exceeded{Name: recording.LimitStoredBytes, Limit: 200 << 30, Used: 199 << 30})
	}
}

func (a *API) problemSchema() *huma.Schema {
	registry := a.huma.OpenAPI().Components.Schemas
	ref := registry.Schema(reflect.TypeFor[Problem](), true, "")
	enum := []any{}
	for _, code := range slices.Sorted(maps.Keys(kinds)) {
		enum = append(enum, string(code))
	}
	registry.SchemaFromRef(ref.Ref).Properties["code"].Enum = enum
	return ref
}

// fileResponses documents the answers of serveFile.
func fileResponses(method string, types ...string) map[string]*huma.Response {
	whole := &huma.Response{Description: "The whole file.", Headers: headers("ETag", "Accept-Ranges", "Content-Disposition", "Last-Modified")}
	part := &huma.Response{Description: "The part that Range asks for.", Headers: headers("ETag", "Content-Range")}
	if method != http.MethodHead {
		whole.Content, part.Content = map[string]*huma.MediaType{}, map[string]*huma.MediaType{}
		for _, t := range types {
			whole.Content[t] = &huma.MediaType{}
			part.Content[t] = &huma.MediaType{}
		}
	}
	return map[string]*huma.Response{
		"200": whole, "206": part,
		"304": {Description: "The client's copy, named by If-None-Match, is the current one.", Headers: headers("ETag")},
		"307": {Description: "The file is at Location, in the storage: a URL for this method that is valid for 5 minutes and needs no token. Ask here again when it answers 403. Not if the operator has chosen otherwise, or with redirect=false.", Headers: headers("Location")},
	}
}

func headers(names ...string) map[string]*huma.Header {
	h := map[string]*huma.Header{}
	for _, name := range names {
		h[name] = &huma.Header{Schema: &huma.Schema{Type: huma.TypeString}}
	}
	return h
}

func headerParam(name, description string, required bool) *huma.Param {
	return &huma.Param{Name: name, In: "header", Description: description, Required: required, Schema: &huma.Schema{Type: huma.TypeString}}
}

// serveDocument finishes the document and puts it and its page on the router. They are
// rendered when somebody asks for the first time, which no start has to wait for.
func (a *API) serveDocument(router Router) {
	doc := a.huma.OpenAPI()
	// huma registers its own type of errors, which no answer has.
	delete(doc.Components.Schemas.Map(), "ErrorModel")
	delete(doc.Components.Schemas.Map(), "ErrorDetail")
	a.addExamples(doc)
	text := func() ([]byte, error) { return json.MarshalIndent(doc, "", "  ") }
	page := func() ([]byte, error) { return renderDocs(doc) }
	router.HandleFunc("GET /openapi.json", a.static(text, http.Header{"Content-Type": {"application/json"}}))
	router.HandleFunc("GET /docs", a.static(page, http.Header{
		"Content-Type":            {"text/html; charset=utf-8"},
		"Content-Security-Policy": {docsPolicy},
	}))
}

// static serves what is rendered once and doesn't change while the program runs.
func (a *API) static(render func() ([]byte, error), header http.Header) func(http.ResponseWriter, *http.Request) {
	rendered := sync.OnceValues(render)
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := rendered()
		if err != nil {
			a.problems.Write(w, r, err)
			return
		}
		for name, values := range header {
			w.Header()[name] = values
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body) // the client may have gone
	}
}

// refName returns the name that a reference to a component ends in.
func refName(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }
