package upload

import (
	"context"
	"log/slog"

	"reprise/recording"
)

// sniff looks at the first bytes of the file. If they are not audio the upload
// is refused here, before anything of it is kept.
func (a *appender) sniff(ctx context.Context, p []byte, last bool) error {
	const enough = 64
	head := append(append([]byte(nil), a.head...), p[:min(len(p), enough)]...)
	audio, decided := a.u.s.o.Hooks.FirstBytes(head, last)
	if !decided {
		a.head = head
		return nil
	}
	a.sniffing, a.head = false, nil
	if audio {
		return nil
	}
	if a.check != nil {
		a.notAudio = true
		return nil
	}
	return a.refuse(ctx)
}

// refuse ends an upload that is not audio.
func (a *appender) refuse(ctx context.Context) error {
	const detail = "The first bytes are not those of an audio format that is accepted."
	if err := a.u.s.o.Ledger.RefuseUpload(ctx, a.u.row.ID, a.u.row.Epoch, recording.ReasonNotAudio, detail); err != nil {
		return err
	}
	a.u.row.State = recording.UploadRefused
	a.u.s.metrics.ended("refused")
	a.u.s.log.InfoContext(ctx, "upload refused", slog.Any("upload", a.u.row.ID), slog.Any("recording", a.u.row.RecordingID))
	return recording.Errorf(recording.CodeNotAudio, detail)
}
