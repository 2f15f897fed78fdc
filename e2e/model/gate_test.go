package model

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"reprise/catalog"
	"reprise/recording"
	"reprise/storage"
)

// trouble is what happens to a replica at one of its calls to the database or the
// storage: before the call, or after it has taken place.
type trouble struct {
	what  string // "" for none, or one of those below
	call  int    // at the how manieth call, from 0 on
	after bool
}

const (
	fail   = "fail"   // the call, or its answer, is lost
	freeze = "freeze" // the replica stands still until it is thawed
	die    = "die"    // it never does anything again
	cut    = "cut"    // every connection to the database is cut, at some time
)

func (t trouble) String() string {
	if t.what == "" {
		return ""
	}
	when := "before"
	if t.after {
		when = "after"
	}
	return fmt.Sprintf(", %s %s call %d", t.what, when, t.call)
}

var errDead = errors.New("this replica is dead")

// gate is what every call of a replica to the outside goes through.
type gate struct {
	mu     sync.Mutex
	plan   trouble
	taken  bool          // the plan is coming true right now
	hit    chan struct{} // closed when the plan has come true
	hitAt  string        // the call at which it did
	frozen chan struct{} // closed by thaw; nil while the replica runs
	dead   bool
}

func newGate() *gate { return &gate{hit: make(chan struct{})} }

// expect makes t happen.
func (g *gate) expect(t trouble) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.plan, g.hit, g.hitAt = t, make(chan struct{}), ""
}

// came returns what is closed when that has happened.
func (g *gate) came() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.hit
}

// calm drops what was to happen, and returns at which call it did, "" if it didn't.
func (g *gate) calm() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.taken {
		g.mu.Unlock()
		time.Sleep(time.Millisecond)
		g.mu.Lock()
	}
	g.plan = trouble{}
	return g.hitAt
}

func (g *gate) thaw() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.frozen != nil {
		close(g.frozen)
		g.frozen = nil
	}
}

func (g *gate) isFrozen() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.frozen != nil
}

func (g *gate) kill() {
	g.mu.Lock()
	g.dead = true
	g.mu.Unlock()
	g.thaw()
}

func (g *gate) isDead() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dead
}

// do makes a call. Broken is what a failure looks like.
func (g *gate) do(call string, broken error, f func() error) error {
	before, after := g.due(), trouble{}
	if before.after {
		before, after = trouble{}, before
	}
	if err := g.suffer(before, call, broken); err != nil {
		return err
	}
	err := f()
	if bad := g.suffer(after, call, broken); bad != nil {
		return bad
	}
	return err
}

// due counts a call and returns what is to happen at it.
func (g *gate) due() (t trouble) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.plan.what == "" || g.plan.what == cut {
		return t
	}
	if g.plan.call--; g.plan.call < 0 {
		t, g.plan, g.taken = g.plan, trouble{}, true
	}
	return t
}

// suffer makes t happen, and then goes on if the replica can.
func (g *gate) suffer(t trouble, call string, broken error) error {
	if t.what != "" {
		g.mu.Lock()
		switch t.what {
		case freeze:
			g.frozen = make(chan struct{})
		case die:
			g.dead = true
		}
		g.hitAt, g.taken = call, false
		close(g.hit)
		g.mu.Unlock()
	}
	if err := g.pass(); err != nil || t.what != fail {
		return err
	}
	return broken
}

// pass waits until the replica runs; a dead one does no more.
func (g *gate) pass() error {
	for {
		g.mu.Lock()
		frozen, dead := g.frozen, g.dead
		g.mu.Unlock()
		switch {
		case dead:
			return errDead
		case frozen == nil:
			return nil
		}
		<-frozen
	}
}

// ledger is a replica's way to the catalog.
type ledger struct {
	*catalog.Catalog
	g *gate
}

func (l ledger) do(call string, f func() error) error {
	return l.g.do(call, recording.Errorf(recording.CodeUnavailable, "The database is away."), f)
}

func (l ledger) CreateUpload(ctx context.Context, n recording.NewUpload) (u recording.Upload, created bool, err error) {
	err = l.do("CreateUpload", func() (err error) { u, created, err = l.Catalog.CreateUpload(ctx, n); return err })
	return u, created, err
}

