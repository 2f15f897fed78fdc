package processing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"reprise/processing/analysis"
	"reprise/processing/ffmpeg"
	"reprise/processing/sandbox"
	"reprise/processing/speech"
	"reprise/recording"
)

const (
	rescueInterval = 15 * time.Second
	// softStop is how long running jobs may go on after Stop; what is not done
	// by then is interrupted and runs again elsewhere or later.
	softStop = 10 * time.Second
	// hardStop is how long interrupted jobs may take to notice when Stop's own
	// context is over.
	hardStop = 5 * time.Second
)

// Options of a Service. Pool, Catalog, Objects, Ticks, WorkDir, Fence and Log must
// be set; other zero fields take their default.
type Options struct {
	Pool    *pgxpool.Pool // of the database that holds River's tables
	Catalog Catalog
	Objects Objects
	Ticks   Ticks
	// WorkDir is the folder for temporary files. The Service makes a folder of its
	// own in it, so several processes may share it. It needs room for the
	// originals of as many recordings as there are workers, and their renditions.
	WorkDir string
	// Workers is how many jobs run at a time; default is the number of CPUs.
	Workers int
	// MinDuration and MaxDuration of a recording; defaults are ffmpeg.Limits'.
	MinDuration, MaxDuration time.Duration
	// JanitorInterval is the time between two rounds of the janitor; default 5
	// minutes. The storage is looked through once a day.
	JanitorInterval time.Duration
	// Engine transcribes ready recordings and Analyst finds out what they are about; nil
	// leaves that to other processes, or to nobody.
	Engine  speech.Engine
	Analyst analysis.Analyst
	// Pieces is how many pieces of recordings may be at the engine together; default 1.
	Pieces int
	// Fence is what the programs run behind.
	Fence *sandbox.Fence
	// FFmpeg and FFprobe are the programs; default as found in PATH.
	FFmpeg, FFprobe string
	Log             *slog.Logger
	// Metrics is where the metrics are registered; nil means nowhere.
	Metrics prometheus.Registerer
	// Refused is called with the limit that a stage waits for; nil means nobody.
	Refused func(recording.LimitName)
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Service runs jobs. It is started once and stopped once.
type Service struct {
	o        Options
	clientID string // of this process, in the queue's rows and in the worker lock
	client   *river.Client[pgx.Tx]
	tools    *ffmpeg.Tools
	pipeline *pipeline
	insights *insights
	given    jobWatch
	metrics  *metrics
	log      *slog.Logger

	mu      sync.Mutex
	state   serviceState
	dir     *workDir // from Start on
	release func()   // of the worker lock
	cancel  context.CancelFunc
	rescued chan struct{} // closed at the end of the rescue loop
}

type serviceState int

const (
	stateNew serviceState = iota
	stateRunning
	stateStopped
)

// New finds ffmpeg, registers the metrics and makes everything ready for
// Start. It takes nothing that would have to be given back.
func New(o Options) (*Service, error) {
	if o.Pool == nil || o.Catalog == nil || o.Objects == nil || o.Ticks == nil || o.WorkDir == "" || o.Fence == nil || o.Log == nil {
		return nil, errors.New("processing: an option that must be set is missing")
	}
	o.Workers = cmp.Or(o.Workers, runtime.GOMAXPROCS(0))
	o.Pieces = cmp.Or(o.Pieces, 1)
	o.JanitorInterval = cmp.Or(o.JanitorInterval, 5*time.Minute)
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	tools, err := ffmpeg.New(ffmpeg.Options{
		Fence: o.Fence, FFmpeg: o.FFmpeg, FFprobe: o.FFprobe,
		Limits: ffmpeg.Limits{MinDuration: o.MinDuration, MaxDuration: o.MaxDuration},
	})
	if err != nil {
		return nil, fmt.Errorf("processing: %w", err)
	}
	s := &Service{o: o, tools: tools, clientID: "reprise-" + uuid.NewString(), log: o.Log.With(slog.String("component", "processing"))}
	if s.metrics, err = newMetrics(o.Metrics); err != nil {
		return nil, fmt.Errorf("processing: register metrics: %w", err)
	}
	if s.metrics.refused = o.Refused; o.Refused == nil {
		s.metrics.refused = func(recording.LimitName) {}
	}
	s.pipeline = &pipeline{
		catalog: o.Catalog,
		stages:  newStages(o, tools, s.metrics),
		insight: firstInsight(o),
		metrics: s.metrics,
		log:     s.log,
	}
	s.insights = &insights{
		catalog: o.Catalog, objects: o.Objects, tools: tools, ticks: o.Ticks, metrics: s.metrics, log: s.log, now: o.Now,
		engine: o.Engine, analyst: o.Analyst, analyse: o.Analyst != nil, turns: make(chan struct{}, o.Pieces),
	}
	if s.client, err = s.newClient(tools.Limits()); err != nil {
		return nil, fmt.Errorf("processing: make the job client: %w", err)
	}
	return s, nil
}

// newStages returns the stages in their order.
func newStages(o Options, tools *ffmpeg.Tools, m *metrics) []stage {
	return []stage{
		&storeStage{objects: o.Objects},
		&verifyStage{objects: o.Objects},
		&probeStage{objects: o.Objects, tools: tools},
		&transcodeStage{objects: o.Objects, tools: tools, ticks: o.Ticks, metrics: m, now: o.Now},
	}
}

// firstInsight is what is asked for of a ready recording.
func firstInsight(o Options) recording.Stage {
	if o.Engine == nil {
		return ""
	}
	return recording.StageTranscribe
}

// queues are those that this process can do the jobs of. Insights have queues of their
// own, so that neither a slow engine nor a provider that is away delays a recording.
func (s *Service) queues() map[string]river.QueueConfig {
	queues := map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: s.o.Workers}}
	if s.o.Engine != nil {
		queues[string(recording.StageTranscribe)] = river.QueueConfig{MaxWorkers: s.o.Pieces}
	}
	if s.o.Analyst != nil {
		queues[string(recording.StageAnalyse)] = river.QueueConfig{MaxWorkers: s.o.Pieces}
	}
	return queues
}

