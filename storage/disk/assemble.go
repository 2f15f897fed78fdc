package disk

import (
	"context"
	"errors"
	"io"
	"os"
	"path"

	"github.com/google/uuid"

	"reprise/internal/failpoint"
	"reprise/recording"
	"reprise/storage"
)

// copyBytes is how much Assemble copies between two looks at its context.
const copyBytes = 64 << 20

// Assemble implements storage.Store. A single part becomes the object by a
// rename; several are copied one behind the other.
func (s *Store) Assemble(ctx context.Context, u recording.Upload) error {
	key, parts := u.ObjectKey, u.Parts
	if err := storage.CheckKey(key); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var size int64
	for _, part := range parts {
		size += part.Size
	}
	if done, err := s.assembled(key, size); done || err != nil {
		return err
	}
	moved := false
	var err error
	if len(parts) == 1 {
		moved, err = s.move(u.ID, key, parts[0])
	}
	if !moved && err == nil {
		err = s.concat(ctx, u.ID, key, parts)
	}
	if err == nil {
		return nil
	}
	// Another Assemble of the same upload may have come first: when two workers
	// hold the job, for example.
	if done, _ := s.assembled(key, size); done {
		return nil
	}
	return failed("assemble an object", err)
}

// assembled reports whether the object is there, durably.
func (s *Store) assembled(key string, size int64) (bool, error) {
	info, err := s.root.Stat(objectPath(key))
	if absent(err) {
		return false, nil
	}
	if err != nil {
		return false, failed("assemble an object", err)
	}
	if !info.Mode().IsRegular() || info.Size() != size {
		return false, nil
	}
	// Its bytes were durable before it got its name; the crash that brought us
	// here may have come before the name was.
	if err := s.syncAbove(objectPath(key)); err != nil {
		return false, failed("assemble an object", err)
	}
	return true, nil
}

// move makes the object of a part's file itself. It leaves the file alone and
// reports false while a writer has it open, which would write into the object.
func (s *Store) move(uploadID uuid.UUID, key string, part recording.Part) (bool, error) {
	f, err := s.openPart(uploadID, part, os.O_RDWR)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if !lock(f) {
		return false, nil
	}
	if err := f.Truncate(part.Size); err != nil {
		return false, err
	}
	if err := s.sync(f, true); err != nil {
		return false, err
	}
	failpoint.Hit("part.sealed")
	name := partPath(uploadID, part.Ref)
	if err := s.install(name, key); err != nil {
		return false, err
	}
	return true, s.syncDir(path.Dir(name))
}

func (s *Store) concat(ctx context.Context, uploadID uuid.UUID, key string, parts []recording.Part) error {
	temp, _, err := s.writeTemp(func(to *os.File) error {
		var offset int64
		for _, part := range parts {
			if err := s.copyPart(ctx, to, offset, uploadID, part); err != nil {
				return err
			}
			offset += part.Size
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.install(temp, key); err != nil {
		_ = s.root.Remove(temp) // gone already unless the rename failed
		return err
	}
	return nil
}

// copyPart appends the committed bytes of a part to to, which has offset bytes.
func (s *Store) copyPart(ctx context.Context, to *os.File, offset int64, uploadID uuid.UUID, part recording.Part) error {
	from, err := s.openPart(uploadID, part, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer from.Close()
	for left := part.Size; left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		// Between two files this is copy_file_range on Linux.
		n, err := io.CopyN(to, from, min(left, copyBytes))
		if err != nil {
			return err
		}
		startWriteBack(to, offset, n)
		offset, left = offset+n, left-n
	}
	return nil
}

// CheckParts implements storage.Store.
func (s *Store) CheckParts(ctx context.Context, u recording.Upload) error {
	for _, part := range u.Parts {
		if err := ctx.Err(); err != nil {
			return err
		}
		f, err := s.openPart(u.ID, part, os.O_RDONLY)
		if err != nil {
			return failed("check parts", err)
		}
		f.Close() // nothing was written
	}
	return nil
}

// DiscardParts implements storage.Store.
func (s *Store) DiscardParts(ctx context.Context, u recording.Upload) error {
	return s.removeParts(ctx, u.ID)
}

func (s *Store) removeParts(ctx context.Context, uploadID uuid.UUID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := s.root.RemoveAll(partPath(uploadID, ""))
	failpoint.Hit("parts.removed")
	if err = errors.Join(err, s.syncDir(partsDir)); err != nil {
		return failed("discard parts", err)
	}
	return nil
}
