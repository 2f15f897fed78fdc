package ffmpeg

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"reprise/recording"
)

const (
	maxReportLine  = 4096   // bytes kept of one line of stderr
	maxReportLines = 10     // phrases kept for error messages
	maxSilences    = 10_000 // silences kept of one recording
)

// report reads what ffmpeg and ffprobe say on stderr, line by line, and keeps
// the facts in it. Its memory is bounded whatever comes.
//
// Lines of a file's own metadata are always indented, those of a filter begin
// with its name in brackets, so a title can't pass for a finding. Elsewhere the
// programs do quote a file (an unknown codec's name, say, line breaks and all):
// what a line says may lead to a rejection of that file, but to nothing that
// would be tried for ever, and none of it is repeated anywhere.
type report struct {
	line []byte
	last []string // what the latest lines are known to say, in knownPhrases' words

	loudness     recording.Loudness
	silences     []recording.Silence
	silenceStart int64 // ms; -1 outside of a silence

	estimated  bool // the duration is a guess from the bit rate
	noIndex    bool // an MP4 file without moov
	endedEarly bool // a Matroska file ends inside an element
	noRoom     bool // it says that the work folder is full
	unfit      bool // the stream changes into what no filter takes
	noMemory   bool // the program was refused memory, which its own limits do and not the machine
	refused    bool // the program may not open the file
	otherCodec bool // the sound is in a codec that is not on the whitelist
}

func newReport() *report { return &report{silenceStart: -1} }

func (r *report) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		rest := p
		if i >= 0 {
			rest = p[:i]
		}
		r.line = append(r.line, rest[:min(len(rest), maxReportLine-len(r.line))]...)
		if i < 0 {
			return n, nil
		}
		r.take(string(bytes.TrimRight(r.line, "\r")))
		r.line, p = r.line[:0], p[i+1:]
	}
}

func (r *report) take(line string) {
	if strings.HasPrefix(line, " ") {
		r.takeLoudness(line)
		return
	}
	if line == "" {
		return
	}
	r.remember(line)
	source, text, _ := strings.Cut(line, "] ")
	source, _, _ = strings.Cut(strings.TrimPrefix(source, "["), " @ ")
	switch {
	case strings.Contains(source, "silencedetect"):
		r.takeSilence(text)
	case strings.Contains(source, "ebur128"):
		// Another summary begins. ffmpeg prints an empty one first: the last counts.
		r.loudness = recording.Loudness{}
	case strings.HasPrefix(text, "Estimating duration from bitrate"):
		r.estimated = true
	case strings.HasPrefix(text, "moov atom not found"):
		r.noIndex = true
	case strings.HasPrefix(text, "File ended prematurely"):
		r.endedEarly = true
	}
	switch {
	case strings.HasSuffix(line, "Cannot allocate memory"):
		r.noMemory = true
	case strings.HasSuffix(line, "Permission denied"), strings.HasSuffix(line, "Operation not permitted"), strings.HasSuffix(line, "Too many open files"):
		r.refused = true
	case strings.Contains(line, ") not on whitelist"):
		r.otherCodec = true
	}
	// A failure to write a trailer does not always change the exit status.
	if strings.Contains(line, "No space left on device") || strings.Contains(line, "Error writing trailer") {
		r.noRoom = true
	}
	if strings.HasPrefix(line, "Error reinitializing filters") {
		r.unfit = true
	}
}

// takeLoudness reads a line of ebur128's summary, such as
// "    I:         -23.0 LUFS". It is the last indented text that ffmpeg prints,
// so it overwrites whatever metadata looked alike.
func (r *report) takeLoudness(line string) {
	f := strings.Fields(line)
	if len(f) != 3 {
		return
	}
	v, err := strconv.ParseFloat(f[1], 64)
	if err != nil {
		return
	}
	// -70 LUFS is the absolute gate: nothing was above it.
	silent := math.IsNaN(v) || math.IsInf(v, 0) || f[2] == "LUFS" && v <= -70
	var p *float64
	if !silent {
		p = &v
	}
	switch f[0] + f[2] {
	case "I:LUFS":
		r.loudness.IntegratedLUFS = p
	case "LRA:LU":
		r.loudness.RangeLU = p
	case "Peak:dBFS":
		r.loudness.TruePeakDBTP = p
	}
}

// takeSilence reads "silence_start: 1.5" and
// "silence_end: 2.75 | silence_duration: 1.25".
func (r *report) takeSilence(text string) {
	name, value, _ := strings.Cut(text, ": ")
	value, _, _ = strings.Cut(value, " ")
	seconds, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(seconds) || math.Abs(seconds) > 1e9 {
		return
	}
	ms := max(0, int64(math.Round(seconds*1000)))
	switch {
	case name == "silence_start":
		r.silenceStart = ms
	case name == "silence_end" && r.silenceStart >= 0:
		r.addSilence(ms)
	}
}

func (r *report) addSilence(endMs int64) {
	if len(r.silences) < maxSilences && endMs > r.silenceStart {
		r.silences = append(r.silences, recording.Silence{StartMs: r.silenceStart, EndMs: endMs})
	}
	r.silenceStart = -1
}

// finish returns the findings of a recording that lasts durationMs. Loudness
// without an integrated value has no range either.
func (r *report) finish(durationMs int64) (recording.Loudness, []recording.Silence) {
	if r.silenceStart >= 0 {
		r.addSilence(durationMs)
	}
	if r.loudness.IntegratedLUFS == nil {
		r.loudness.RangeLU = nil
	}
	for i := range r.silences {
		r.silences[i].EndMs = min(r.silences[i].EndMs, durationMs)
	}
	return r.loudness, r.silences
}

// knownPhrases are what ffmpeg and ffprobe say about what went wrong.
func knownPhrases() []string {
	return []string{
		"moov atom not found", "File ended prematurely", "Header missing", "Could not find codec parameters", "Decoder not found",
		"Invalid data found when processing input", "Packet corrupt", "Error while decoding", "Error submitting packet to decoder",
		"Error while filtering", "Error reinitializing filters", "Error initializing", "Error opening input", "Error opening output",
		"Could not write header", "Error writing trailer", "Error muxing", "av_interleaved_write_frame", "Output file is empty", "Conversion failed",
		"not on whitelist", "Option not found", "Unrecognized option", "Unknown encoder", "Unknown decoder",
		"No space left on device", "Disk quota exceeded", "File too large", "No such file or directory", "Permission denied", "Operation not permitted",
		"Input/output error", "Broken pipe", "Cannot allocate memory", "Resource temporarily unavailable", "Too many open files",
		"Function not implemented", "Invalid argument", "Immediate exit requested", "error while loading shared libraries",
	}
}

// remember keeps what a line says for errors, which end in the log and in the queue's
// rows. It keeps words of ours alone: the line may quote the file, and with it whatever
// somebody has said or written in there.
func (r *report) remember(line string) {
	for _, phrase := range knownPhrases() {
		if !strings.Contains(line, phrase) {
			continue
		}
		if len(r.last) > 0 && r.last[len(r.last)-1] == phrase {
			continue
		}
		if r.last = append(r.last, phrase); len(r.last) > maxReportLines {
			r.last = r.last[1:]
		}
	}
}

// summary says what the program has said at its end, as far as that is known.
func (r *report) summary() string {
	if len(r.last) == 0 {
		return "it said nothing that is known here"
	}
	return "it said: " + strings.Join(r.last, " | ")
}
