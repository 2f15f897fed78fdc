package catalog_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
)

func TestSeeUser(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	see := func(p recording.Profile) recording.User {
		t.Helper()
		p.Subject = "firebase:x"
		u, err := r.SeeUser(ctx, p)
		must(t, err)
		stored, err := r.User(ctx, u.ID)
		must(t, err)
		if stored.Email != u.Email || stored.Name != u.Name || stored.Provider != u.Provider || !stored.LastSeenAt.Equal(u.LastSeenAt) {
			t.Errorf("returned %+v, stored %+v", u, stored)
		}
		return u
	}
	first := r.clock
	u := see(recording.Profile{Email: "a@b.example", Name: "A", Provider: "password", IssuedAt: first})
	if u.Email != "a@b.example" || !u.CreatedAt.Equal(first) || !u.LastSeenAt.Equal(first) || u.DisabledAt != nil {
		t.Errorf("at first sight: %+v", u)
	}
	r.clock = first.Add(4 * time.Minute)
	if u = see(recording.Profile{Email: "a@b.example", Name: "A", Provider: "password", IssuedAt: r.clock}); !u.LastSeenAt.Equal(first) {
		t.Errorf("4 minutes later, nothing new was written: %+v", u)
	}
	u = see(recording.Profile{Name: "B", Provider: "google.com", IssuedAt: r.clock})
	if u.Email != "" || u.Name != "B" || u.Provider != "google.com" || !u.LastSeenAt.Equal(r.clock) {
		t.Errorf("a newer token: %+v", u)
	}
	before := u
	r.clock = first.Add(6 * time.Minute)
	if u = see(recording.Profile{Email: "a@b.example", Name: "A", IssuedAt: first}); u != before {
		t.Errorf("an older token: %+v, want %+v", u, before)
	}
	r.clock = first.Add(10 * time.Minute)
	if u = see(recording.Profile{}); u.Name != "B" || !u.LastSeenAt.Equal(r.clock) || !u.CreatedAt.Equal(first) {
		t.Errorf("seen again: %+v", u)
	}
}

// Who signs in does not wait for a transaction that holds their row.
func TestSeeUserWhileLocked(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	tx, err := r.pool.Begin(ctx)
	must(t, err)
	_, err = tx.Exec(ctx, `UPDATE users SET event_seq = event_seq WHERE id = $1`, r.alice)
	must(t, err)
	r.clock = r.clock.Add(time.Hour)
	p := recording.Profile{Subject: "dev:alice", Name: "Alice", IssuedAt: r.clock}
	if u, err := r.SeeUser(ctx, p); err != nil || u.ID != r.alice || u.Name != "" {
		t.Errorf("while it is locked: %+v, %v", u, err)
	}
	must(t, tx.Rollback(ctx))
	if u, err := r.SeeUser(ctx, p); err != nil || u.Name != "Alice" {
		t.Errorf("afterwards: %+v, %v", u, err)
	}
}

func TestDisableUser(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	by := recording.AuditEntry{Role: recording.RoleOperator, Action: recording.ActionDisableUser, Target: r.alice.String(), Reason: "spam"}
	since := r.clock
	for range 2 { // the second time changes nothing
		u, err := r.SetUserDisabled(ctx, r.alice, true, by)
		must(t, err)
		if u.DisabledAt == nil || !u.DisabledAt.Equal(since) || u.DisabledReason != "spam" {
			t.Errorf("disabled: %+v", u)
		}
		r.clock = r.clock.Add(time.Minute)
	}
	by.Action = recording.ActionEnableUser
	if u, err := r.SetUserDisabled(ctx, r.alice, false, by); err != nil || u.DisabledAt != nil || u.DisabledReason != "" {
		t.Errorf("enabled: %+v, %v", u, err)
	}
	if _, err := r.SetUserDisabled(ctx, uuid.New(), true, by); recording.CodeOf(err) != recording.CodeNotFound {
		t.Errorf("nobody: %v", err)
	}
	// What can't be written down is not done.
	by.Role = "nobody"
	if _, err := r.SetUserDisabled(ctx, r.alice, true, by); err == nil {
		t.Error("it was done by nobody")
	}
	if u, err := r.User(ctx, r.alice); err != nil || u.DisabledAt != nil {
		t.Errorf("after a change that could not be audited: %+v, %v", u, err)
	}
	entries, err := r.AuditEntries(ctx, recording.Page{Limit: 2})
	must(t, err)
	if len(entries) != 2 || entries[0].Action != recording.ActionEnableUser || entries[1].Action != recording.ActionDisableUser ||
		entries[0].Reason != "spam" || entries[0].ActorID != uuid.Nil || !entries[0].At.Equal(r.clock) {
		t.Errorf("the audit: %+v", entries)
	}
	rest, err := r.AuditEntries(ctx, recording.Page{Limit: 2, Before: entries[1].ID})
	if err != nil || len(rest) != 1 {
		t.Errorf("its second page: %+v, %v", rest, err)
	}
	for _, sql := range []string{`DELETE FROM audit`, `UPDATE audit SET reason = ''`, `TRUNCATE audit`} {
		if _, err := r.pool.Exec(ctx, sql); err == nil {
			t.Errorf("%s was done", sql)
		}
	}
}

func TestFindUsers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	var ids []uuid.UUID
	for _, subject := range []string{"firebase:1", "firebase:2"} {
		u, err := r.SeeUser(ctx, recording.Profile{Subject: subject, Email: "Both@Example.com", IssuedAt: r.clock})
		must(t, err)
		ids = append(ids, u.ID)
	}
	for what, want := range map[string][]uuid.UUID{
		"both@example.COM": {ids[1], ids[0]}, "firebase:1": {ids[0]}, r.alice.String(): {r.alice}, "": nil, "nobody": nil, uuid.NewString(): nil,
	} {
		var got []uuid.UUID
		users, err := r.FindUsers(ctx, what, recording.Page{Limit: 10})
		must(t, err)
		for _, u := range users {
			got = append(got, u.ID)
		}
		if len(got) != len(want) || len(got) > 0 && got[0] != want[0] {
			t.Errorf("%q: found %v, want %v", what, got, want)
		}
	}
	page, err := r.Users(ctx, recording.Page{Limit: 2})
	must(t, err)
	rest, err := r.Users(ctx, recording.Page{Limit: 2, Before: page[1].ID})
	if err != nil || len(page) != 2 || page[0].ID != ids[1] || len(rest) != 1 || rest[0].ID != r.alice {
		t.Errorf("pages %+v and %+v, %v", page, rest, err)
	}
	r.create(r.alice)
	r.receive(r.alice)
	counts, err := r.CountRecordings(ctx, r.alice)
	if err != nil || counts[recording.StateUploading] != 1 || counts[recording.StateReceived] != 1 || len(counts) != 2 {
		t.Errorf("counts %v, %v", counts, err)
	}
}
