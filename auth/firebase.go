package auth

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"reprise/recording"
)

const (
	firebaseProvider = "firebase:" // in front of every subject
	firebaseIssuer   = "https://securetoken.google.com/"

	// firebaseLeeway forgives a clock that is not the one of Google's.
	firebaseLeeway = time.Minute

	maxUIDBytes    = 128 // as Firebase has it
	maxEmailRunes  = 320
	maxNameRunes   = 200
	maxSignInRunes = 100 // of the name of a way to sign in
)

// FirebaseOptions is what a FirebaseVerifier is made of.
type FirebaseOptions struct {
	Project string // the id of the Firebase project
	// Transport reaches Google; nil means http.DefaultTransport.
	Transport http.RoundTripper
	// Emulator says that tokens are those of the Firebase Auth emulator. They are not
	// signed: anybody can make one for anybody.
	Emulator bool
	Now      func() time.Time
}

// FirebaseVerifier checks ID tokens of Firebase Authentication, as
// https://firebase.google.com/docs/auth/admin/verify-id-tokens says. It needs the
// project's id only, and asks Google for nothing but certificates, now and then.
type FirebaseVerifier struct {
	project  string
	parser   *jwt.Parser
	keys     *certificates // nil with the emulator
	emulator bool
	now      func() time.Time
}

// NewFirebaseVerifier makes a FirebaseVerifier.
func NewFirebaseVerifier(o FirebaseOptions) *FirebaseVerifier {
	method := jwt.SigningMethodRS256.Alg()
	v := &FirebaseVerifier{project: o.Project, emulator: o.Emulator, now: o.Now}
	if o.Emulator {
		method = jwt.SigningMethodNone.Alg()
	} else {
		v.keys = newCertificates(o.Transport, o.Now)
	}
	v.parser = jwt.NewParser(
		jwt.WithValidMethods([]string{method}),
		jwt.WithIssuer(firebaseIssuer+o.Project),
		jwt.WithAudience(o.Project),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(firebaseLeeway),
		jwt.WithStrictDecoding(),
		jwt.WithTimeFunc(o.Now),
	)
	return v
}

// firebaseClaims is what an ID token holds.
type firebaseClaims struct {
	jwt.RegisteredClaims
	AuthTime      *jwt.NumericDate `json:"auth_time"`
	Email         string           `json:"email"`
	EmailVerified bool             `json:"email_verified"`
	Name          string           `json:"name"`
	Role          any              `json:"role"` // a custom claim: whatever the project puts there
	Firebase      struct {
		Provider string `json:"sign_in_provider"`
		Tenant   string `json:"tenant"`
	} `json:"firebase"`
}

// Verify implements Verifier. The subject is "firebase:" and the user's uid.
func (v *FirebaseVerifier) Verify(ctx context.Context, token string) (Identity, error) {
	var claims firebaseClaims
	_, err := v.parser.ParseWithClaims(token, &claims, func(t *jwt.Token) (any, error) { return v.keyOf(ctx, t) })
	if err != nil {
		return Identity{}, v.explain(err)
	}
	if err := v.checkClaims(&claims); err != nil {
		return Identity{}, err
	}
	identity := Identity{
		Profile: recording.Profile{
			Subject:  firebaseProvider + claims.Subject,
			Name:     clean(claims.Name, maxNameRunes),
			Provider: clean(claims.Firebase.Provider, maxSignInRunes),
			IssuedAt: claims.IssuedAt.Time,
		},
		Role:     roleOf(claims.Role),
		AuthTime: claims.AuthTime.Time,
	}
	if claims.EmailVerified {
		identity.Email = clean(claims.Email, maxEmailRunes)
	}
	return identity, nil
}

// checkClaims looks at what the parser does not.
func (v *FirebaseVerifier) checkClaims(c *firebaseClaims) error {
	switch {
	case len(c.Audience) != 1: // one project's token is another's
		return v.refused()
	case c.Subject == "" || len(c.Subject) > maxUIDBytes || clean(c.Subject, maxUIDBytes) != c.Subject:
		return recording.Errorf(recording.CodeUnauthenticated, "The token names no valid user.")
	case c.Firebase.Tenant != "": // a uid is unique within its tenant only
		return recording.Errorf(recording.CodeUnauthenticated, "The token is of a tenant; this server takes users of the project itself only.")
	case c.IssuedAt == nil || c.AuthTime == nil:
		return v.refused()
	case c.AuthTime.After(v.now().Add(firebaseLeeway)):
		return recording.Errorf(recording.CodeUnauthenticated, "The token is not valid yet; check the clock of the server.")
	}
	return nil
}

func (v *FirebaseVerifier) keyOf(ctx context.Context, t *jwt.Token) (any, error) {
	// RFC 7515, 4.1.11: an extension marked critical that is not understood
	// makes the token invalid, and none is understood here.
	if _, ok := t.Header["crit"]; ok {
		return nil, errors.New("unknown critical extension")
	}
	if v.emulator {
		return jwt.UnsafeAllowNoneSignatureType, nil
	}
	kid, _ := t.Header["kid"].(string)
	if kid == "" {
		return nil, errors.New("no key id")
	}
	key, err := v.keys.key(ctx, kid)
	if err != nil {
		return nil, err
	}
	return key, nil
}

// explain says what is wrong in our words: the parser's may quote the token.
func (v *FirebaseVerifier) explain(err error) error {
	var known *recording.Error
	switch {
	case errors.As(err, &known): // of the certificates
		return known
	case errors.Is(err, jwt.ErrTokenMalformed):
		return errMalformed()
	case errors.Is(err, jwt.ErrTokenUnverifiable), errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return v.refused()
	case errors.Is(err, jwt.ErrTokenExpired):
		return recording.Errorf(recording.CodeUnauthenticated, "The token has expired; get a new one.")
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return recording.Errorf(recording.CodeUnauthenticated, "The token is not valid yet; check the clock of the server.")
	}
	return v.refused()
}

func (v *FirebaseVerifier) refused() error {
	return recording.Errorf(recording.CodeUnauthenticated, "The token is not a Firebase ID token of the project that this server takes.")
}

// roleOf reads the custom claim "role". What is no role gives none.
func roleOf(claim any) recording.Role {
	switch claim {
	case string(recording.RoleAdmin):
		return recording.RoleAdmin
	case string(recording.RoleSupport):
		return recording.RoleSupport
	}
	return recording.RoleNone
}

// clean returns text as it can be kept and shown: valid UTF-8 without control
// characters (Postgres takes no NUL) or marks that turn the direction of text, of at
// most limit characters.
func clean(text string, limit int) string {
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text))
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit])
	}
	return text
}
