package speech

import (
	"strings"

	"golang.org/x/text/language"
)

// whisperLanguages are Whisper's names of the languages it knows, with their codes.
// Services that speak OpenAI's protocol answer with either.
const whisperLanguages = `
en english, zh chinese, de german, es spanish, ru russian, ko korean, fr french, ja japanese, pt portuguese, tr turkish,
pl polish, ca catalan, nl dutch, ar arabic, sv swedish, it italian, id indonesian, hi hindi, fi finnish, vi vietnamese,
he hebrew, uk ukrainian, el greek, ms malay, cs czech, ro romanian, da danish, hu hungarian, ta tamil, no norwegian,
th thai, ur urdu, hr croatian, bg bulgarian, lt lithuanian, la latin, mi maori, ml malayalam, cy welsh, sk slovak,
te telugu, fa persian, lv latvian, bn bengali, sr serbian, az azerbaijani, sl slovenian, kn kannada, et estonian,
mk macedonian, br breton, eu basque, is icelandic, hy armenian, ne nepali, mn mongolian, bs bosnian, kk kazakh,
sq albanian, sw swahili, gl galician, mr marathi, pa punjabi, si sinhala, km khmer, sn shona, yo yoruba, so somali,
af afrikaans, oc occitan, ka georgian, be belarusian, tg tajik, sd sindhi, gu gujarati, am amharic, yi yiddish, lo lao,
uz uzbek, fo faroese, ht haitian creole, ps pashto, tk turkmen, nn nynorsk, mt maltese, sa sanskrit, lb luxembourgish,
my myanmar, bo tibetan, tl tagalog, mg malagasy, as assamese, tt tatar, haw hawaiian, ln lingala, ha hausa, ba bashkir,
jv javanese, su sundanese, yue cantonese`

// spokenLanguage returns the language of an answer as BCP 47: the one that a service
// says it was, as a code or an English name. What was declared counts if the service
// doesn't know, or says the same less exactly.
func spokenLanguage(said, declared string) string {
	code := baseLanguage(said)
	name := strings.ToLower(strings.TrimSpace(said))
	for entry := range strings.SplitSeq(whisperLanguages, ",") {
		if c, n, _ := strings.Cut(strings.TrimSpace(entry), " "); n == name {
			code = c
		}
	}
	if code == "" || code == baseLanguage(declared) {
		return declared
	}
	return code
}

// baseLanguage returns the language of a BCP 47 tag by itself, such as "pt" of
// "pt-BR"; "" if it has none.
func baseLanguage(tag string) string {
	t, err := language.Parse(tag)
	if base, confidence := t.Base(); err == nil && confidence >= language.High {
		return base.String()
	}
	return ""
}
