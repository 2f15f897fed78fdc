package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"reprise/catalog"
	"reprise/config"
	"reprise/recording"
)

// UserOptions say what an operator does with users. The Config has passed CheckDatabase.
type UserOptions struct {
	Config config.Config
	Out    io.Writer // for people
}

// maxListed is how many users are listed at a time.
const maxListed = 200

// operator is who does something by a command.
func operator(action recording.AuditAction, target, reason string) recording.AuditEntry {
	return recording.AuditEntry{Role: recording.RoleOperator, Action: action, Target: target, Reason: reason}
}

// withUsers opens the database for what a command does.
func withUsers(ctx context.Context, o UserOptions, do func(*catalog.Catalog) error) error {
	pool, err := openPool(ctx, string(o.Config.DatabaseURL), nil)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := catalog.CheckMigrated(ctx, pool, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	users, err := catalog.New(catalog.Options{Pool: pool})
	if err != nil {
		return err
	}
	return do(users)
}

// ListUsers prints users, who was created last first: those whose id, subject or
// e-mail address is find, or with "" those who were created before the user of this
// id; uuid.Nil begins with the last.
func ListUsers(ctx context.Context, o UserOptions, find string, before uuid.UUID) error {
	return withUsers(ctx, o, func(c *catalog.Catalog) error {
		page := recording.Page{Limit: maxListed, Before: before}
		action, list := recording.ActionListUsers, c.Users
		if find != "" {
			action = recording.ActionFindUsers
			list = func(ctx context.Context, page recording.Page) ([]recording.User, error) {
				return c.FindUsers(ctx, find, page)
			}
		}
		if err := c.Audit(ctx, operator(action, find, "")); err != nil {
			return err
		}
		users, err := list(ctx, page)
		if err != nil {
			return err
		}
		return printUsers(o.Out, users)
	})
}

// ShowUser prints a user, whose id, subject or e-mail address is who.
func ShowUser(ctx context.Context, o UserOptions, who string) error {
	return withUsers(ctx, o, func(c *catalog.Catalog) error {
		u, err := findUser(ctx, c, who)
		if err != nil {
			return err
		}
		if err := c.Audit(ctx, operator(recording.ActionShowUser, u.ID.String(), "")); err != nil {
			return err
		}
		counts, err := c.CountRecordings(ctx, u.ID)
		if err != nil {
			return err
		}
		return printUser(o.Out, u, counts)
	})
}

// SetUserDisabled shuts a user out, or lets them in again, for a reason.
func SetUserDisabled(ctx context.Context, o UserOptions, who string, disabled bool, reason string) error {
	action, done := recording.ActionEnableUser, "enabled"
	if disabled {
		action, done = recording.ActionDisableUser, "disabled; running servers know within a minute"
	}
	return withUsers(ctx, o, func(c *catalog.Catalog) error {
		u, err := findUser(ctx, c, who)
		if err == nil {
			u, err = c.SetUserDisabled(ctx, u.ID, disabled, operator(action, u.ID.String(), reason))
		}
		if err == nil {
			_, err = fmt.Fprintf(o.Out, "%s (%s) is %s\n", u.ID, u.Subject, done)
		}
		return err
	})
}

// findUser finds the one user that who names.
func findUser(ctx context.Context, c *catalog.Catalog, who string) (recording.User, error) {
	users, err := c.FindUsers(ctx, who, recording.Page{Limit: 2})
	switch {
	case err != nil:
		return recording.User{}, err
	case len(users) == 0:
		return recording.User{}, fmt.Errorf("there is no user whose id, subject or e-mail address is %q", who)
	case len(users) > 1:
		return recording.User{}, errors.New("there are several users with this e-mail address: \"reprise user list --find\" shows them; name one by the id")
	}
	return users[0], nil
}

func printUsers(out io.Writer, users []recording.User) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSUBJECT\tE-MAIL\tLAST SEEN\tDISABLED")
	for _, u := range users {
		disabled := ""
		if u.DisabledAt != nil {
			disabled = u.DisabledAt.UTC().Format(time.DateOnly)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", u.ID, u.Subject, u.Email, u.LastSeenAt.UTC().Format(time.RFC3339), disabled)
	}
	return w.Flush()
}

func printUser(out io.Writer, u recording.User, counts recording.UserRecordings) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s:\t%s\n", name, value)
		}
	}
	line("id", u.ID.String())
	line("subject", u.Subject)
	line("e-mail", u.Email)
	line("name", u.Name)
	line("provider", u.Provider)
	line("first seen", u.CreatedAt.UTC().Format(time.RFC3339))
	line("last seen", u.LastSeenAt.UTC().Format(time.RFC3339))
	if u.DisabledAt != nil {
		line("disabled", u.DisabledAt.UTC().Format(time.RFC3339)+", "+u.DisabledReason)
	}
	var states []string
	for _, state := range slices.Sorted(maps.Keys(counts)) {
		states = append(states, fmt.Sprintf("%d %s", counts[state], state))
	}
	line("recordings", strings.Join(states, ", "))
	return w.Flush()
}
