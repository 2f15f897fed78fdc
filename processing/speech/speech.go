// Package speech turns speech into text: it cuts a long recording into pieces,
// gives each to an engine, and joins what they heard.
//
// An engine is a program on this machine, which runs behind the fence of package
// sandbox, or a service that speaks OpenAI's protocol. The package knows no storage,
// database or queue, and keeps nothing.
package speech

import (
	"context"
	"time"

	"reprise/recording"
)

// Engine turns a piece of speech into text. It is safe for concurrent use.
type Engine interface {
	// Name is the provider's in transcripts and metrics, such as "whisper".
	Name() string
	// Model is the one that is used if a piece names none.
	Model() string
	// Transcribe returns what was said, in times of the piece. No speech is a
	// transcript without segments. Its errors are those of package provider.
	Transcribe(ctx context.Context, p Piece) (recording.Transcript, error)
}

// Piece is a stretch of a recording, short enough for every engine.
type Piece struct {
	Path     string        // a WAV file of one channel, 16 kHz, 16 bit
	Duration time.Duration // of the file
	Language string        // BCP 47; "" lets the engine find out
	Model    string        // "" for the engine's own
	// Key is the same for the same question, whoever asks it again: a service that
	// knows Idempotency-Key answers it once.
	Key string
}
