// Package analysis finds out what a recording is about, from its transcript: with
// rules on this machine, or by asking a language model that speaks OpenAI's protocol.
//
// What was said is data, whoever said it and whatever it asks for. Both ways end in
// the same checks: a quote is in the transcript, an entity is mentioned there, and
// nothing is longer than its bound.
package analysis

import (
	"context"

	"reprise/recording"
)

// Analyst finds out what a transcript is about. It is safe for concurrent use.
type Analyst interface {
	// Name is the provider's in analyses and metrics, such as "local".
	Name() string
	// Model is the one that is used if a question names none.
	Model() string
	// PromptVersion names the instructions or rules in use: another version gives
	// another answer.
	PromptVersion() string
	// Analyse returns what the transcript is about, without CreatedAt, and how many tokens
	// that took, also if it failed. Its errors are those of package provider.
	Analyse(ctx context.Context, q Question) (a recording.Analysis, tokens int64, err error)
}

// Question is what an Analyst is asked.
type Question struct {
	Transcript recording.Transcript // with at least one word
	Model      string               // "" for the analyst's own
	// Key is the same for the same question, whoever asks it again: a service that
	// knows Idempotency-Key answers it once.
	Key string
}
