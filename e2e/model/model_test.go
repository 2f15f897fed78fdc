package model

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"reprise/catalog"
	"reprise/internal/s3test"
	"reprise/storage"
	"reprise/storage/disk"
	"reprise/storage/s3"
)

// kind is a storage to try.
type kind struct {
	name string
	most int64 // bytes of the largest upload
	// open makes a storage, and returns what opens it as another process would.
	open func(t *testing.T) func(*catalog.Catalog) storage.Store
}

func onDisk() kind {
	return kind{"disk", 400 << 10, func(t *testing.T) func(*catalog.Catalog) storage.Store {
		root := t.TempDir()
		return func(*catalog.Catalog) storage.Store {
			s, err := disk.New(root)
			must(err)
			t.Cleanup(func() { _ = s.Close() })
			return s
		}
	}}
}

// onS3 keeps few bytes in the ledger, so that runs have segments and parts too.
func onS3(server *s3test.Server) kind {
	return kind{server.Name, 12 << 20, func(t *testing.T) func(*catalog.Catalog) storage.Store {
		location, err := s3.ParseURL(server.URL(server.Bucket(t), "part-size=5MiB"))
		must(err)
		return func(c *catalog.Catalog) storage.Store {
			s, err := s3.New(t.Context(), s3.Options{
				Location: location, Ledger: c, MemoryBytes: 64 << 20, InlineBytes: 256 << 10, InlineRate: 1 << 20,
				Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
			})
			must(err)
			t.Cleanup(func() { _ = s.Close() })
			return s
		}
	}}
}

const stepsOfARun = 60

// TestModel makes random runs.
func TestModel(t *testing.T) {
	t.Parallel()
	kinds := []kind{onDisk()}
	for _, server := range s3test.Servers(t) {
		kinds = append(kinds, onS3(server))
	}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			for i, seed := range seeds(t, rounds(4, 200)) {
				t.Run(strconv.Itoa(i), func(t *testing.T) {
					t.Parallel()
					steps := stepsFromEnv(t)
					history, err := goThrough(t, k, seed, steps)
					if err == nil {
						return
					}
					t.Errorf("%v\nREPRISE_SEED=%d, %d steps:\n%s", err, seed, len(history), strings.Join(history, "\n"))
					shrink(t, k, seed, steps[:min(len(history), len(steps))])
				})
			}
		})
	}
}

// seeds returns n seeds, or the one that REPRISE_SEED says.
func seeds(t *testing.T, n int) []uint64 {
	if text := os.Getenv("REPRISE_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("REPRISE_SEED: %v", err)
		}
		return []uint64{seed}
	}
	list := make([]uint64, n)
	for i := range list {
		list[i] = rand.Uint64()
	}
	return list
}

// stepsFromEnv returns the steps of a run, or those that REPRISE_STEPS says.
func stepsFromEnv(t *testing.T) (steps []int) {
	text := os.Getenv("REPRISE_STEPS")
	if text == "" {
		for n := range stepsOfARun {
			steps = append(steps, n)
		}
		return steps
	}
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatalf("REPRISE_STEPS: %v", err)
		}
		steps = append(steps, n)
	}
	return steps
}

// shrink looks for fewer steps that fail too, and prints the fewest.
func shrink(t *testing.T, k kind, seed uint64, steps []int) {
	var history []string
	var failure error
	deadline := time.Now().Add(90 * time.Second)
	for size := len(steps) / 2; size > 0; size /= 2 {
		for at := 0; at < len(steps) && time.Now().Before(deadline); {
			fewer := slices.Delete(slices.Clone(steps), at, min(at+size, len(steps)))
			var h []string
			var err error
			t.Run(fmt.Sprintf("without_%d_from_%d", size, at), func(t *testing.T) { h, err = goThrough(t, k, seed, fewer) })
			if err == nil {
				at += size
				continue
			}
			steps, history, failure = fewer[:min(len(fewer), len(h))], h, err
		}
	}
	if failure != nil {
		t.Logf("shorter: %v\nREPRISE_SEED=%d REPRISE_STEPS=%s\n%s", failure, seed,
			strings.Trim(strings.ReplaceAll(fmt.Sprint(steps), " ", ","), "[]"), strings.Join(history, "\n"))
	}
}
