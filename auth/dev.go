package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"reprise/recording"
)

const (
	devIssuer   = "reprise-dev"
	devAudience = "reprise"
	devProvider = "dev:" // in front of every subject, so that no other provider's can be named

	// devKeyBytes is the least and the usual length of the key: RFC 7518, 3.2,
	// wants at least the 256 bits of the hash.
	devKeyBytes = 32

	// devLeeway forgives clocks that are a little apart.
	devLeeway = 5 * time.Second

	maxUserRunes = 100
)

// DevVerifier checks development tokens: signed with a key of our own by
// IssueDevToken, for anybody by any name. It is no identity provider; who has
// the key is everybody.
type DevVerifier struct {
	key    []byte
	parser *jwt.Parser
}

// NewDevVerifier makes a DevVerifier. The key has at least 32 bytes.
func NewDevVerifier(key []byte, now func() time.Time) (*DevVerifier, error) {
	if len(key) < devKeyBytes {
		return nil, fmt.Errorf("auth: the development key has %d bytes, it needs %d", len(key), devKeyBytes)
	}
	return &DevVerifier{
		key: key,
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
			jwt.WithIssuer(devIssuer),
			jwt.WithAudience(devAudience),
			jwt.WithExpirationRequired(),
			jwt.WithIssuedAt(),
			jwt.WithLeeway(devLeeway),
			jwt.WithStrictDecoding(),
			jwt.WithTimeFunc(now),
		),
	}, nil
}

// devClaims is what a development token holds.
type devClaims struct {
	jwt.RegisteredClaims
	Role any `json:"role,omitempty"` // as a custom claim of Firebase
}

// Verify implements Verifier. The subject is "dev:" and the user's name.
func (v *DevVerifier) Verify(_ context.Context, token string) (Identity, error) {
	var claims devClaims
	_, err := v.parser.ParseWithClaims(token, &claims, v.keyOf)
	if err != nil {
		return Identity{}, devTokenError(err)
	}
	if err := CheckDevUser(claims.Subject); err != nil {
		return Identity{}, recording.Errorf(recording.CodeUnauthenticated, "The token names no valid user.")
	}
	return Identity{Profile: recording.Profile{Subject: devProvider + claims.Subject}, Role: roleOf(claims.Role)}, nil
}

func (v *DevVerifier) keyOf(t *jwt.Token) (any, error) {
	// RFC 7515, 4.1.11: an extension marked critical that is not understood
	// makes the token invalid, and none is understood here.
	if _, ok := t.Header["crit"]; ok {
		return nil, errors.New("unknown critical extension")
	}
	return v.key, nil
}

// devTokenError says what is wrong in our words: the parser's may quote the token.
func devTokenError(err error) error {
	message := "The token is not one of this server's development tokens."
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return errMalformed()
	case errors.Is(err, jwt.ErrTokenUnverifiable), errors.Is(err, jwt.ErrTokenSignatureInvalid):
	case errors.Is(err, jwt.ErrTokenExpired):
		message = "The token has expired; get a new one."
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		message = "The token is not valid yet; check the clock of the machine that made it."
	}
	return recording.Errorf(recording.CodeUnauthenticated, "%s", message)
}

// IssueDevToken makes a development token for the user of this name, valid
// from now for ttl. The key is the verifier's.
func IssueDevToken(key []byte, user string, ttl time.Duration, now time.Time) (string, error) {
	return IssueDevTokenAs(key, user, recording.RoleNone, ttl, now)
}

// IssueDevTokenAs is IssueDevToken for a user who has a role.
func IssueDevTokenAs(key []byte, user string, role recording.Role, ttl time.Duration, now time.Time) (string, error) {
	if len(key) < devKeyBytes {
		return "", fmt.Errorf("auth: the development key has %d bytes, it needs %d", len(key), devKeyBytes)
	}
	if err := CheckDevUser(user); err != nil {
		return "", err
	}
	if ttl < time.Second {
		return "", fmt.Errorf("auth: a token can't be valid for %v; it needs at least a second", ttl)
	}
	claims := devClaims{RegisteredClaims: jwt.RegisteredClaims{
		Issuer:    devIssuer,
		Audience:  jwt.ClaimStrings{devAudience},
		Subject:   user,
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(ttl)),
	}}
	switch role {
	case recording.RoleNone:
	case recording.RoleAdmin, recording.RoleSupport:
		claims.Role = string(role)
	default:
		return "", fmt.Errorf("auth: %q is not a role that a token can give", role)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	signed, err := token.SignedString(key)
	if err != nil {
		return "", fmt.Errorf("auth: sign a development token: %w", err)
	}
	return signed, nil
}

// CheckDevUser says whether a development user may have this name: 1 to 100
// printable characters, no space at either end.
func CheckDevUser(name string) error {
	if name == "" || utf8.RuneCountInString(name) > maxUserRunes || !utf8.ValidString(name) ||
		strings.TrimSpace(name) != name || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("auth: a user's name is 1 to %d printable characters, without spaces around it", maxUserRunes)
	}
	return nil
}
