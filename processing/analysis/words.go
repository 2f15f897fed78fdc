package analysis

import (
	"embed"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// The lists of words that the local analyst knows. They are plain text, so that who
// misses a name can add it; a new list asks for a new rulesVersion.
//
//go:embed words/*.txt
var wordFiles embed.FS

// words is a set of words or names, folded. The value says whether it is ambiguous:
// something else too, if it is written without a capital.
type words map[string]bool

// has reports whether a word is in the set; without certain, also if it is ambiguous.
func (w words) has(word string, certain bool) bool {
	ambiguous, known := w[word]
	return known && !(certain && ambiguous)
}

// lexicon is everything that the local analyst knows by heart.
type lexicon struct {
	stop          stopWords
	weak          words // English: says little by itself
	names         words // of persons
	surnames      words
	places        words
	organizations words
	moods         map[string]map[string]float64 // by language
	cues          map[string]words              // by what they tell
	dates         map[string]*regexp.Regexp     // by language; "" for others
}

// stopWords says, by language, what says nothing about a recording.
type stopWords map[string]words

func readStopWords() stopWords {
	s := stopWords{}
	for _, lang := range stopLanguages() {
		s[lang] = readWords("stop."+lang, strings.Fields)
	}
	return s
}

// stopLanguages are those with lists of stop words.
func stopLanguages() []string { return []string{"en", "de", "fr", "es", "it", "ru"} }

func newLexicon() *lexicon {
	l := &lexicon{
		stop:          readStopWords(),
		weak:          readWords("weak.en", strings.Fields),
		names:         readWords("names", strings.Fields),
		surnames:      readWords("surnames", strings.Fields),
		places:        readWords("places", lines),
		organizations: readWords("organizations", lines),
		moods:         map[string]map[string]float64{},
		cues:          map[string]words{},
		dates:         datePatterns(),
	}
	for _, lang := range stopLanguages() {
		l.moods[lang] = readMoods(lang)
	}
	for _, cue := range lines(listed("cues")) {
		what, list, _ := strings.Cut(cue, " ")
		if l.cues[what] == nil {
			l.cues[what] = words{}
		}
		for _, w := range strings.Fields(list) {
			l.cues[what][fold(w)] = false
		}
	}
	l.addCountries()
	return l
}

func lines(s string) []string { return strings.Split(s, "\n") }

// listed returns a list's text without its comments.
func listed(name string) string {
	data, err := wordFiles.ReadFile("words/" + name + ".txt")
	if err != nil {
		panic(err) // it is embedded, so this is a typing error, which every test finds
	}
	var b strings.Builder
	for l := range strings.Lines(string(data)) {
		if !strings.HasPrefix(l, "#") {
			b.WriteString(l)
		}
	}
	return b.String()
}

func readWords(name string, split func(string) []string) words {
	set := words{}
	for _, entry := range split(listed(name)) {
		word, ambiguous := strings.CutSuffix(strings.TrimSpace(entry), "*")
		if key := strings.Join(norms(word), " "); key != "" {
			set[key] = ambiguous
		}
	}
	return set
}

// readMoods reads a list of lines with a weight and its words.
func readMoods(lang string) map[string]float64 {
	moods := map[string]float64{}
	for _, l := range lines(listed("mood." + lang)) {
		fields := strings.Fields(l)
		if len(fields) == 0 {
			continue
		}
		weight, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			panic(err) // as above
		}
		for _, word := range fields[1:] {
			moods[fold(word)] = weight
		}
	}
	return moods
}

// addCountries adds the countries' names in the languages with stop words.
func (l *lexicon) addCountries() {
	ambiguous := words{"chad": true, "jordan": true, "turkey": true, "georgia": true, "guinea": true, "mali": true, "niger": true}
	for _, lang := range stopLanguages() {
		namer := display.Regions(language.MustParse(lang))
		for _, region := range countries() {
			key := strings.Join(norms(namer.Name(region)), " ")
			if _, known := l.places[key]; !known && key != "" {
				l.places[key] = ambiguous[key]
			}
		}
	}
}

func countries() []language.Region {
	var out []language.Region
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			if region, err := language.ParseRegion(string([]rune{a, b})); err == nil && region.IsCountry() {
				out = append(out, region)
			}
		}
	}
	return out
}
