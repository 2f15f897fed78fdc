package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"reprise/catalog"
	"reprise/config"
	"reprise/fsck"
	"reprise/storage/disk"
	"reprise/storage/s3"
)

// FsckOptions say what to compare and how. The Config has passed CheckFsck.
type FsckOptions struct {
	Config        config.Config
	Verify        bool
	Repair        bool
	DeleteUnknown bool
	OlderThan     time.Duration
	JSON          bool      // report as one JSON document, else as a table
	Out           io.Writer // where the report goes
	Log           *slog.Logger
}

// Fsck compares the database with the storage, and returns how many problems it has
// found, repaired or not.
func Fsck(ctx context.Context, o FsckOptions) (problems int, err error) {
	pool, err := openPool(ctx, string(o.Config.DatabaseURL), nil)
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	if err := catalog.CheckMigrated(ctx, pool, o.Log); err != nil {
		return 0, err
	}
	ledger, err := catalog.New(catalog.Options{Pool: pool, DeletedRetention: o.Config.DeletedRetention})
	if err != nil {
		return 0, err
	}
	options := fsck.Options{
		Ledger: ledger, Verify: o.Verify, Repair: o.Repair, DeleteUnknown: o.DeleteUnknown, OlderThan: o.OlderThan, Now: time.Now,
		Report: fsck.NewTable(o.Out, time.Now),
	}
	if o.JSON {
		options.Report = fsck.NewJSON(o.Out)
	}
	if folder := o.Config.StorageFolder(); folder != "" {
		return fsckDisk(ctx, folder, options)
	}
	return fsckS3(ctx, ledger, o, options)
}

func fsckDisk(ctx context.Context, folder string, o fsck.Options) (int, error) {
	// A misspelt folder must not be made, and then be found to lack everything.
	if _, err := os.Stat(filepath.Join(folder, "objects")); errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("REPRISE_STORAGE_URL: there is no storage in %s", folder)
	}
	store, err := disk.New(folder)
	if err != nil {
		return 0, err
	}
	defer store.Close()
	o.Storage = store
	sum, err := fsck.Run(ctx, o)
	found, _ := sum.Problems()
	return found, err
}

func fsckS3(ctx context.Context, ledger *catalog.Catalog, o FsckOptions, options fsck.Options) (int, error) {
	cfg := o.Config.Storage
	location, err := s3.ParseURL(cfg.StorageURL)
	if err != nil {
		return 0, storageProblems(err)
	}
	store, err := s3.New(ctx, s3.Options{
		Location: location, Ledger: ledger,
		MemoryBytes: int64(cfg.UploadMemory), InlineBytes: int64(cfg.InlineBytes), InlineRate: int64(cfg.InlineRate),
		Log: o.Log, Metrics: prometheus.NewRegistry(), Now: time.Now,
	})
	if err != nil {
		return 0, fmt.Errorf("open the storage: %w", err)
	}
	defer store.Close()
	options.Storage = store
	sum, err := fsck.Run(ctx, options)
	if advice := store.Advice(ctx, err); err != nil && advice != "" {
		err = fmt.Errorf("REPRISE_STORAGE_URL: %s (%w)", advice, err)
	}
	found, _ := sum.Problems()
	return found, err
}
