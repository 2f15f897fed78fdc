package analysis

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"reprise/recording"
)

// longestDate in characters: "wednesday, the twenty-third of september, nineteen seventy-seven".
const longestDate = 80

// Parts of the patterns.
const (
	year     = `(?:1[5-9]\d\d|20\d\d)`
	anyMonth = `(?:january|february|march|april|may|june|july|august|september|october|november|december)`
	units    = `(?:one|two|three|four|five|six|seven|eight|nine)`
	tens     = `(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)`
	teens    = `(?:ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen)`
	twoDigit = `(?:` + tens + `[ -]` + units + `|` + tens + `|` + teens + `|oh[ -]` + units + `)`
	yearWord = `(?:(?:sixteen|seventeen|eighteen|nineteen|twenty)[ -](?:hundred(?: and ` + units + `)?|` + twoDigit + `)|two thousand(?: and)?(?: ` + units + `| ` + teens + `)?)`
	someYear = `(?:` + year + `|` + yearWord + `)`
	decade   = `(?:(?:(?:early|late|mid)[ -])?(?:(?:eighteen |nineteen )?(?:twenties|thirties|forties|fifties|sixties|seventies|eighties|nineties)|(?:1[89]|20)\d0s|'?[2-9]0s))`
	ordinals = `(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth|thirteenth|fourteenth|fifteenth|sixteenth|seventeenth|eighteenth|nineteenth|twentieth|twenty[ -](?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth)|thirtieth|thirty[ -]first|(?:[12]?\d|3[01])(?:st|nd|rd|th)?)`
	season   = `(?:spring|summer|autumn|winter|fall)`
	weekday  = `(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)`
	holiday  = `(?:christmas(?: eve| day)?|easter(?: sunday| monday)?|thanksgiving|halloween|hanukkah|passover|new year's(?: eve| day)?)`
	relative = `(?:yesterday|tomorrow|(?:last|next) (?:night|week|month|year|` + season + `|` + weekday + `|` + anyMonth + `|` + holiday + `)|(?:a|` + units + `|` + twoDigit + `|\d+) (?:days?|weeks?|months?|years?) ago)`
	number   = `(?:[12]?\d|3[01])`
)

// datePatterns returns what dates look like in the small letters of each language.
func datePatterns() map[string]*regexp.Regexp {
	patterns := map[string]*regexp.Regexp{"en": englishDates()}
	for _, lang := range []string{"de", "fr", "es", "it", "ru", ""} {
		patterns[lang] = otherDates(lang)
	}
	return patterns
}

func englishDates() *regexp.Regexp {
	ofYear := `(?:,? (?:of |in )?` + someYear + `)`
	return anyOf(
		ordinals+` of `+anyMonth+ofYear+`?`,
		`(?:`+weekday+`,? (?:the )?)?`+anyMonth+` (?:the )?`+ordinals+ofYear+`?`,
		number+` `+anyMonth+ofYear+`?`,
		anyMonth+ofYear,
		`(?:early |late |mid )?`+season+` of (?:`+someYear+`|`+twoDigit+`|'?\d\d)`,
		season+` `+someYear,
		holiday+ofYear+`?`,
		decade,
		someYear,
		relative,
		weekday+`(?: (?:morning|afternoon|evening|night))?`,
		`(?:january|february|april|june|july|september|october|november|december)`,
		`\d{4}-\d\d-\d\d`, `\d{1,2}[./]\d{1,2}[./](?:\d{4}|\d\d)`,
	)
}

