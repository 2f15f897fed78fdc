package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

const (
	// accountsURL is Google's Identity Toolkit, which Firebase Authentication is.
	accountsURL = "https://identitytoolkit.googleapis.com"
	// accountsScope is what a service account needs to look accounts up.
	accountsScope = "https://www.googleapis.com/auth/identitytoolkit"

	maxAccountBytes = 1 << 20
)

// FirebaseAccounts looks accounts up at Firebase, with a service account. It is a
// Directory.
type FirebaseAccounts struct {
	url    string
	client *http.Client
}

// NewFirebaseAccounts makes a FirebaseAccounts of a project. The service account is
// that of the file, or with "" the one that the environment gives: the machine's, or
// what else Google's application default credentials are. transport reaches Google;
// nil means http.DefaultTransport.
func NewFirebaseAccounts(ctx context.Context, project, file string, transport http.RoundTripper) (*FirebaseAccounts, error) {
	// Tokens of the service account are asked for by the same way.
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: transport, Timeout: directoryPatience})
	source, err := serviceAccount(ctx, file)
	if err != nil {
		return nil, err
	}
	return newFirebaseAccounts(accountsURL, project, &http.Client{Transport: &oauth2.Transport{Source: source, Base: transport}}), nil
}

// NewEmulatorAccounts makes a FirebaseAccounts of the Firebase Auth emulator at
// host:port, whom everybody may ask.
func NewEmulatorAccounts(project, address string) *FirebaseAccounts {
	owner := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "owner"})
	return newFirebaseAccounts("http://"+address+"/identitytoolkit.googleapis.com", project, &http.Client{Transport: &oauth2.Transport{Source: owner}})
}

func newFirebaseAccounts(base, project string, client *http.Client) *FirebaseAccounts {
	return &FirebaseAccounts{url: base + "/v1/projects/" + url.PathEscape(project) + "/accounts:lookup", client: client}
}

// serviceAccount reads the file. Its errors don't quote it.
func serviceAccount(ctx context.Context, file string) (oauth2.TokenSource, error) {
	if file == "" {
		credentials, err := google.FindDefaultCredentials(ctx, accountsScope)
		if err != nil {
			return nil, fmt.Errorf("auth: application default credentials: %w", err)
		}
		return credentials.TokenSource, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("auth: the service account: %w", err)
	}
	// Only a key of a service account: other kinds of credentials name addresses that
	// are asked for tokens.
	config, err := google.JWTConfigFromJSON(text, accountsScope)
	if err != nil {
		return nil, fmt.Errorf("auth: %s is not the JSON key of a service account", file)
	}
	return config.TokenSource(ctx), nil
}

// Account implements Directory.
func (f *FirebaseAccounts) Account(ctx context.Context, subject string) (Account, error) {
	uid, ok := strings.CutPrefix(subject, firebaseProvider)
	if !ok {
		return Account{}, errors.New("auth: not a subject of Firebase")
	}
	question, err := json.Marshal(map[string][]string{"localId": {uid}})
	if err != nil {
		return Account{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader(question))
	if err != nil {
		return Account{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := f.client.Do(req)
	if err != nil {
		return Account{}, fmt.Errorf("look an account up: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return Account{}, fmt.Errorf("look an account up: HTTP %d", res.StatusCode)
	}
	return readAccount(io.LimitReader(res.Body, maxAccountBytes), uid)
}

// readAccount reads the answer of accounts:lookup
// (https://cloud.google.com/identity-platform/docs/reference/rest/v1/projects.accounts/lookup).
func readAccount(body io.Reader, uid string) (Account, error) {
	var found struct {
		Users []struct {
			LocalID    string `json:"localId"`
			Disabled   bool   `json:"disabled"`
			ValidSince string `json:"validSince"` // seconds
		} `json:"users"`
	}
	if err := json.NewDecoder(body).Decode(&found); err != nil {
		return Account{}, fmt.Errorf("look an account up: %w", err)
	}
	for _, user := range found.Users {
		if user.LocalID != uid {
			continue
		}
		account := Account{Disabled: user.Disabled}
		if seconds, err := strconv.ParseInt(user.ValidSince, 10, 64); err == nil {
			account.ValidAfter = time.Unix(seconds, 0)
		}
		return account, nil
	}
	return Account{Gone: true}, nil
}
