package catalog

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// What an owner says of entities: what they are called, and which are the same. It stays
// when recordings are analysed again, because mentions are of entities as found.

// Entity returns one of the owner's entities, also one that is merged into another.
func (c *Catalog) Entity(ctx context.Context, owner, id uuid.UUID) (recording.NamedEntity, error) {
	return readEntity(ctx, c.pool, owner, id)
}

// RenameEntity gives one of the owner's entities a name that analyses leave.
func (c *Catalog) RenameEntity(ctx context.Context, owner, id uuid.UUID, name string) (recording.NamedEntity, error) {
	var e recording.NamedEntity
	err := c.inTx(ctx, func(tx pgx.Tx) error {
		if err := lockGraph(ctx, tx, owner); err != nil {
			return err
		}
		changed, err := queryIDs(ctx, tx, `
			UPDATE entities SET name = $3, renamed = true WHERE owner_id = $1 AND id = $2 AND (name <> $3 OR NOT renamed) RETURNING id`, owner, id, name)
		if err != nil {
			return err
		}
		if e, err = readEntity(ctx, tx, owner, id); err != nil {
			return err
		}
		return touchGraph(ctx, tx, owner, c.now(), graphRefs(recording.GraphEntity, changed...)...)
	})
	return e, err
}

// MergeEntities says that two of the owner's entities of one kind are the same: other,
// and what is merged into it, goes into id, or into what that is merged into. It returns
// the one that stays. What is so already changes nothing.
func (c *Catalog) MergeEntities(ctx context.Context, owner, id, other uuid.UUID) (recording.NamedEntity, error) {
	var e recording.NamedEntity
	err := c.inTx(ctx, func(tx pgx.Tx) error {
		into, from, err := lockPair(ctx, tx, owner, id, other)
		if err != nil {
			return err
		}
		switch {
		case from.ID == into.Root:
			return recording.Errorf(recording.CodeConflict, "An entity can't be merged into itself, or into one that is merged into it.")
		case from.Kind != into.Kind:
			return recording.Errorf(recording.CodeConflict, "Only entities of one kind can be merged; these are a %s and a %s.", into.Kind, from.Kind)
		}
		if from.Root != into.Root {
			moved, err := queryIDs(ctx, tx, `UPDATE entities SET merged_into = $2 WHERE id = $1 OR merged_into = $1 RETURNING id`, from.ID, into.Root)
			if err != nil {
				return err
			}
			if err := c.touchMerged(ctx, tx, owner, moved, from.ID, into.Root); err != nil {
				return err
			}
		}
		e, err = readEntity(ctx, tx, owner, into.Root)
		return err
	})
	return e, err
}

// SplitEntity takes other out of id, into which it was merged, and returns id. What was
// merged into other before stays with id. What is so already changes nothing.
func (c *Catalog) SplitEntity(ctx context.Context, owner, id, other uuid.UUID) (recording.NamedEntity, error) {
	var e recording.NamedEntity
	err := c.inTx(ctx, func(tx pgx.Tx) error {
		into, from, err := lockPair(ctx, tx, owner, id, other)
		if err != nil {
			return err
		}
		merged := from.Root != from.ID
		if merged && from.Root != into.ID {
			return recording.Errorf(recording.CodeConflict, "That entity is merged into another one than this.")
		}
		if merged {
			if _, err := tx.Exec(ctx, `UPDATE entities SET merged_into = NULL WHERE id = $1`, from.ID); err != nil {
				return err
			}
		}
		if e, err = readEntity(ctx, tx, owner, into.ID); err != nil || !merged {
			return err
		}
		// Only being merged may have kept them.
		if _, err := deleteOrphans(ctx, tx, []uuid.UUID{from.ID, into.ID}); err != nil {
			return err
		}
		return c.touchMerged(ctx, tx, owner, []uuid.UUID{from.ID}, from.ID, into.ID)
	})
	return e, err
}

// paired is one of two entities that are to be merged or split.
type paired struct {
	ID, Root uuid.UUID // Root is what it is merged into, or itself
	Kind     recording.EntityKind
}

// lockPair locks the owner's graph and returns two entities of it.
func lockPair(ctx context.Context, tx pgx.Tx, owner, id, other uuid.UUID) (into, from paired, err error) {
	if err := lockGraph(ctx, tx, owner); err != nil {
		return into, from, err
	}
	rows, err := tx.Query(ctx, `SELECT id, coalesce(merged_into, id), kind FROM entities WHERE owner_id = $1 AND id IN ($2, $3)`, owner, id, other)
	if err != nil {
		return into, from, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[paired])
	for _, e := range list {
		if e.ID == id {
			into = e
		}
		if e.ID == other {
			from = e
		}
	}
	if err == nil && (into.ID == uuid.Nil || from.ID == uuid.Nil) {
		err = recording.ErrNotFound
	}
	return into, from, err
}

// touchMerged touches entities, and the recordings that mention one of moved. They are not
// locked: their rows stay as they are.
func (c *Catalog) touchMerged(ctx context.Context, tx pgx.Tx, owner uuid.UUID, moved []uuid.UUID, entities ...uuid.UUID) error {
	recordings, err := queryIDs(ctx, tx, `SELECT DISTINCT recording_id FROM mentions WHERE entity_id = ANY($1)`, moved)
	if err != nil {
		return err
	}
	refs := append(graphRefs(recording.GraphEntity, entities...), graphRefs(recording.GraphRecording, recordings...)...)
	return touchGraph(ctx, tx, owner, c.now(), refs...)
}

func readEntity(ctx context.Context, q querier, owner, id uuid.UUID) (recording.NamedEntity, error) {
	rows, err := q.Query(ctx, `
		SELECT id, kind, name, coalesce((
			SELECT json_agg(json_build_object('ID', m.id, 'Name', m.name) ORDER BY m.name, m.id) FROM entities m WHERE m.merged_into = e.id), '[]')
		FROM entities e WHERE owner_id = $1 AND id = $2`, owner, id)
	if err != nil {
		return recording.NamedEntity{}, err
	}
	return oneRow(rows, pgx.RowToStructByPos[recording.NamedEntity])
}
