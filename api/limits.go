package api

import (
	"time"

	"reprise/recording"
)

type usageView struct {
	OpenUploads  int64     `json:"openUploads" doc:"Uploads that are not finished, and partial ones that are not joined." example:"2"`
	StoredBytes  int64     `json:"storedBytes" doc:"Of originals that are not deleted; unfinished uploads count with their whole length if that is known." example:"734003200"`
	DayBytes     int64     `json:"dayBytes" doc:"Sent today, or to be sent by uploads that began today." example:"52428800"`
	DayDecodedMs int64     `json:"dayDecodedMs" doc:"Audio processed today." example:"3600000"`
	DayEndsAt    time.Time `json:"dayEndsAt" doc:"When the counts of the day begin anew: midnight, UTC."`
}

type limitsView struct {
	RequestsPerSecond float64 `json:"requestsPerSecond,omitempty" doc:"Of requests, in the long run." example:"100"`
	RequestBurst      int     `json:"requestBurst,omitempty" doc:"Requests at once, after a pause." example:"1000"`
	UploadsAtOnce     int     `json:"uploadsAtOnce,omitempty" doc:"Uploads that bytes are sent to at the same time." example:"50"`
	OpenUploads       int     `json:"openUploads,omitempty" doc:"Of usage.openUploads." example:"1000"`
	BytesPerDay       int64   `json:"bytesPerDay,omitempty" doc:"Of usage.dayBytes." example:"21474836480"`
	StoredBytes       int64   `json:"storedBytes,omitempty" doc:"Of usage.storedBytes." example:"214748364800"`
	DecodedPerDayMs   int64   `json:"decodedPerDayMs,omitempty" doc:"Of usage.dayDecodedMs; processing waits for the next day then." example:"172800000"`
	Sockets           int     `json:"sockets,omitempty" doc:"WebSockets at the same time." example:"20"`
}

func viewUsage(u recording.Usage) usageView {
	return usageView{u.OpenUploads, u.StoredBytes, u.DayBytes, u.DayDecoded.Milliseconds(), u.DayEnds.UTC()}
}

func viewLimits(l recording.UserLimits) limitsView {
	return limitsView{
		l.RequestsPerSecond, l.RequestBurst, l.UploadsAtOnce, l.OpenUploads,
		l.BytesPerDay, l.StoredBytes, l.DecodedPerDay.Milliseconds(), l.Sockets,
	}
}

func exampleUsage(at time.Time) recording.Usage {
	return recording.Usage{
		OpenUploads: 2, StoredBytes: 700 << 20, DayBytes: 50 << 20, DayDecoded: time.Hour,
		DayEnds: recording.Day(at).AddDate(0, 0, 1),
	}
}

func exampleLimits() recording.UserLimits {
	return recording.UserLimits{
		RequestsPerSecond: 100, RequestBurst: 1000, UploadsAtOnce: 50, OpenUploads: 1000,
		BytesPerDay: 20 << 30, StoredBytes: 200 << 30, DecodedPerDay: 48 * time.Hour, Sockets: 20,
	}
}
