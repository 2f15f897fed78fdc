package speech

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"reprise/processing/provider"
	"reprise/recording"
)

func prob(p float64) *float64 { return &p }

// These are the shapes of the real services' answers.
func TestVerboseOfServices(t *testing.T) {
	t.Parallel()
	word := func(text string, startMs, endMs int64, p ...float64) recording.Word {
		w := recording.Word{Text: text, StartMs: startMs, EndMs: endMs}
		if len(p) > 0 {
			w.Confidence = &p[0]
		}
		return w
	}
	tests := map[string]struct {
		piece Piece
		want  recording.Transcript
	}{
		"openai": {Piece{Duration: 4 * time.Second, Language: "en-GB"}, recording.Transcript{Language: "en-GB", Segments: []recording.Segment{
			{StartMs: 0, EndMs: 2200, Text: "The beach was a popular spot.", Confidence: prob(math.Exp(-0.2860786020755768)), Words: []recording.Word{
				word("The", 0, 200), word("beach", 200, 540), word("was", 540, 960), word("a", 960, 1120), word("popular", 1120, 1560), word("spot", 1560, 2200)}},
			{StartMs: 2200, EndMs: 4000, Text: "People were swimming.", Confidence: prob(math.Exp(-0.2860786020755768)), Words: []recording.Word{
				word("People", 2200, 2560), word("were", 2560, 3000), word("swimming", 3000, 4000)}},
		}}},
		"groq": {Piece{Duration: 2 * time.Second}, recording.Transcript{Language: "en", Segments: []recording.Segment{
			{StartMs: 120, EndMs: 1580, Text: "Good morning.", Confidence: prob(math.Exp(-0.1))},
		}}},
		"vllm": {Piece{Duration: 17653 * time.Millisecond}, recording.Transcript{Language: "en", Segments: []recording.Segment{
			{StartMs: 0, EndMs: 11540, Text: "Hey, who remembers?"}, {StartMs: 11540, EndMs: 17580, Text: "Oh no."},
		}}},
		// Tokens become words, and words of broken characters none.
		"whispercpp": {Piece{Duration: 3900 * time.Millisecond}, recording.Transcript{Language: "en", Segments: []recording.Segment{
			{StartMs: 0, EndMs: 2500, Text: "Grandmother's café, 1921.", Confidence: prob(math.Exp(-0.5)), Words: []recording.Word{
				word("Grandmother's", 10, 800, 0.8), word("café,", 800, 1300, 0.5), word("1921.", 1300, 2500, 1)}},
			{StartMs: 2500, EndMs: 3900, Text: "Goodbye!"},
		}}},
		// What Whisper itself takes for noise is left out.
		"speaches": {Piece{Duration: 3500 * time.Millisecond, Language: "en"}, recording.Transcript{Language: "pt", Segments: []recording.Segment{
			{StartMs: 0, EndMs: 1300, Text: "Bom dia, avó.", Confidence: prob(math.Exp(-0.3)), Words: []recording.Word{
				word("Bom", 0, 400, 0.91), word("dia,", 400, 700, 0.92), word("avó.", 700, 1200, 0.93)}},
		}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, err := os.ReadFile(filepath.Join("testdata", "verbose", name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := parseVerbose(body, tt.piece)
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty(), cmpopts.EquateApprox(0, 1e-9)); err != nil || diff != "" {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
		})
	}
}

func TestVerboseEdges(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ body, want string }{
		"silence":                   {`{"text":"","segments":[]}`, ""},
		"silence without segments":  {`{"text":" \n","language":"english"}`, ""},
		"nulls":                     {`{"text":"","language":"","segments":null,"words":null}`, ""},
		"words without segments":    {`{"text":"Red sun","words":[{"word":"Red","start":0.1,"end":0.5},{"word":"sun","start":0.6,"end":1}]}`, "Red sun"},
		"words in few segments":     {`{"text":"a b","segments":[{"start":0,"end":1,"text":"a"},{"start":1,"end":2,"text":"b","words":[{"word":"b","start":1,"end":2}]}],"words":[{"word":"a","start":0,"end":1}]}`, "a\nb"},
		"control characters":        {`{"text":"x","segments":[{"start":0,"end":1,"text":"a\u0000b\r\nc\u2028d\u001b[31m"}]}`, "a b c d [31m"},
		"an unknown language":       {`{"text":"x","language":"klingon","segments":[{"start":0,"end":1,"text":"x"}]}`, "x"},
		"words without times":       {`{"text":"x","segments":[{"start":0,"end":1,"text":"x y","words":[{"word":" x","start":-0.01,"end":-0.01},{"word":" y","start":-0.01,"end":-0.01}]}]}`, "x y"},
		"a little beyond the end":   {`{"text":"x","segments":[{"start":9.5,"end":29.98,"text":"x"}]}`, "x"},
		"the same words once again": {`{"text":"x","segments":[{"start":0,"end":1,"text":"x","words":[]}],"words":[{"word":"x","start":0,"end":1}]}`, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parseVerbose([]byte(tt.body), Piece{Duration: 10 * time.Second})
			if err != nil || got.Text() != tt.want {
				t.Errorf("got %q, %v; want %q", got.Text(), err, tt.want)
			}
		})
	}
	loop := `{"word":"la","start":1,"end":2},`
	for name, body := range map[string]string{
		"another schema":           `{"object":"list","data":[]}`,
		"an error":                 `{"error":"failed to read audio data"}`,
		"a list":                   `[]`,
		"null":                     `null`,
		"a number for a text":      `{"text":7,"segments":[]}`,
		"text without times":       `{"text":"hello"}`,
		"segments without times":   `{"text":"x","segments":[{"text":"x"}]}`,
		"times in milliseconds":    `{"text":"x","segments":[{"start":2500,"end":3500,"text":"x"}]}`,
		"times before the piece":   `{"text":"x","segments":[{"start":-31,"end":0,"text":"x"}]}`,
		"times without bounds":     `{"text":"x","segments":[{"start":0,"end":1e308,"text":"x"}]}`,
		"times out of range":       `{"text":"x","segments":[{"start":0,"end":1e999,"text":"x"}]}`,
		"words out of times":       `{"text":"x","segments":[{"start":0,"end":1,"text":"x","words":[{"word":"x","start":1e6,"end":1e6}]}]}`,
		"more words than possible": `{"text":"x","segments":[{"start":0,"end":1,"text":"x","words":[` + strings.Repeat(loop, 1000) + loop[:len(loop)-1] + `]}]}`,
		"a text without end":       `{"text":"x","segments":[{"start":0,"end":1,"text":"` + strings.Repeat("la ", 10_000) + `"}]}`,
		"a word without end":       `{"text":"x","segments":[{"start":0,"end":1,"text":"x","words":[{"word":"` + strings.Repeat("x", 5000) + `","start":0,"end":1}]}]}`,
		"tokens without end":       `{"text":"x","segments":[{"start":0,"end":1,"text":"x","words":[{"word":" a","start":0,"end":1},` + strings.Repeat(`{"word":"aaaaaaaaaaaaaaaaaaaa","start":0,"end":1},`, 200) + `{"word":"a","start":0,"end":1}]}]}`,
		"far too many bytes":       `{"text":"","segments":[],"x":"` + strings.Repeat("x", 1<<20) + `"}`,
		"no UTF-8":                 "{\"text\":\"\xff\",\"segments\":[]}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parseVerbose([]byte(body), Piece{Duration: 10 * time.Second})
			var reply *provider.ReplyError
			if !errors.As(err, &reply) || len(err.Error()) > 200 {
				t.Errorf("got %+v, %v; want a reply of no use", got, err)
			}
		})
	}
}

