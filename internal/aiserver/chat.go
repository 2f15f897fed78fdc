package aiserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"slices"
	"strings"
)

// Chat is what a model is asked.
type Chat struct {
	Model    string
	Messages []Message
	Schema   json.RawMessage // of the answer; nil if none is asked for
}

// Message is one of a chat.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// answerChat checks a question as OpenAI does, and answers it.
func (s *Server) answerChat(body []byte, contentType string) (any, error) {
	if kind, _, err := mime.ParseMediaType(contentType); err != nil || kind != "application/json" {
		return nil, errors.New("the body is not application/json")
	}
	var q struct {
		Model    string    `json:"model"`
		Messages []Message `json:"messages"`
		Stream   bool      `json:"stream"`
		Format   struct {
			Type   string `json:"type"`
			Schema struct {
				Name   string          `json:"name"`
				Strict bool            `json:"strict"`
				Schema json.RawMessage `json:"schema"`
			} `json:"json_schema"`
		} `json:"response_format"`
	}
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, fmt.Errorf("we could not parse the JSON body of your request: %w", err)
	}
	switch {
	case q.Model == "":
		return nil, errors.New("you must provide a model parameter")
	case len(q.Messages) == 0:
		return nil, errors.New("there are no messages")
	case q.Stream:
		return nil, errors.New("nothing is streamed here")
	case q.Format.Type == "json_schema" && (q.Format.Schema.Name == "" || len(q.Format.Schema.Schema) == 0):
		return nil, errors.New("missing response_format.json_schema.name or .schema")
	}
	s.mu.Lock()
	chat := s.chat
	s.mu.Unlock()
	content, err := chat(Chat{Model: q.Model, Messages: q.Messages, Schema: q.Format.Schema.Schema})
	if err != nil {
		return nil, err
	}
	asked := len(body) / 4 // about a token in four bytes, as people say
	return map[string]any{
		"id": "chatcmpl-1", "object": "chat.completion", "created": 1764288000, "model": q.Model,
		"choices": []any{map[string]any{
			"index": 0, "message": map[string]any{"role": "assistant", "content": content, "refusal": nil}, "logprobs": nil, "finish_reason": "stop",
		}},
		"usage": map[string]any{
			"prompt_tokens": asked, "completion_tokens": len(content) / 4, "total_tokens": asked + len(content)/4,
		},
	}, nil
}

// Invent answers with the least that the schema wants: every text is what is longest of
// the last message's texts, so that what is quoted was said.
func Invent(q Chat) (string, error) {
	if q.Schema == nil {
		return "I am a stand-in.", nil
	}
	var schema map[string]any
	if err := json.Unmarshal(q.Schema, &schema); err != nil {
		return "", err
	}
	line := ""
	for _, said := range texts(q.Messages[len(q.Messages)-1].Content) {
		if said = strings.TrimSpace(said); len(said) > len(line) {
			line = said
		}
	}
	text, err := json.Marshal(instance(schema, line))
	return string(text), err
}

// texts returns the texts in a message that is JSON, or else its lines.
func texts(message string) []string {
	var value any
	if json.Unmarshal([]byte(message), &value) != nil {
		return strings.Split(message, "\n")
	}
	var found []string
	var walk func(value any)
	walk = func(value any) {
		switch value := value.(type) {
		case string:
			found = append(found, value)
		case []any:
			for _, v := range value {
				walk(v)
			}
		case map[string]any:
			for _, v := range value {
				walk(v)
			}
		}
	}
	walk(value)
	return found
}

// instance returns something that a JSON schema allows, of the kind that OpenAI's
// strict mode takes.
func instance(schema map[string]any, text string) any {
	if values, isEnum := schema["enum"].([]any); isEnum && len(values) > 0 {
		return values[0]
	}
	kind := schema["type"]
	if kinds, isUnion := kind.([]any); isUnion && len(kinds) > 0 {
		kind = kinds[0]
	}
	switch kind {
	case "object":
		value := map[string]any{}
		properties, _ := schema["properties"].(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			property, _ := properties[name].(map[string]any)
			value[name] = instance(property, text)
		}
		return value
	case "array":
		items, _ := schema["items"].(map[string]any)
		return []any{instance(items, text)}
	case "string":
		if longest, bounded := schema["maxLength"].(float64); bounded && len(text) > int(longest) {
			return strings.ToValidUTF8(text[:int(longest)], "")
		}
		return text
	case "integer":
		return 0
	case "number":
		return 0.5
	case "boolean":
		return false
	}
	return nil
}
