package recording

import "time"

// Rejection is the error that says: the file is at fault, not the server. No
// retry helps; the recording becomes StateRejected.
type Rejection struct {
	Reason  Reason
	Detail  string        // one English sentence for people
	Decoded time.Duration // audio that was decoded to find it out
}

func (r *Rejection) Error() string { return string(r.Reason) + ": " + r.Detail }
