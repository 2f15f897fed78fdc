package recording

import "time"

// LimitName is a stable name for a limit, in answers and in metrics.
type LimitName string

// The limits. 0 is none for each of them.
const (
	LimitAddressRequests    LimitName = "address_requests"    // requests per second of a client's address
	LimitAddressConnections LimitName = "address_connections" // connections of an address
	LimitConnections        LimitName = "connections"         // connections in all
	LimitUserRequests       LimitName = "user_requests"       // requests per second of a user
	LimitUploadsAtOnce      LimitName = "uploads_at_once"     // uploads of a user that bytes come for at the same time
	LimitOpenUploads        LimitName = "open_uploads"        // unfinished uploads of a user
	LimitDailyBytes         LimitName = "daily_bytes"         // bytes that a user sends in a day
	LimitStoredBytes        LimitName = "stored_bytes"        // bytes of a user's originals
	LimitDailyDecoded       LimitName = "daily_decoded"       // time of a user's audio that is decoded in a day
	LimitDailyTranscribed   LimitName = "daily_transcribed"   // time of a user's audio that is transcribed in a day
	LimitDailyTokens        LimitName = "daily_tokens"        // tokens that a user's analyses take in a day
	LimitUserSockets        LimitName = "user_sockets"        // event sockets of a user
	LimitSockets            LimitName = "sockets"             // event sockets in all
)

// Exceeded says which limit stands in a request's way.
type Exceeded struct {
	Name       LimitName
	Limit      int64         // in the limit's own unit: requests, uploads, bytes
	Used       int64         // of it, without what was asked for
	RetryAfter time.Duration // when asking again may help; 0 if time alone doesn't
	ResetAt    time.Time     // when a day's limit begins anew; zero for other limits
}

// UserLimits are what one user may have and use. 0 is no limit.
type UserLimits struct {
	RequestsPerSecond float64
	RequestBurst      int // requests at once, after a pause
	UploadsAtOnce     int
	OpenUploads       int
	BytesPerDay       int64
	StoredBytes       int64
	DecodedPerDay     time.Duration
	TranscribedPerDay time.Duration
	TokensPerDay      int64
	Sockets           int
}

// Usage is what one user has and has used.
type Usage struct {
	// OpenUploads are those that expire if nothing more is done with them.
	OpenUploads int64
	// StoredBytes are those of the user's originals, until they are deleted. An
	// unfinished upload counts with its length, or with its bytes so far while that is
	// not known.
	StoredBytes int64
	// DayBytes are those of the uploads that began on this day, counted likewise.
	DayBytes int64
	// DayDecoded is how much audio of the user was decoded on this day.
	DayDecoded time.Duration
	// DayEnds is when the day does, which is one in UTC.
	DayEnds time.Time
}

// Day returns the day in UTC that now is in, as its beginning.
func Day(now time.Time) time.Time {
	y, m, d := now.UTC().Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}
