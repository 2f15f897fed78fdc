package api

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"reprise/recording"
)

// docsPolicy lets the page load nothing: it is one document without scripts.
const docsPolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

//go:embed docs.html
var docsHTML string

// The page's data: the OpenAPI document in the order people read it.
type docsPage struct {
	Title, Version, Description string
	Groups                      []docsGroup
	Schemas                     []docsSchema
	Problems                    []docsProblem
}

type docsGroup struct {
	Name, Description string
	Operations        []docsOperation
}

type docsOperation struct {
	*huma.Operation
	Public    bool
	BodyTypes []string
	Body      *huma.Schema
	Answers   []docsAnswer
}

type docsAnswer struct {
	Status      string
	Description string
	Headers     []string
	Types       []string
	Schema      *huma.Schema
	Codes       []string
	Example     string
}

type docsSchema struct {
	Name   string
	Fields []docsField
}

type docsField struct {
	Name     string
	Required bool
	Schema   *huma.Schema
}

type docsProblem struct {
	Code   recording.Code
	Status int
	Title  string
}

// renderDocs makes a page of the document, on the server and once, so that it
// needs no script and nothing from elsewhere.
func renderDocs(doc *huma.OpenAPI) ([]byte, error) {
	page := docsPage{Title: doc.Info.Title, Version: doc.Info.Version, Description: doc.Info.Description}
	for _, tag := range doc.Tags {
		group := docsGroup{Name: tag.Name, Description: tag.Description}
		for _, op := range operations(doc) {
			if slices.Contains(op.Tags, tag.Name) {
				described, err := describeOperation(op)
				if err != nil {
					return nil, err
				}
				group.Operations = append(group.Operations, described)
			}
		}
		page.Groups = append(page.Groups, group)
	}
	schemas := doc.Components.Schemas.Map()
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		s := docsSchema{Name: name}
		for _, field := range slices.Sorted(maps.Keys(schemas[name].Properties)) {
			s.Fields = append(s.Fields, docsField{field, slices.Contains(schemas[name].Required, field), schemas[name].Properties[field]})
		}
		page.Schemas = append(page.Schemas, s)
	}
	for _, code := range slices.Sorted(maps.Keys(kinds)) {
		page.Problems = append(page.Problems, docsProblem{code, kinds[code].status, kinds[code].title})
	}
	slices.SortStableFunc(page.Problems, func(a, b docsProblem) int { return a.Status - b.Status })

	t, err := template.New("docs").Funcs(template.FuncMap{"typeOf": typeOf, "refOf": refOf, "prose": prose}).Parse(docsHTML)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, page)
	return out.Bytes(), err
}

// operations returns every operation of a document, by path and then in the
// order of use.
func operations(doc *huma.OpenAPI) []*huma.Operation {
	var list []*huma.Operation
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		item := doc.Paths[path]
		for _, op := range []*huma.Operation{item.Options, item.Post, item.Get, item.Head, item.Patch, item.Delete} {
			if op != nil {
				list = append(list, op)
			}
		}
	}
	return list
}

func describeOperation(op *huma.Operation) (docsOperation, error) {
	d := docsOperation{Operation: op, Public: len(op.Security) > 0 && len(op.Security[0]) == 0}
	if op.RequestBody != nil {
		d.BodyTypes = slices.Sorted(maps.Keys(op.RequestBody.Content))
		for _, content := range op.RequestBody.Content {
			d.Body = content.Schema
		}
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		response := op.Responses[status]
		answer := docsAnswer{
			Status: status, Description: response.Description,
			Headers: slices.Sorted(maps.Keys(response.Headers)),
			Types:   slices.Sorted(maps.Keys(response.Content)),
		}
		for _, content := range response.Content {
			answer.Schema = content.Schema
			answer.Codes = slices.Sorted(maps.Keys(content.Examples))
			if content.Example != nil {
				text, err := json.MarshalIndent(content.Example, "", "  ")
				if err != nil {
					return d, fmt.Errorf("example of %s: %w", op.OperationID, err)
				}
				answer.Example = string(text)
			}
		}
		d.Answers = append(d.Answers, answer)
	}
	return d, nil
}

// typeOf says in words what a schema is; a schema with a name is shown by it.
func typeOf(s *huma.Schema) string {
	switch {
	case s == nil:
		return "bytes"
	case s.Ref != "":
		return refName(s.Ref)
	case s.Type == huma.TypeArray:
		return "list of " + typeOf(s.Items)
	case s.Type == "":
		return "any"
	}
	text := s.Type
	if s.Format != "" && s.Type == huma.TypeString {
		text = s.Format
	}
	if len(s.Enum) > 0 {
		values := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			values[i] = fmt.Sprint(v)
		}
		text = strings.Join(values, " | ")
	}
	if s.Default != nil {
		text += fmt.Sprintf(", default %v", s.Default)
	}
	if s.Minimum != nil && s.Maximum != nil {
		text += fmt.Sprintf(", %v to %v", *s.Minimum, *s.Maximum)
	}
	if s.Nullable {
		text += " or null"
	}
	return text
}

// refOf returns the name of the schema that s is, or is a list of; else "".
func refOf(s *huma.Schema) string {
	switch {
	case s == nil:
		return ""
	case s.Ref != "":
		return refName(s.Ref)
	case s.Type == huma.TypeArray:
		return refOf(s.Items)
	}
	return ""
}

// prose makes paragraphs of text, with what is between backticks as code.
func prose(text string) template.HTML {
	var out strings.Builder
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		out.WriteString("<p>")
		for i, piece := range strings.Split(paragraph, "`") {
			if i%2 == 1 {
				piece = "<code>" + template.HTMLEscapeString(piece) + "</code>"
			} else {
				piece = template.HTMLEscapeString(piece)
			}
			out.WriteString(piece)
		}
		out.WriteString("</p>")
	}
	return template.HTML(out.String()) // every piece is escaped above
}
