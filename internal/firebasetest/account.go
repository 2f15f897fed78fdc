package firebasetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// Account is a user of the emulator, as an app and an administrator see it.
type Account struct {
	t        testing.TB
	address  string
	UID      string
	Email    string
	password string
}

// SignUp makes a user with an e-mail address and a password.
func SignUp(t testing.TB, email string) *Account {
	t.Helper()
	a := &Account{t: t, address: Address(t), Email: email, password: "correct horse"}
	var answer struct{ LocalID string }
	a.call("accounts:signUp", "", map[string]any{"email": a.Email, "password": a.password, "returnSecureToken": true}, &answer)
	a.UID = answer.LocalID
	return a
}

// SignIn returns an ID token.
func (a *Account) SignIn() string {
	a.t.Helper()
	var answer struct{ IDToken string }
	a.call("accounts:signInWithPassword", "", map[string]any{"email": a.Email, "password": a.password, "returnSecureToken": true}, &answer)
	return answer.IDToken
}

// Update changes the user as the Admin SDK does: disableUser, emailVerified,
// displayName, customAttributes, validSince.
func (a *Account) Update(fields map[string]any) {
	a.t.Helper()
	fields["localId"] = a.UID
	a.call("projects/"+Project+"/accounts:update", "owner", fields, nil)
}

// Revoke revokes every sign-in that began before at.
func (a *Account) Revoke(at time.Time) {
	a.t.Helper()
	a.Update(map[string]any{"validSince": fmt.Sprint(at.Unix())})
}

// Delete deletes the user.
func (a *Account) Delete() {
	a.t.Helper()
	a.call("projects/"+Project+"/accounts:delete", "owner", map[string]any{"localId": a.UID}, nil)
}

// call calls the emulator's Identity Toolkit, as an app or, with a bearer token, as an
// administrator.
func (a *Account) call(method, bearer string, body map[string]any, answer any) {
	a.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		a.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost,
		"http://"+a.address+"/identitytoolkit.googleapis.com/v1/"+method+"?key=any", bytes.NewReader(text))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		a.t.Fatalf("the emulator answered %s with %s", method, res.Status)
	}
	if answer == nil {
		return
	}
	if err := json.NewDecoder(res.Body).Decode(answer); err != nil {
		a.t.Fatal(err)
	}
}
