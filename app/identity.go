package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"reprise/api"
	"reprise/auth"
	"reprise/limits"
)

// openIdentity makes what finds out who a request is of, and says in the log what
// that does not look at.
func (s *server) openIdentity(ctx context.Context) error {
	verifier, err := s.verifier()
	if err != nil {
		return err
	}
	directory, err := s.directory(ctx)
	if err != nil {
		return fmt.Errorf("the service account for Firebase can't be used: %w", err)
	}
	cfg := s.o.Config
	s.refusals = limits.NewRefusals(s.registry)
	s.problems = api.NewProblems(s.o.Log)
	s.problems.OnRefusal(s.refusals.Count)
	s.auth = auth.New(auth.Options{
		Verifier: verifier, Users: s.catalog, Directory: directory, Stale: cfg.FirebaseStale,
		WriteProblem: s.problems.Write, TicketPath: uploadPath, Metrics: s.registry,
	})
	if s.o.API {
		s.tellIdentity(ctx, directory != nil)
	}
	return nil
}

// tellIdentity tells the operator whom the server believes.
func (s *server) tellIdentity(ctx context.Context, accounts bool) {
	cfg := s.o.Config
	switch {
	case cfg.Auth == "dev":
		s.o.Log.WarnContext(ctx, "users are development tokens: whoever has the key can be anybody")
	case cfg.FirebaseEmulator != "":
		s.o.Log.WarnContext(ctx, "users are the Firebase emulator's, whose tokens are not signed: anybody can be anybody",
			slog.String("emulator", cfg.FirebaseEmulator))
	case !accounts:
		s.o.Log.WarnContext(ctx, "no service account for Firebase: not checked are users who are disabled or deleted there, "+
			"and revoked sign-ins; a token counts until it expires, and \"reprise user disable\" shuts somebody out",
			slog.String("project", cfg.FirebaseProject))
	default:
		s.o.Log.InfoContext(ctx, "users are Firebase's; accounts are looked up", slog.String("project", cfg.FirebaseProject))
	}
}

func (s *server) verifier() (auth.Verifier, error) {
	cfg := s.o.Config
	if cfg.Auth == "dev" {
		return auth.NewDevVerifier(cfg.DevKeyBytes(), time.Now)
	}
	return auth.NewFirebaseVerifier(auth.FirebaseOptions{
		Project: cfg.FirebaseProject, Emulator: cfg.FirebaseEmulator != "", Transport: s.o.Transport, Now: time.Now,
	}), nil
}

// directory returns what accounts are looked up in; nil if they are not.
func (s *server) directory(ctx context.Context) (auth.Directory, error) {
	cfg := s.o.Config
	switch {
	case cfg.Auth != "firebase" || !s.o.API: // a worker asks for nobody
		return nil, nil
	case cfg.FirebaseEmulator != "":
		return auth.NewEmulatorAccounts(cfg.FirebaseProject, cfg.FirebaseEmulator), nil
	case cfg.FirebaseCredentialsFile != "" || cfg.FirebaseDefaultCredentials:
		// A nil *FirebaseAccounts would be a Directory that is not nil.
		accounts, err := auth.NewFirebaseAccounts(ctx, cfg.FirebaseProject, cfg.FirebaseCredentialsFile, s.o.Transport)
		if err != nil {
			return nil, err
		}
		return accounts, nil
	}
	return nil, nil
}
