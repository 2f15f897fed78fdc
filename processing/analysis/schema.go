package analysis

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// promptVersion is the name of the files in use. A new prompt or schema is a new pair of
// files: answers that are kept say which one they are of.
const promptVersion = "analyse-v1"

//go:embed prompts/analyse-v1.txt
var instructions string

//go:embed prompts/analyse-v1.schema.json
var schemaJSON []byte

// compileSchema returns the schema that models are given and their answers must match.
func compileSchema() *jsonschema.Schema {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemaJSON))
	if err != nil {
		panic(err) // it is embedded, so this is a typing error, which every test finds
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(promptVersion, document); err != nil {
		panic(err)
	}
	return c.MustCompile(promptVersion)
}

// maxDraft is how long a model's draft may be, in bytes: the longest that is of use has
// some tens of kilobytes.
const maxDraft = 1 << 20

// parseDraft reads a model's answer: one JSON object that matches the schema, alone or in
// a code fence. The error says what is wrong, for the model: it may quote the answer.
func parseDraft(schema *jsonschema.Schema, answer string) (draft, error) {
	if len(answer) > maxDraft {
		return draft{}, errors.New("it is too long")
	}
	text := unfence(answer)
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text)) // refuses what follows the object
	if err != nil {
		return draft{}, fmt.Errorf("it is not one JSON object: %w", err)
	}
	if err := schema.Validate(value); err != nil {
		return draft{}, err
	}
	var d draft
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields() // another case of a name is unknown to the schema, too
	if err := decoder.Decode(&d); err != nil {
		return draft{}, err // a number that is beyond its type
	}
	return d, nil
}

// unfence takes the code fence away that models put around JSON.
func unfence(s string) string {
	s = strings.TrimSpace(s)
	inner, fenced := strings.CutPrefix(s, "```")
	if !fenced {
		return s
	}
	inner = strings.TrimPrefix(inner, "json")
	return strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(inner), "```"))
}