// otherDates returns the rules for a language by its months, the words that may stand
// between day, month and year, and its seasons.
func otherDates(lang string) *regexp.Regexp {
	tables := map[string]struct{ months, link, seasons string }{
		"de": {`januar|jänner|februar|märz|april|mai|juni|juli|august|september|oktober|november|dezember`, `(?:\.| |\. )`, `frühling|frühjahr|sommer|herbst|winter`},
		"fr": {`janvier|février|mars|avril|mai|juin|juillet|août|septembre|octobre|novembre|décembre`, `(?: |er )`, `printemps|été|automne|hiver`},
		"es": {`enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre`, `(?: de(?:l)? | )`, `primavera|verano|otoño|invierno`},
		"it": {`gennaio|febbraio|marzo|aprile|maggio|giugno|luglio|agosto|settembre|ottobre|novembre|dicembre`, `(?: del | )`, `primavera|estate|autunno|inverno`},
		"ru": {`январ[ьяе]|феврал[ьяе]|март[ае]?|апрел[ьяе]|ма[йяе]|июн[ьяе]|июл[ьяе]|август[ае]?|сентябр[ьяе]|октябр[ьяе]|ноябр[ьяе]|декабр[ьяе]`, ` `, `весной|летом|осенью|зимой`},
	}
	t, known := tables[lang]
	if !known {
		return anyOf(year, `\d{4}-\d\d-\d\d`, `\d{1,2}[./]\d{1,2}[./]\d{4}`)
	}
	month, between := `(?:`+t.months+`)`, t.link
	link := `(?: de l'| de | del | des (?:jahres )?| )`
	return anyOf(
		number+between+month+`(?:`+between+year+`|`+link+year+`)?`,
		month+link+year,
		`(?:`+t.seasons+`)`+link+year,
		year, `\d{4}-\d\d-\d\d`, `\d{1,2}[./]\d{1,2}[./]\d{4}`,
	)
}

// anyOf returns a pattern of what begins with any of the patterns, the longest that fits.
func anyOf(patterns ...string) *regexp.Regexp {
	p := regexp.MustCompile("^(?:" + strings.Join(patterns, "|") + ")")
	p.Longest()
	return p
}

// dates returns the dates that are said, each form once.
func (r *reader) dates() []draftEntity {
	pattern, known := r.lexicon.dates[r.lang]
	if !known {
		pattern = r.lexicon.dates[""]
	}
	// Small letters one by one, so that a place in them is one in the transcript.
	small := make([]rune, len(r.runes))
	for i, c := range r.runes {
		small[i] = smallLetter(c)
	}
	var out []draftEntity
	seen := map[string]bool{}
	add := func(first, last int) {
		name := r.slice(r.atoms[first].from, r.atoms[last].to)
		if key := strings.ToLower(name); !seen[key] && !r.counts(last) {
			seen[key] = true
			out = append(out, draftEntity{Kind: string(recording.EntityDate), Name: name, Spoken: []string{name}})
		}
	}
	for i := 0; i < len(r.atoms); i++ {
		from := r.atoms[i].from
		said := pattern.FindString(string(small[from:min(len(small), from+longestDate)]))
		if last, ok := r.endsAt(i, from+utf8.RuneCountInString(said)); ok {
			add(i, last)
			i = last
		}
	}
	if r.lang == "en" {
		r.ambiguousMonths(add)
	}
	return out
}

// ambiguousMonths adds May, March and August where they are said as months.
func (r *reader) ambiguousMonths(add func(first, last int)) {
	for i, a := range r.atoms {
		if slices.Contains([]string{"may", "march", "august"}, a.norm) &&
			slices.Contains([]string{"in", "of", "since", "until", "by", "last", "next", "this", "early", "late", "during", "every"}, r.normAt(i-1)) {
			add(i, i)
		}
	}
}

// counts reports whether what looks like a year is a number of something: "1800 people".
func (r *reader) counts(last int) bool {
	a := r.atoms[last]
	if a.to-a.from != 4 || r.runes[a.from] < '0' || r.runes[a.from] > '9' || last+1 >= len(r.atoms) {
		return false
	}
	return slices.Contains([]string{
		"people", "dollars", "euros", "pounds", "francs", "marks", "meters", "metres", "miles", "kilometers", "kilometres", "feet", "men", "soldiers", "kilos", "tons", "times",
		"personen", "menschen", "meter", "kilometer", "euro", "personnes", "metres", "kilometres", "personas", "metros", "kilometros", "persone", "metri", "chilometri", "человек", "рублеи",
	}, r.atoms[last+1].norm)
}

// endsAt returns the atom from first on that ends at a character.
func (r *reader) endsAt(first, to int) (last int, ok bool) {
	for last = first; last < len(r.atoms) && r.atoms[last].to < to; last++ {
	}
	return last, last < len(r.atoms) && r.atoms[last].to == to
}

// smallLetter is unicode.ToLower for the letters of the patterns, and keeps others.
func smallLetter(c rune) rune {
	switch {
	case 'A' <= c && c <= 'Z', 'А' <= c && c <= 'Я':
		return c + 32
	case 'À' <= c && c <= 'Þ' && c != '×':
		return c + 32
	case c == '’':
		return '\''
	case c < ' ':
		return ' '
	}
	return c
}
