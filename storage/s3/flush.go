package s3

import (
	"context"
	"slices"

	"reprise/recording"
)

// mergeParts is the number of a tail's parts from which small ones are merged, so
// that whoever sends a byte at a time makes few.
const mergeParts = 32

// Flush implements recording.PartWriter.
func (w *writer) Flush(ctx context.Context) (recording.Flushed, error) {
	defer w.use()()
	return w.flushAll(ctx)
}

func (w *writer) flushAll(ctx context.Context) (recording.Flushed, error) {
	if err := ctx.Err(); err != nil {
		return recording.Flushed{}, err
	}
	if err := w.err(); err != nil {
		return recording.Flushed{}, err
	}
	stop := context.AfterFunc(ctx, func() { w.cancel(context.Cause(ctx)) })
	defer stop()
	w.paced = w.written()
	if w.fresh.size > 0 {
		w.endPart()
	}
	for _, j := range w.jobs {
		if !j.succeeded() {
			return recording.Flushed{}, w.err() // the first, which has ended the others
		}
	}
	return w.collect(len(w.jobs)), nil
}

// FlushSome implements recording.PartWriter. Parts that are still under way are left
// for the next time, and so is what a fast upload will soon have filled a part with.
// An upload is fast when it sent an eighth of a part since the last call.
func (w *writer) FlushSome(ctx context.Context) (recording.Flushed, error) {
	defer w.use()()
	if err := ctx.Err(); err != nil {
		return recording.Flushed{}, err
	}
	if err := w.err(); err != nil {
		return recording.Flushed{}, err
	}
	fast := w.written()-w.paced >= w.partSize/8
	w.paced = w.written()
	if !fast && !w.busy() {
		return w.flushAll(ctx)
	}
	n := 0 // jobs up to the last part of those that are done: a commit can't end at a spilled segment
	for i, j := range w.jobs {
		if !j.finished() || j.err != nil {
			break
		}
		if j.kind == jobPart {
			n = i + 1
		}
	}
	return w.collect(n), nil
}

// collect reports the first n jobs, which are done. If all their bytes were committed
// before it leaves them for the next time: nobody commits where nothing moves.
func (w *writer) collect(n int) recording.Flushed {
	flushed := recording.Flushed{Offset: w.flushed}
	if w.tried > w.reserved {
		flushed.PartNumber = int(w.tried)
	}
	var newBytes int64
	for _, j := range w.jobs[:n] {
		newBytes += j.newBytes
	}
	if newBytes == 0 {
		return flushed
	}
	for _, j := range w.jobs[:n] {
		w.report(j, &flushed)
	}
	w.flushed += newBytes
	flushed.Offset = w.flushed
	w.jobs = w.jobs[n:]
	w.limit = w.tried + recording.PartWindow
	return flushed
}

// report adds what a job has made. A tail part that it has folded is dropped from
// the ledger, or never comes there if it is as new.
func (w *writer) report(j *job, flushed *recording.Flushed) {
	for _, folded := range j.fold.parts {
		known := len(flushed.Parts)
		flushed.Parts = slices.DeleteFunc(flushed.Parts, func(p recording.Part) bool { return p.Number == folded.Number })
		if len(flushed.Parts) == known {
			flushed.Dropped = append(flushed.Dropped, folded.Number)
		}
	}
	flushed.Parts = append(flushed.Parts, j.part)
	switch j.kind {
	case jobPart:
		m, _ := w.begin() // has succeeded
		flushed.MultipartID = m.id
	case jobSegment:
		flushed.Segmented = true
	case jobObject:
		flushed.ObjectKey = w.epochKey()
	}
}

// endPart makes the new bytes durable in the cheapest way that there is: with a real
// part if they complete one, inline if they are few, with the last request of the
// upload if they are its last, and as a segment.
func (w *writer) endPart() {
	if w.full() && !w.single() && w.sealFull() {
		return
	}
	last := w.length != nil && w.written() == *w.length
	merged := w.mergeable()
	if last {
		merged = nil
	}
	n := w.fresh.size + sizeOf(merged)
	kind := jobSegment
	if w.fresh.size <= w.s.o.InlineBytes && w.s.inlineRate.AllowN(w.s.o.Now(), int(n)) {
		kind = jobInline
	}
	if last && kind == jobSegment && w.sealLast() {
		return
	}
	fold, _ := w.s.fold(w.id, merged) // without memory, nothing is merged
	w.startTail(kind, fold)
}

// sealLast makes the end of the upload its last part, or an object of the whole of
// it, if there is memory and a number for it.
func (w *writer) sealLast() bool {
	if w.base > 0 {
		return w.sealFull()
	}
	fold, ok := w.s.fold(w.id, w.tail)
	if ok {
		w.seal(&job{kind: jobObject, fold: fold})
	}
	return ok
}

// mergeable returns the tail's last parts that the new bytes should be merged with:
// when there are many, those that are not larger than all behind them. So every byte
// is merged a few times only.
func (w *writer) mergeable() []recording.Part {
	if len(w.tail) < mergeParts {
		return nil
	}
	limit := w.partSize
	if w.fresh.size <= w.s.o.InlineBytes {
		limit = w.s.o.InlineBytes
	}
	n, i := w.fresh.size, len(w.tail)
	for i > 0 && w.tail[i-1].Size <= n && n+w.tail[i-1].Size <= limit {
		i--
		n += w.tail[i].Size
	}
	return w.tail[i:]
}