func TestSpokenLanguage(t *testing.T) {
	t.Parallel()
	for _, tt := range [][3]string{ // said, declared, want
		{"english", "", "en"}, {"English", "", "en"}, {"en", "", "en"}, {"english", "en-GB", "en-GB"}, {"en", "de", "en"},
		{"haitian creole", "", "ht"}, {"jw", "", "jv"}, {"javanese", "", "jv"}, {"cantonese", "", "yue"}, {"yue", "", "yue"},
		{"", "pt-BR", "pt-BR"}, {"und", "pt-BR", "pt-BR"}, {"klingon", "", ""}, {"", "", ""}, {"pt-PT", "", "pt"},
		{strings.Repeat("x", 1<<20), "fr", "fr"}, {"en, zh", "", ""}, {"zh-Hans-CN", "zh-Hant", "zh-Hant"},
	} {
		if got := spokenLanguage(tt[0], tt[1]); got != tt[2] {
			t.Errorf("said %.20q, declared %q: got %q, want %q", tt[0], tt[1], got, tt[2])
		}
	}
}

// Whatever a service answers, a transcript is one: in order, within the piece, in
// texts that a database takes.
func FuzzVerbose(f *testing.F) {
	for _, name := range []string{"openai", "groq", "whispercpp", "speaches", "vllm"} {
		body, err := os.ReadFile(filepath.Join("testdata", "verbose", name+".json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body, int64(4000))
	}
	f.Add([]byte(`{"text":"a b","words":[{"word":"a","start":-1,"end":0},{"word":"b","start":2,"end":1}]}`), int64(1000))
	f.Fuzz(func(t *testing.T, body []byte, ms int64) {
		if ms < 0 || ms > Longest.Milliseconds() {
			return
		}
		got, err := parseVerbose(body, Piece{Duration: time.Duration(ms) * time.Millisecond})
		if err != nil {
			var reply *provider.ReplyError
			if !errors.As(err, &reply) {
				t.Fatalf("got %v", err)
			}
			return
		}
		at := int64(0)
		for _, s := range got.Segments {
			checkSaid(t, s.Text, s.StartMs, s.EndMs, s.Confidence)
			if s.StartMs < at || s.EndMs > ms {
				t.Fatalf("%+v begins before %d or ends after %d", s, at, ms)
			}
			at = s.EndMs
			within := s.StartMs
			for _, w := range s.Words {
				checkSaid(t, w.Text, w.StartMs, w.EndMs, w.Confidence)
				if w.StartMs < within || w.EndMs > s.EndMs {
					t.Fatalf("%+v is out of order in %+v", w, s)
				}
				within = w.StartMs
			}
		}
	})
}

func checkSaid(t *testing.T, text string, startMs, endMs int64, confidence *float64) {
	t.Helper()
	if text == "" || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) || startMs < 0 || endMs < startMs {
		t.Fatalf("%q from %d to %d", text, startMs, endMs)
	}
	if confidence != nil && !(*confidence >= 0 && *confidence <= 1) {
		t.Fatalf("confidence %v", *confidence)
	}
}
