// Package hooks decides at the points of an upload's life: may it begin
// (Admit), are its first bytes audio (FirstBytes), and what follows from its
// last byte (Received).
//
// It is pure: it does no I/O and holds no state. The upload package asks, the
// catalog writes what comes back in the transaction it belongs to.
package hooks

import (
	"encoding/hex"
	"time"

	"reprise/recording"
)

// Hooks holds the limits that decisions depend on.
type Hooks struct {
	maxSizeBytes int64
}

// New returns hooks that admit uploads of at most maxSizeBytes bytes.
func New(maxSizeBytes int64) *Hooks {
	return &Hooks{maxSizeBytes: maxSizeBytes}
}

// Received says what completing an upload writes: its receipt, the first job of
// its recording and the event. SizeBytes and sum are those of all its bytes.
func (*Hooks) Received(u recording.Upload, sizeBytes int64, sum [32]byte, now time.Time) recording.Receipt {
	r := receipt(u, sizeBytes, now, map[string]any{"sizeBytes": sizeBytes, "sha256": hex.EncodeToString(sum[:])})
	r.SHA256 = sum[:]
	return r
}

// Joined is Received for a final upload, whose digest nobody knows yet.
func (*Hooks) Joined(u recording.Upload, sizeBytes int64, now time.Time) recording.Receipt {
	return receipt(u, sizeBytes, now, map[string]any{"sizeBytes": sizeBytes})
}

func receipt(u recording.Upload, sizeBytes int64, now time.Time, data map[string]any) recording.Receipt {
	return recording.Receipt{
		SizeBytes: sizeBytes,
		Job:       recording.StageJob{RecordingID: u.RecordingID, Stage: recording.StageStore},
		Event:     recording.NewEvent(u.OwnerID, u.RecordingID, recording.EventUploadReceived, now, data),
	}
}
