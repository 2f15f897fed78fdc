package recording

// Rejection is the error that says: the file is at fault, not the server. No
// retry helps; the recording becomes StateRejected.
type Rejection struct {
	Reason Reason
	Detail string // one English sentence for people
}

func (r *Rejection) Error() string { return string(r.Reason) + ": " + r.Detail }
