package analysis

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"reprise/processing/provider"
	"reprise/recording"
)

const (
	httpName = "http"
	// maxAnswerTokens of one answer: a full draft has about 2,000.
	maxAnswerTokens = 4096
	// maxUsage of one answer is believed of what a service says it has used.
	maxUsage = 10_000_000
	// repairChars of an answer are shown to the model that is to repair it.
	repairChars = 8000
)

// Asker asks a service: a *provider.Client.
type Asker interface {
	PostJSON(ctx context.Context, r provider.Request, question, answer any) error
}

// HTTP asks a language model that speaks OpenAI's protocol (chat completions). The model
// is given the transcript as data and a schema, and no tools. What it answers is a draft:
// whatever it was talked into, the same checks follow as for the local analyst.
type HTTP struct {
	asker  Asker
	model  string
	schema *jsonschema.Schema
	stop   stopWords // to tell the language of a transcript that doesn't
}

// NewHTTP returns an analyst that asks a service for a model.
func NewHTTP(asker Asker, model string) *HTTP {
	return &HTTP{asker: asker, model: model, schema: compileSchema(), stop: readStopWords()}
}

// Name is "http".
func (h *HTTP) Name() string { return httpName }

// Model is the configured one.
func (h *HTTP) Model() string { return h.model }

// PromptVersion is that of the files with the instructions and the schema.
func (h *HTTP) PromptVersion() string { return promptVersion }

// Analyse implements Analyst. A transcript of more than a window costs a question for
// each, one after the other, and one for the whole. The tokens are those of all answers,
// also with an error.
func (h *HTTP) Analyse(ctx context.Context, q Question) (recording.Analysis, int64, error) {
	x := newText(q.Transcript)
	lang := q.Transcript.Language
	if lang == "" {
		lang = h.stop.detectLanguage(x)
	}
	ws, leftMs := windows(x, lang)
	if len(ws) == 0 {
		return recording.Analysis{}, 0, &provider.RefusedError{Err: errors.New("there is nothing to analyse in the transcript")}
	}
	c := conversation{HTTP: h, q: q}
	var drafts []draft
	for i, w := range ws {
		key := q.Key
		if len(ws) > 1 {
			key = fmt.Sprintf("%s-%d", q.Key, i)
		}
		d, err := c.ask(ctx, w, key)
		if err != nil {
			return recording.Analysis{}, c.tokens, err
		}
		drafts = append(drafts, d)
	}
	d := merge(drafts, ws)
	if len(ws) > 1 {
		whole, err := c.ask(ctx, summaries(drafts, lang), q.Key+"-whole")
		if err != nil {
			return recording.Analysis{}, c.tokens, err
		}
		d.Title, d.Summary = whole.Title, whole.Summary
	}
	a := ground(d, x)
	if leftMs != nil {
		a = withNote(a, unread(x, *leftMs))
	}
	a.Language, a.Provider, a.Model, a.PromptVersion = lang, httpName, cmp.Or(q.Model, h.model), promptVersion
	return a, c.tokens, nil
}

// The protocol of chat completions, as far as it is used.
type (
	chatQuestion struct {
		Model          string         `json:"model"`
		Messages       []chatMessage  `json:"messages"`
		Temperature    float64        `json:"temperature"`
		MaxTokens      int            `json:"max_tokens"`
		ResponseFormat responseFormat `json:"response_format"`
	}
	chatMessage struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	responseFormat struct {
		Type   string     `json:"type"`
		Schema schemaName `json:"json_schema"`
	}
	schemaName struct {
		Name   string          `json:"name"`
		Strict bool            `json:"strict"`
		Schema json.RawMessage `json:"schema"`
	}
	chatAnswer struct {
		Choices []struct {
			FinishReason string `json:"finish_reason"`
			Message      struct {
				Content string `json:"content"`
				Refusal string `json:"refusal"`
			} `json:"message"`
		} `json:"choices"`
		Usage struct {
			TotalTokens int64 `json:"total_tokens"`
		} `json:"usage"`
	}
)

// A conversation asks everything that one analysis needs, and counts tokens.
type conversation struct {
	*HTTP
	q      Question
	tokens int64
}

// ask asks about one window; if the answer is no draft, the model may repair it once.
func (c *conversation) ask(ctx context.Context, w window, key string) (draft, error) {
	data, err := json.Marshal(w)
	if err != nil {
		return draft{}, fmt.Errorf("encode the transcript: %w", err)
	}
	messages := []chatMessage{{Role: "system", Content: instructions}, {Role: "user", Content: string(data)}}
	answer, err := c.say(ctx, messages, key)
	if err != nil {
		return draft{}, err
	}
	d, wrong := c.read(answer)
	if wrong == nil {
		return d, nil
	}
	messages = append(messages,
		chatMessage{Role: "assistant", Content: line(answer.text, repairChars)},
		chatMessage{Role: "user", Content: "That answer can't be used: " + line(wrong.Error(), repairChars/8) + ". Answer again with nothing but one JSON object that matches the schema."})
	// Another question has another key: a service that knows it would repeat its answer.
	if answer, err = c.say(ctx, messages, key+"-repair"); err != nil {
		return draft{}, err
	}
	if d, wrong = c.read(answer); wrong != nil {
		return draft{}, &provider.ReplyError{Err: errors.New("it does not match the schema, twice")} // wrong may quote it
	}
	return d, nil
}

// reply is the text that a model has answered with.
type reply struct {
	text string
	cut  bool // it came to its limit of tokens
}

// say sends messages and returns the model's answer.
func (c *conversation) say(ctx context.Context, messages []chatMessage, key string) (reply, error) {
	var answer chatAnswer
	err := c.asker.PostJSON(ctx, provider.Request{Path: "chat/completions", Key: key, Model: c.q.Model}, chatQuestion{
		Model: cmp.Or(c.q.Model, c.model), Messages: messages, MaxTokens: maxAnswerTokens,
		ResponseFormat: responseFormat{Type: "json_schema", Schema: schemaName{Name: "analysis", Strict: true, Schema: schemaJSON}},
	}, &answer)
	if err != nil {
		return reply{}, err
	}
	c.tokens += min(max(answer.Usage.TotalTokens, 0), maxUsage)
	if len(answer.Choices) == 0 {
		return reply{}, &provider.ReplyError{Err: errors.New("it has no choice")}
	}
	choice := answer.Choices[0]
	if choice.Message.Refusal != "" || choice.FinishReason == "content_filter" {
		return reply{}, &provider.RefusedError{Err: errors.New("the model does not answer about this transcript")}
	}
	return reply{text: choice.Message.Content, cut: choice.FinishReason == "length"}, nil
}

// read returns the draft of an answer.
func (c *conversation) read(r reply) (draft, error) {
	if r.cut {
		return draft{}, errors.New("it was cut off at its limit of length, so it has to be much shorter")
	}
	return parseDraft(c.schema, r.text)
}
