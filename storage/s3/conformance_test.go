package s3

import (
	"context"
	"sync/atomic"
	"testing"

	"reprise/internal/s3test"
	"reprise/recording"
	"reprise/storage"
	"reprise/storage/storagetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, inline := range map[string]int64{"inline": 1 << 20, "segments": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onServers(t, func(t *testing.T, server *s3test.Server) {
				storagetest.Run(t, func(t *testing.T, ledger *storagetest.Ledger) storage.Store {
					return newStore(t, server.URL(server.Bucket(t)), func(o *Options) {
						o.Ledger, o.InlineBytes = ledger, inline
					})
				})
			})
		})
	}
}

// replicas are stores of several processes: each call goes to the next of them.
type replicas struct {
	storage.Store
	all  []storage.Store
	next atomic.Int64
}

func (r *replicas) one() storage.Store { return r.all[r.next.Add(1)%int64(len(r.all))] }

func (r *replicas) NewWriter(ctx context.Context, u recording.Upload) (recording.PartWriter, error) {
	return r.one().NewWriter(ctx, u)
}

func (r *replicas) Assemble(ctx context.Context, u recording.Upload) error {
	return r.one().Assemble(ctx, u)
}

func (r *replicas) DiscardParts(ctx context.Context, u recording.Upload) error {
	return r.one().DiscardParts(ctx, u)
}

// What one process has cached, the others have not. The first of them sends little
// inline, so that segments and inline parts mix.
func TestConformanceReplicas(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		storagetest.Run(t, func(t *testing.T, ledger *storagetest.Ledger) storage.Store {
			url := server.URL(server.Bucket(t), "part-size=5MiB")
			r := &replicas{}
			for _, inline := range []int64{2000, 1 << 20, 0} {
				r.all = append(r.all, newStore(t, url, func(o *Options) { o.Ledger, o.InlineBytes = ledger, inline }))
			}
			r.Store = r.all[0]
			return r
		})
	})
}
