package aiserver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"mime/multipart"
	"slices"
	"strings"
	"time"
)

// Audio is what a transcription is asked of.
type Audio struct {
	Model    string
	Language string // "" to detect it
	WAV      []byte
	Duration time.Duration // by the samples
}

// Transcription is what is heard.
type Transcription struct {
	Language string // as OpenAI names it: "english"
	Segments []Segment
}

// Segment is a stretch of speech; its words are those between spaces, unless Words says
// otherwise.
type Segment struct {
	Start, End float64 // seconds
	Text       string
	Words      []Word
}

// Word is a spoken word.
type Word struct {
	Text       string
	Start, End float64
}

// Speech hears the same words in all audio, about two in a second, ten in a segment.
func Speech(a Audio) (Transcription, error) { return Say("english", speech)(a) }

// Spanish hears Spanish in all audio.
func Spanish(a Audio) (Transcription, error) {
	return Say("spanish", "Anoche soñé que volvía a la casa de mi abuela en Valencia.")(a)
}

const speech = "My grandmother Anna was born in Prague in the summer of 1921. She baked bread every morning. " +
	"On the last day of the war she walked home alone."

// Say returns a function for Server.Transcribe that hears the text, over and over
// again, for as long as the audio is.
func Say(language, text string) func(Audio) (Transcription, error) {
	words := strings.Fields(text)
	return func(a Audio) (Transcription, error) {
		const each = 0.5
		t := Transcription{Language: language}
		for n := range int(a.Duration.Seconds() / each) {
			w := Word{Text: words[n%len(words)], Start: float64(n) * each, End: float64(n)*each + 0.4}
			if n%10 == 0 {
				t.Segments = append(t.Segments, Segment{Start: w.Start, Text: w.Text})
			} else {
				t.Segments[len(t.Segments)-1].Text += " " + w.Text
			}
			s := &t.Segments[len(t.Segments)-1]
			s.End, s.Words = w.End, append(s.Words, w)
		}
		return t, nil
	}
}

// answerAudio checks a form as OpenAI does, and answers with verbose JSON.
func (s *Server) answerAudio(body []byte, contentType string) (any, error) {
	kind, parameters, err := mime.ParseMediaType(contentType)
	if err != nil || kind != "multipart/form-data" {
		return nil, errors.New("the body is not multipart/form-data")
	}
	form, err := multipart.NewReader(bytes.NewReader(body), parameters["boundary"]).ReadForm(64 << 20)
	if err != nil {
		return nil, err
	}
	defer form.RemoveAll()
	value := func(name string) string { return strings.Join(form.Value[name], ",") }
	granularities := form.Value["timestamp_granularities[]"]
	switch {
	case value("model") == "":
		return nil, errors.New("you must provide a model parameter")
	case value("response_format") != "verbose_json":
		return nil, fmt.Errorf("response_format %q", value("response_format"))
	case value("temperature") != "0":
		return nil, fmt.Errorf("temperature %q", value("temperature"))
	case len(value("language")) > 3:
		return nil, fmt.Errorf("language %q is not ISO 639", value("language"))
	case len(form.File["file"]) != 1:
		return nil, errors.New("there is not one file")
	}
	file, err := form.File["file"][0].Open()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	a := Audio{Model: value("model"), Language: value("language")}
	if a.WAV, err = io.ReadAll(file); err != nil {
		return nil, err
	}
	if a.Duration, err = wavDuration(a.WAV); err != nil {
		return nil, fmt.Errorf("the audio file could not be decoded: %w", err)
	}
	s.mu.Lock()
	transcribe := s.transcribe
	s.mu.Unlock()
	t, err := transcribe(a)
	if err != nil {
		return nil, err
	}
	return t.verbose(a.Duration, slices.Contains(granularities, "word")), nil
}

// verbose returns a transcription as OpenAI's whisper-1 answers: words beside the
// segments, without punctuation.
func (t Transcription) verbose(duration time.Duration, wantsWords bool) any {
	segments, words, text := []any{}, []any{}, ""
	for i, s := range t.Segments {
		text += " " + s.Text
		segments = append(segments, map[string]any{
			"id": i, "seek": 0, "start": s.Start, "end": s.End, "text": " " + s.Text, "tokens": []int{50364, 50564},
			"temperature": 0.0, "avg_logprob": -0.25, "compression_ratio": 1.2, "no_speech_prob": 0.01,
		})
		for _, w := range s.Words {
			words = append(words, map[string]any{"word": strings.Trim(w.Text, ".,"), "start": w.Start, "end": w.End})
		}
	}
	answer := map[string]any{
		"task": "transcribe", "language": t.Language, "duration": duration.Seconds(), "text": strings.TrimSpace(text), "segments": segments,
		"usage": map[string]any{"type": "duration", "seconds": math.Ceil(duration.Seconds())},
	}
	if wantsWords {
		answer["words"] = words
	}
	return answer
}

// wavDuration reads a WAV file of 16 bit samples.
func wavDuration(file []byte) (time.Duration, error) {
	if len(file) < 12 || string(file[:4]) != "RIFF" || string(file[8:12]) != "WAVE" {
		return 0, errors.New("this is no WAV file")
	}
	var bytesPerSecond uint32
	for rest := file[12:]; len(rest) >= 8; {
		name, length := string(rest[:4]), int64(binary.LittleEndian.Uint32(rest[4:8]))
		rest = rest[8:]
		if length > int64(len(rest)) {
			return 0, errors.New("the file is cut off")
		}
		switch {
		case name == "fmt " && length >= 16:
			bytesPerSecond = binary.LittleEndian.Uint32(rest[8:12])
		case name == "data" && bytesPerSecond > 0:
			return time.Duration(length) * time.Second / time.Duration(bytesPerSecond), nil
		}
		rest = rest[min(length+length%2, int64(len(rest))):]
	}
	return 0, errors.New("there are no samples")
}