func (s *Service) newClient(limits ffmpeg.Limits) (*river.Client[pgx.Tx], error) {
	// Stages have deadlines of their own, which depend on the recording; the
	// job's is behind all of them, and River's own rescue behind that.
	stageTimeout := 3*limits.MaxDuration + 6*time.Hour
	workers := river.NewWorkers()
	river.AddWorker(workers, &stageWorker{pipeline: s.pipeline, timeout: stageTimeout})
	river.AddWorker(workers, &insightWorker{insights: s.insights, timeout: stageTimeout})
	river.AddWorker(workers, &purgeWorker{catalog: s.o.Catalog, objects: s.o.Objects})
	janitor := NewJanitor(s.o.Catalog, s.o.Objects, s.o.Now, s.log)
	river.AddWorker(workers, &janitorWorker{janitor: janitor, metrics: s.metrics})
	river.AddWorker(workers, &sweepWorker{janitor: janitor, metrics: s.metrics})
	return river.NewClient(riverpgxv5.New(s.o.Pool), &river.Config{
		ID:         s.clientID,
		Logger:     s.o.Log.With(slog.String("component", "river")),
		Queues:     s.queues(),
		Workers:    workers,
		Middleware: []rivertype.Middleware{river.WorkerMiddlewareFunc(s.given.work)},
		PeriodicJobs: []*river.PeriodicJob{
			janitorEvery(s.o.JanitorInterval),
			river.NewPeriodicJob(river.PeriodicInterval(sweepAsk), sweepJob, &river.PeriodicJobOpts{ID: "sweep"}),
		},
		RescueStuckJobsAfter: stageTimeout + time.Hour,
		SoftStopTimeout:      softStop,
	})
}

// Check makes sure that ffmpeg and ffprobe run behind the fence.
func (s *Service) Check(ctx context.Context) error { return s.tools.Check(ctx) }

// Start makes the work folder, takes the worker lock and begins to run jobs.
// It returns once it does; ctx bounds the start only. Starting what runs does
// nothing.
func (s *Service) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.state {
	case stateRunning:
		return nil
	case stateStopped:
		return errors.New("processing: a stopped service can't be started again")
	}
	dir, err := openWorkDir(s.o.WorkDir)
	if err != nil {
		return fmt.Errorf("processing: make the work folder: %w", err)
	}
	s.dir, s.pipeline.dir, s.insights.dir = dir, dir, dir
	// First the lock, then the jobs: a worker that has jobs and no lock looks dead.
	if s.release, err = s.o.Catalog.HoldWorkerLock(ctx, s.clientID); err != nil {
		return errors.Join(fmt.Errorf("processing: take the worker lock: %w", err), dir.close())
	}
	if err := s.client.Start(context.WithoutCancel(ctx)); err != nil {
		s.release()
		return errors.Join(fmt.Errorf("processing: start the job client: %w", err), dir.close())
	}
	loop, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel, s.rescued = cancel, make(chan struct{})
	go s.rescueLoop(loop)
	s.state = stateRunning
	return nil
}

// Stop lets running jobs end for 10 seconds, interrupts the others, and gives
// everything back. It returns when all is over, or soon after ctx is. Stopping
// what does not run does nothing.
func (s *Service) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != stateRunning {
		s.state = stateStopped
		return nil
	}
	s.state = stateStopped
	s.cancel()
	<-s.rescued
	err := s.client.Stop(ctx)
	if err != nil {
		hard, cancel := context.WithTimeout(context.WithoutCancel(ctx), hardStop)
		defer cancel()
		err = s.client.StopAndCancel(hard)
	}
	s.release()
	return errors.Join(err, s.dir.close())
}

// RescueOnce takes up the jobs of dead workers, and those that this one has lost
// sight of, and returns how many there were.
func (s *Service) RescueOnce(ctx context.Context) (int, error) {
	dead, err := s.o.Catalog.RescueJobs(ctx)
	if dead > 0 {
		s.log.WarnContext(ctx, "jobs of dead workers rescued", slog.Int("jobs", dead))
	}
	lost, lostErr := s.rescueLost(ctx)
	if lost > 0 {
		s.log.WarnContext(ctx, "lost jobs rescued", slog.Int("jobs", lost))
	}
	s.metrics.rescued.Add(float64(dead + lost))
	return dead + lost, errors.Join(err, lostErr)
}

func (s *Service) rescueLost(ctx context.Context) (int, error) {
	ids, err := s.o.Catalog.RunningJobs(ctx, s.clientID)
	if err != nil {
		return 0, err
	}
	return s.o.Catalog.RescueLost(ctx, s.clientID, s.given.lost(ids))
}

func (s *Service) rescueLoop(ctx context.Context) {
	defer close(s.rescued)
	tick := time.NewTicker(rescueInterval)
	defer tick.Stop()
	for {
		if _, err := s.RescueOnce(ctx); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "jobs of dead workers and lost ones could not be rescued", slog.Any("error", err))
		}
		if err := s.dir.removeDead(); err != nil {
			s.log.ErrorContext(ctx, "files of dead workers could not be removed", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
