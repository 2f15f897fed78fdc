package app

import (
	"net"
	"net/http"
	"strings"
	"time"

	"reprise/api"
	"reprise/config"
	"reprise/limits"
	"reprise/recording"
)

// bodyPatience is how long a body of JSON may take to come, and an upload's to begin.
const bodyPatience = 30 * time.Second

// userLimits are the settings as the parts of the program know them.
func userLimits(q config.Quotas) recording.UserLimits {
	return recording.UserLimits{
		RequestsPerSecond: float64(q.UserRate),
		RequestBurst:      q.UserBurst,
		UploadsAtOnce:     q.UserUploadsAtOnce,
		OpenUploads:       q.UserOpenUploads,
		BytesPerDay:       int64(q.UserBytesPerDay),
		StoredBytes:       int64(q.UserStoredBytes),
		DecodedPerDay:     q.UserDecodedPerDay,
		TranscribedPerDay: q.UserTranscribedPerDay,
		TokensPerDay:      q.UserTokensPerDay,
		Sockets:           q.UserSockets,
	}
}

// limit puts before a handler what every request passes: the address's limit, the
// answers to browsers, the token, the user's limit.
func (s *server) limit(next http.Handler) http.Handler {
	cfg := s.o.Config
	o := limits.RequestOptions{
		Address: limits.Rate{PerSecond: float64(cfg.AddressRate), Burst: cfg.AddressBurst},
		User:    limits.Rate{PerSecond: float64(cfg.UserRate), Burst: cfg.UserBurst},
		Proxies: cfg.ProxyNetworks(),
		Refuse:  s.problems.Write,
		Now:     time.Now,
	}
	// Refusals come after CORS has had its say: a page can't read an answer without.
	next = crossOrigin(cfg.AllowedOrigins, api.RefuseMethodOverride(s.problems, s.auth.Middleware(limits.ByUser(next, o))))
	o.Refuse = s.refuseAnybody
	return limits.Pace(limits.ByAddress(next, o), limits.PaceOptions{
		Long:  func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path+"/", uploadPath) },
		Body:  bodyPatience,
		Write: limits.WritePatience,
	})
}

// refuseAnybody refuses a request before it has come to what answers browsers: a page
// of another origin couldn't read why.
func (s *server) refuseAnybody(w http.ResponseWriter, r *http.Request, err error) {
	if r.Method == http.MethodOptions { // which crossOrigin would answer instead
		s.problems.Write(w, r, err)
		return
	}
	crossOrigin(s.o.Config.AllowedOrigins, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.problems.Write(w, r, err)
	})).ServeHTTP(w, r)
}

func (s *server) limitConnections() net.Listener {
	cfg := s.o.Config
	return limits.Listen(s.listeners.public, limits.ConnectionOptions{
		Max: cfg.MaxConnections, PerAddress: cfg.AddressConnections, Proxies: cfg.ProxyNetworks(),
		Refused: s.refusals.Count,
	})
}