func (l ledger) FindUpload(ctx context.Context, owner, id uuid.UUID) (u recording.Upload, err error) {
	err = l.do("FindUpload", func() (err error) { u, err = l.Catalog.FindUpload(ctx, owner, id); return err })
	return u, err
}

func (l ledger) FindUploadByClientID(ctx context.Context, owner uuid.UUID, clientID string) (u recording.Upload, err error) {
	err = l.do("FindUploadByClientID", func() (err error) { u, err = l.Catalog.FindUploadByClientID(ctx, owner, clientID); return err })
	return u, err
}

func (l ledger) AcquireUpload(ctx context.Context, id uuid.UUID, claim recording.Claim) (u recording.Upload, acquired bool, err error) {
	err = l.do("AcquireUpload", func() (err error) { u, acquired, err = l.Catalog.AcquireUpload(ctx, id, claim); return err })
	return u, acquired, err
}

func (l ledger) CommitChunk(ctx context.Context, ch recording.Chunk) error {
	return l.do("CommitChunk", func() error { return l.Catalog.CommitChunk(ctx, ch) })
}

func (l ledger) DeclareLength(ctx context.Context, id uuid.UUID, epoch, length int64, receipt *recording.Receipt) error {
	return l.do("DeclareLength", func() error { return l.Catalog.DeclareLength(ctx, id, epoch, length, receipt) })
}

func (l ledger) RefuseUpload(ctx context.Context, id uuid.UUID, epoch int64, reason recording.Reason, detail string) error {
	return l.do("RefuseUpload", func() error { return l.Catalog.RefuseUpload(ctx, id, epoch, reason, detail) })
}

func (l ledger) FailUpload(ctx context.Context, id uuid.UUID, epoch int64, reason recording.Reason, detail string) error {
	return l.do("FailUpload", func() error { return l.Catalog.FailUpload(ctx, id, epoch, reason, detail) })
}

func (l ledger) TerminateUpload(ctx context.Context, owner, id uuid.UUID) error {
	return l.do("TerminateUpload", func() error { return l.Catalog.TerminateUpload(ctx, owner, id) })
}

func (l ledger) CompleteStage(ctx context.Context, id uuid.UUID, stage recording.Stage, res recording.StageResult) error {
	return l.do("CompleteStage", func() error { return l.Catalog.CompleteStage(ctx, id, stage, res) })
}

// store is a replica's way to the storage.
type store struct {
	storage.Store
	g *gate
}

var errStorage = errors.New("the storage is broken")

func (s store) NewWriter(ctx context.Context, u recording.Upload) (w recording.PartWriter, err error) {
	err = s.g.do("NewWriter", errStorage, func() (err error) { w, err = s.Store.NewWriter(ctx, u); return err })
	if err != nil {
		if w != nil && !s.g.isDead() {
			_ = w.Close()
		}
		return nil, err
	}
	return writer{w, s.g}, nil
}

func (s store) Assemble(ctx context.Context, u recording.Upload) error {
	return s.g.do("Assemble", errStorage, func() error { return s.Store.Assemble(ctx, u) })
}

func (s store) DiscardParts(ctx context.Context, u recording.Upload) error {
	return s.g.do("DiscardParts", errStorage, func() error { return s.Store.DiscardParts(ctx, u) })
}

// writer is a replica's way to the bytes of an upload.
type writer struct {
	recording.PartWriter
	g *gate
}

func (w writer) Write(p []byte) (n int, err error) {
	err = w.g.do("Write", errStorage, func() (err error) { n, err = w.PartWriter.Write(p); return err })
	return n, err
}

func (w writer) Flush(ctx context.Context) (f recording.Flushed, err error) {
	err = w.g.do("Flush", storage.ErrFull, func() (err error) { f, err = w.PartWriter.Flush(ctx); return err })
	return f, err
}

func (w writer) FlushSome(ctx context.Context) (f recording.Flushed, err error) {
	err = w.g.do("FlushSome", storage.ErrFull, func() (err error) { f, err = w.PartWriter.FlushSome(ctx); return err })
	return f, err
}

// Close does nothing on a dead replica: what a dead process has open is closed,
// but not cleared up.
func (w writer) Close() error {
	if w.g.pass() != nil {
		return nil
	}
	return w.PartWriter.Close()
}
