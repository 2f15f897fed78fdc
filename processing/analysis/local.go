package analysis

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"reprise/processing/provider"
	"reprise/recording"
)

// What the local analyst is called, and the version of its rules: to be raised with
// every change of rules or lists that gives other answers, as those are kept.
const (
	localName    = "local"
	localModel   = "rules"
	rulesVersion = "rules-v1"
)

// Local finds out what a recording is about with rules and lists of words, on this
// machine: the same transcript always gives the same answer, and nothing leaves. It
// reads English best, and German, French, Spanish, Italian and Russian; of another
// language it finds what is repeated and what has capitals.
type Local struct {
	lexicon *lexicon
}

// NewLocal returns a local analyst.
func NewLocal() *Local { return &Local{lexicon: newLexicon()} }

// Name is "local".
func (l *Local) Name() string { return localName }

// Model names the rules; there is no other model.
func (l *Local) Model() string { return localModel }

// PromptVersion is the rules'.
func (l *Local) PromptVersion() string { return rulesVersion }

// Analyse implements Analyst. It uses no tokens, and refuses other models than its own.
func (l *Local) Analyse(ctx context.Context, q Question) (recording.Analysis, int64, error) {
	if q.Model != "" && q.Model != localModel {
		return recording.Analysis{}, 0, &provider.RefusedError{Err: fmt.Errorf("the local analyst has no model but %q", localModel)}
	}
	if err := ctx.Err(); err != nil {
		return recording.Analysis{}, 0, err
	}
	x := newText(q.Transcript)
	lang := q.Transcript.Language
	if lang == "" {
		lang = l.lexicon.stop.detectLanguage(x)
	}
	a := ground(l.draft(newReader(x, l.lexicon, baseOf(lang))), x)
	a.Language, a.Provider, a.Model, a.PromptVersion = lang, localName, localModel, rulesVersion
	return a, 0, nil
}

// How many topics a recording has: some, and one more with so many words.
const (
	fewestTopics  = 3
	wordsPerTopic = 40
	mostTopics    = 12
)

func (l *Local) draft(r *reader) draft {
	if len(r.atoms) == 0 {
		return draft{}
	}
	sentences := r.sentences()
	r.weigh(sentences)
	d := draft{
		Summary:   r.summary(sentences),
		Entities:  r.entities(sentences),
		Sentiment: r.sentiment(sentences),
		Quotes:    r.quotes(sentences),
	}
	named := namedWords(d.Entities)
	// A person or a date is an entity, not a topic.
	skip := func(p phrase) bool {
		return slices.ContainsFunc(norms(p.name), func(w string) bool { return named[w] })
	}
	topics := distinct(r.phrases(0, len(r.atoms)), min(mostTopics, fewestTopics+len(r.atoms)/wordsPerTopic), skip)
	for _, t := range topics {
		d.Topics = append(d.Topics, draftTopic{Name: t.name, Weight: t.score / topics[0].score})
	}
	d.Title = r.heading(d, sentences)
	d.Chapters = r.chapters(skip)
	return d
}

// A heading is the one sentence of a recording that has no more words than this, or
// else so many of the things that it is about.
const (
	headingWords = 12
	headingParts = 3
)

// heading returns what a recording is called: "Bakery, Anna, Lyon".
func (r *reader) heading(d draft, sentences []sentence) string {
	if len(sentences) == 1 && sentences[0].length() <= headingWords {
		return capital(r.say(sentences[0]))
	}
	var parts []string
	if len(d.Topics) > 0 {
		parts = append(parts, d.Topics[0].Name)
	}
	for _, kind := range []recording.EntityKind{recording.EntityPerson, recording.EntityPlace} {
		i := slices.IndexFunc(d.Entities, func(e draftEntity) bool { return e.Kind == string(kind) })
		if i >= 0 && !slices.Contains(parts, d.Entities[i].Name) {
			parts = append(parts, d.Entities[i].Name)
		}
	}
	for _, t := range d.Topics[min(1, len(d.Topics)):] {
		if len(parts) < headingParts && !slices.Contains(parts, t.Name) {
			parts = append(parts, t.Name)
		}
	}
	if len(parts) == 0 {
		return r.write(best(sentences, 1)[0])
	}
	return capital(strings.Join(parts, ", "))
}

// namedWords returns the words of the names of persons and of dates.
func namedWords(entities []draftEntity) map[string]bool {
	named := map[string]bool{}
	for _, e := range entities {
		if e.Kind != string(recording.EntityPerson) && e.Kind != string(recording.EntityDate) {
			continue
		}
		for _, form := range e.Spoken {
			for _, w := range norms(form) {
				named[w] = true
			}
		}
	}
	return named
}
