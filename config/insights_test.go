package config_test

import (
	"strings"
	"testing"
)

func TestInsights(t *testing.T) {
	t.Parallel()
	cfg, err := load(t, needed("REPRISE_AI_TRANSCRIPTION=http", "REPRISE_AI_TRANSCRIPTION_URL=http://127.0.0.1:8000/v1/",
		"REPRISE_AI_TRANSCRIPTION_MODEL=small", "REPRISE_AI_TRANSCRIPTION_KEY_FILE="+writeFile(t, "s3cret\n"), "REPRISE_AI_ANALYSIS=off"))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.AITranscriptionURL != "http://127.0.0.1:8000/v1" || string(cfg.AITranscriptionKey) != "s3cret" || cfg.AIPieces != 4 {
		t.Errorf("%+v", cfg.Insights)
	}
	for want, settings := range map[string][]string{
		`REPRISE_AI_TRANSCRIPTION: "cloud" is not local, http or off`:            {"REPRISE_AI_TRANSCRIPTION=cloud"},
		"REPRISE_AI_TRANSCRIPTION_URL: needed with":                              {"REPRISE_AI_TRANSCRIPTION=http", "REPRISE_AI_TRANSCRIPTION_MODEL=x"},
		"REPRISE_AI_ANALYSIS_MODEL: needed with":                                 {"REPRISE_AI_ANALYSIS=http", "REPRISE_AI_ANALYSIS_URL=https://a.example/v1"},
		"REPRISE_AI_ANALYSIS_URL: not http:// or https:// with a host":           {"REPRISE_AI_ANALYSIS=http", "REPRISE_AI_ANALYSIS_MODEL=x", "REPRISE_AI_ANALYSIS_URL=ftp://hunter2"},
		"REPRISE_AI_ANALYSIS_URL: credentials don't belong into it: set REPRISE": {"REPRISE_AI_ANALYSIS=http", "REPRISE_AI_ANALYSIS_MODEL=x", "REPRISE_AI_ANALYSIS_URL=https://u:hunter2@a.example"},
		"REPRISE_AI_PIECES: it must be 1 to 1000":                                {"REPRISE_AI_PIECES=-1"},
		"REPRISE_USER_TRANSCRIBED_PER_DAY: it must be at least 1s":               {"REPRISE_USER_TRANSCRIBED_PER_DAY=1ms"},
		"REPRISE_USER_TOKENS_PER_DAY: it must not be negative":                   {"REPRISE_USER_TOKENS_PER_DAY=-1"},
	} {
		_, err := load(t, needed(settings...))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2@") {
			t.Errorf("%v: %v, want %q", settings, err, want)
		}
	}
}
