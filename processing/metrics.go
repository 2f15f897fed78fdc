package processing

import (
	"github.com/prometheus/client_golang/prometheus"

	"reprise/recording"
)

// How a run of a stage ended, as the metrics tell it.
const (
	outcomeDone     = "done"
	outcomeRejected = "rejected" // the file's fault
	outcomeFailed   = "failed"   // the server's, for good
	outcomeError    = "error"    // the server's, to be tried again
	outcomeStopped  = "stopped"  // the server was told to stop
	outcomeObsolete = "obsolete" // the recording was deleted meanwhile, or the stage done elsewhere
)

type metrics struct {
	stageSeconds   *prometheus.HistogramVec // by stage and outcome; its count is that of the attempts
	retries        *prometheus.CounterVec   // by stage: runs that were not the first
	realTimeFactor prometheus.Histogram
	rejected       *prometheus.CounterVec // by reason
	failed         *prometheus.CounterVec // by reason
	expired        prometheus.Counter
	rescued        prometheus.Counter
	requeued       prometheus.Counter
	swept          *prometheus.CounterVec // by kind
	refused        func(recording.LimitName)

	reused      *prometheus.CounterVec // by stage
	transcribed *prometheus.CounterVec // by provider
	tokens      *prometheus.CounterVec // by provider
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		stageSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "reprise_stage_duration_seconds", Help: "How long runs of processing stages took, by how they ended.",
			Buckets: prometheus.ExponentialBuckets(0.01, 3, 12), // 10 ms to half an hour
		}, []string{"stage", "outcome"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reprise_stage_retries_total", Help: "Runs of processing stages that were not the first one.",
		}, []string{"stage"}),
		realTimeFactor: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "reprise_transcode_realtime_factor", Help: "Seconds of audio transcoded in a second.",
			Buckets: []float64{0.5, 1, 2, 5, 10, 20, 50, 100, 200},
		}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reprise_recordings_rejected_total", Help: "Recordings rejected by processing, by reason.",
		}, []string{"reason"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reprise_recordings_failed_total", Help: "Recordings that failed for a fault of the server's, by reason.",
		}, []string{"reason"}),
		expired: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "reprise_uploads_expired_total", Help: "Unfinished uploads that nothing came for.",
		}),
		rescued: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "reprise_jobs_rescued_total", Help: "Jobs of dead workers, and jobs this process was given and never got, that were taken up again.",
		}),
		requeued: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "reprise_jobs_requeued_total", Help: "Jobs that were missing from the queue and enqueued again.",
		}),
		swept: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reprise_janitor_deleted_total", Help: "What the janitor found to belong to nobody and deleted, by kind.",
		}, []string{"kind"}),
		reused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reprise_provider_results_reused_total", Help: "Answers of providers that were kept and not asked for again, by stage.",
		}, []string{"stage"}),
		transcribed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reprise_transcribed_audio_seconds_total", Help: "Seconds of audio that were transcribed, by provider.",
		}, []string{"provider"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reprise_provider_tokens_total", Help: "Tokens that analyses have used, by provider.",
		}, []string{"provider"}),
	}
	for _, c := range []prometheus.Collector{m.reused, m.transcribed, m.tokens, m.stageSeconds, m.retries, m.realTimeFactor, m.rejected, m.failed, m.expired, m.rescued, m.requeued, m.swept} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// tidied counts what the janitor did.
func (m *metrics) tidied(res JanitorResult) {
	m.expired.Add(float64(res.ExpiredUploads))
	m.requeued.Add(float64(res.Requeued))
	for kind, n := range map[recording.StoredKind]int{
		recording.StoredObject: res.Objects, recording.StoredParts: res.Parts,
		recording.StoredMultipart: res.Multiparts, recording.StoredTemp: res.Temps,
	} {
		m.swept.WithLabelValues(string(kind)).Add(float64(n))
	}
}
