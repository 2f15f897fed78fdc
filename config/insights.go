package config

import (
	"net/url"
	"runtime"
	"strings"
)

func (i *Insights) check(p *Problems) {
	secretFromFile(p, "REPRISE_AI_TRANSCRIPTION_KEY", &i.AITranscriptionKey, &i.AITranscriptionKeyFile)
	secretFromFile(p, "REPRISE_AI_ANALYSIS_KEY", &i.AIAnalysisKey, &i.AIAnalysisKeyFile)
	checkWay(p, "REPRISE_AI_TRANSCRIPTION", i.AITranscription, &i.AITranscriptionURL, i.AITranscriptionModel)
	checkWay(p, "REPRISE_AI_ANALYSIS", i.AIAnalysis, &i.AIAnalysisURL, i.AIAnalysisModel)
	switch {
	case i.AIPieces < 0 || i.AIPieces > 1000:
		p.add("REPRISE_AI_PIECES", "it must be 1 to 1000, or 0 for the default")
	case i.AIPieces == 0 && i.AITranscription == "http":
		i.AIPieces = 4
	case i.AIPieces == 0:
		i.AIPieces = max(1, runtime.GOMAXPROCS(0)/2)
	}
}

func checkWay(p *Problems, name, way string, service *string, model string) {
	switch way {
	case "local", "off":
		return
	case "http":
	default:
		p.add(name, "%q is not local, http or off", way)
		return
	}
	if model == "" {
		p.add(name+"_MODEL", "needed with %s=http: the model to ask the service for, such as whisper-1", name)
	}
	*service = strings.TrimRight(*service, "/")
	u, err := url.Parse(*service) // its error would quote what may be a password
	switch {
	case *service == "":
		p.add(name+"_URL", "needed with %s=http: such as https://api.openai.com/v1", name)
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		p.add(name+"_URL", "not http:// or https:// with a host and a path")
	case u.User != nil:
		p.add(name+"_URL", "credentials don't belong into it: set %s_KEY", name)
	}
}
