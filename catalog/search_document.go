package catalog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"reprise/recording"
)

// Where the words of a document are from: recording.Snippet.In.
const (
	inTitle      = "title"
	inTopic      = "topic"
	inEntity     = "entity"
	inSummary    = "summary"
	inTranscript = "transcript"
)

// Limits of a tsvector: https://www.postgresql.org/docs/current/textsearch-limitations.html
const (
	maxPosition  = 16_383
	maxPositions = 255 // of one lexeme
)

// passage is one text of a document.
type passage struct {
	In   string `json:"in"`
	Text string `json:"text"`
	// Of a transcript: when it begins, and when each of its words does, if that is known.
	StartMs *int64  `json:"startMs,omitempty"`
	WordsMs []int64 `json:"wordsMs,omitempty"`
}

// isName reports whether the words are those that are found in spite of a slip of the
// pen.
func (p passage) isName() bool { return p.In == inTitle || p.In == inTopic || p.In == inEntity }

// weight is that of its words in a tsvector.
func (p passage) weight() string {
	switch p.In {
	case inTitle:
		return "A"
	case inTopic, inEntity:
		return "B"
	case inSummary:
		return "C"
	}
	return "D"
}

// passagesOf makes the texts of a document, the weightiest first: those of a long
// transcript may go beyond the positions that there are.
func passagesOf(title string, t *recording.Transcript, a *recording.Analysis) []passage {
	list := []passage{{In: inTitle, Text: title}}
	if a != nil {
		if title == "" {
			list[0].Text = a.Title
		}
		for _, topic := range a.Topics {
			list = append(list, passage{In: inTopic, Text: topic.Name})
		}
		for _, entity := range a.Entities {
			list = append(list, passage{In: inEntity, Text: entity.Name})
		}
		list = append(list, passage{In: inSummary, Text: a.Summary})
	}
	if t != nil {
		for _, s := range t.Segments {
			list = append(list, passage{In: inTranscript, Text: s.Text, StartMs: &s.StartMs, WordsMs: wordsMs(s)})
		}
	}
	return slices.DeleteFunc(list, func(p passage) bool { return len(tokens(p.Text)) == 0 })
}

// wordsMs returns when each token of a segment begins, nil if the engine's words are not
// those of its text.
func wordsMs(s recording.Segment) []int64 {
	var list []int64
	for _, w := range s.Words {
		for range tokens(w.Text) {
			list = append(list, w.StartMs)
		}
	}
	if len(list) != len(tokens(s.Text)) {
		return nil
	}
	return list
}

// tagsOf makes what a document can be filtered by.
func tagsOf(story *uuid.UUID, a *recording.Analysis) []string {
	tags := []string{}
	if story != nil {
		tags = append(tags, storyTag(*story))
	}
	if a != nil {
		for _, topic := range a.Topics {
			tags = append(tags, nameTag(inTopic, topic.Name))
		}
		for _, entity := range a.Entities {
			tags = append(tags, nameTag(inEntity, entity.Name))
		}
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}

func storyTag(id uuid.UUID) string { return "story:" + id.String() }

// nameTag is the same for names of one key.
func nameTag(kind, name string) string { return kind + ":" + keyOf(name) }

// eachToken calls fn with every word of the passages, its position in the tsvector and
// the passage. There is a gap between passages, over which no phrase goes.
func eachToken(passages []passage, fn func(t token, position, passage int)) {
	position := 0
	for i, p := range passages {
		for _, t := range tokens(p.Text) {
			position++
			fn(t, min(position, maxPosition), i)
		}
		position++
	}
}

// startsOf returns the position of each passage's first word.
func startsOf(passages []passage) []int {
	var starts []int
	eachToken(passages, func(_ token, position, i int) {
		if i == len(starts) { // each has a word
			starts = append(starts, position)
		}
	})
	return starts
}

// vector writes a tsvector of the passages. Lexemes has that of each word; one without
// is left out.
func vector(passages []passage, lexemes map[string]string) string {
	positions := map[string][]string{}
	eachToken(passages, func(t token, position, i int) {
		lexeme := lexemes[t.word]
		if at := positions[lexeme]; lexeme != "" && len(at) < maxPositions {
			positions[lexeme] = append(at, fmt.Sprint(position, passages[i].weight()))
		}
	})
	var b strings.Builder
	for lexeme, at := range positions {
		b.WriteString(quoteLexeme(lexeme) + ":" + strings.Join(at, ",") + " ")
	}
	return b.String()
}

// quoteLexeme writes a lexeme as tsvector and tsquery read it.
func quoteLexeme(lexeme string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(lexeme) + "'"
}

// wordUse is in how many documents a word is, and in how many as a name.
type wordUse struct{ documents, names int }

// useOf returns the words of one document.
func useOf(passages []passage) map[string]wordUse {
	use := map[string]wordUse{}
	eachToken(passages, func(t token, _, i int) {
		u := use[t.word]
		u.documents = 1
		if passages[i].isName() {
			u.names = 1
		}
		use[t.word] = u
	})
	return use
}
