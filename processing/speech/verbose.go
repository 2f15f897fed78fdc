package speech

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"reprise/processing/provider"
	"reprise/recording"
)

// verboseJSON is what the format verbose_json of OpenAI's protocol has for us. Its
// implementations differ: OpenAI and Groq have the words beside the segments, plain;
// whisper.cpp has them in the segments, and they are tokens, which begin with a space
// where a word does; speaches has them in both places.
type verboseJSON struct {
	Text     *string          `json:"text"`
	Language string           `json:"language"` // a code, or an English name
	Segments []verboseSegment `json:"segments"`
	Words    []verboseWord    `json:"words"`
}

type verboseSegment struct {
	Start        *float64 `json:"start"` // seconds
	End          *float64 `json:"end"`
	Text         string   `json:"text"`
	AvgLogprob   *float64 `json:"avg_logprob"`
	NoSpeechProb *float64 `json:"no_speech_prob"`
	// Compression below 0 is vLLM's way to say that none of these numbers is known.
	Compression float64       `json:"compression_ratio"`
	Words       []verboseWord `json:"words"`
}

type verboseWord struct {
	Word        string   `json:"word"`
	Start       *float64 `json:"start"`
	End         *float64 `json:"end"`
	Probability *float64 `json:"probability"`
}

// An answer about a second of sound has about 1 KB; what has much more is a model in a
// loop, or no answer to this question.
const (
	maxVerboseBytes          = 256 << 10
	maxVerboseBytesPerSecond = 16 << 10
)

// Whisper's own thresholds for taking noise for noise: together they say that what it
// has made of it is nothing.
const (
	noSpeechAbove  = 0.6
	noLogprobBelow = -1
)

// unknown is a confidence that isn't one.
const unknown = -1

// parseVerbose returns what verbose JSON says about a piece, or a *provider.ReplyError.
func parseVerbose(body []byte, p Piece) (recording.Transcript, error) {
	unusable := func(reason string) (recording.Transcript, error) {
		return recording.Transcript{}, &provider.ReplyError{Err: errors.New(reason)}
	}
	if len(body) > maxVerboseBytes+maxVerboseBytesPerSecond*int(p.Duration/time.Second) {
		return unusable(fmt.Sprintf("%d bytes about %s of sound", len(body), p.Duration.Round(time.Second)))
	}
	var v verboseJSON
	switch {
	case !utf8.Valid(body):
		return unusable("it is not UTF-8")
	case json.Unmarshal(body, &v) != nil, v.Text == nil:
		return unusable("it is not verbose JSON")
	case len(v.Segments) == 0 && len(v.Words) == 0 && strings.TrimSpace(*v.Text) != "":
		return unusable("it has a text and no times")
	}
	if len(v.Segments) == 0 && len(v.Words) > 0 {
		v.Segments = []verboseSegment{{Start: v.Words[0].Start, End: v.Words[len(v.Words)-1].End, Text: *v.Text}}
	}
	v.placeWords()
	u := utterances{Language: spokenLanguage(v.Language, p.Language)}
	tokens := v.hasTokens()
	for _, s := range v.Segments {
		if s.Start == nil || s.End == nil {
			return unusable("a segment has no times")
		}
		if !s.isNoise() {
			u.Segments = append(u.Segments, s.heard(tokens))
		}
	}
	return u.transcript(p.Duration)
}

// placeWords puts words that are beside the segments into those without words of their
// own, each into the last one that has begun by the middle of the word.
func (v *verboseJSON) placeWords() {
	if len(v.Words) == 0 || len(v.Segments) == 0 {
		return
	}
	for _, s := range v.Segments {
		if len(s.Words) > 0 || s.Start == nil {
			return
		}
	}
	at := 0
	for _, w := range v.Words {
		if w.Start == nil || w.End == nil {
			continue
		}
		middle := *w.Start + (*w.End-*w.Start)/2
		for at+1 < len(v.Segments) && *v.Segments[at+1].Start <= middle {
			at++
		}
		v.Segments[at].Words = append(v.Segments[at].Words, w)
	}
}

// hasTokens says whether a space at its beginning is what makes a word a new one.
func (v *verboseJSON) hasTokens() bool {
	for _, s := range v.Segments {
		for _, w := range s.Words {
			if strings.HasPrefix(w.Word, " ") {
				return true
			}
		}
	}
	return false
}

func (s verboseSegment) isNoise() bool {
	return s.NoSpeechProb != nil && *s.NoSpeechProb > noSpeechAbove && s.AvgLogprob != nil && *s.AvgLogprob < noLogprobBelow
}

// heard returns the segment as engines on this machine tell it.
func (s verboseSegment) heard(tokens bool) heardSegment {
	h := heardSegment{utterance: utterance{Start: *s.Start, End: *s.End, Text: s.Text, Confidence: unknown}}
	if s.AvgLogprob != nil && s.Compression >= 0 {
		h.Confidence = math.Exp(*s.AvgLogprob) // the mean of the tokens' probabilities, geometrically
	}
	joined := 0 // words in the last one
	for _, w := range s.Words {
		// A token can be a part of a character; then only the segment's text is whole.
		// whisper.cpp says -0.01 for a time that it doesn't know.
		if w.Start == nil || w.End == nil || *w.End < 0 || strings.ContainsRune(w.Word, utf8.RuneError) {
			h.Words = nil
			return h
		}
		confidence := float64(unknown)
		if w.Probability != nil {
			confidence = *w.Probability
		}
		if last := len(h.Words) - 1; tokens && last >= 0 && !startsWithSpace(w.Word) && len(h.Words[last].Text) <= maxWordBytes {
			before := &h.Words[last]
			before.Text += w.Word
			before.End = *w.End
			before.Confidence += (confidence - before.Confidence) / float64(joined+1)
			joined++
			continue
		}
		h.Words = append(h.Words, utterance{Start: *w.Start, End: *w.End, Text: w.Word, Confidence: confidence})
		joined = 1
	}
	return h
}

func startsWithSpace(s string) bool {
	first, _ := utf8.DecodeRuneInString(s)
	return unicode.IsSpace(first)
}
