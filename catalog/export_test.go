package catalog

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// IndexRecording is what each transaction calls that changes what can be found.
func IndexRecording(ctx context.Context, tx pgx.Tx, id uuid.UUID) error {
	return indexRecording(ctx, tx, id)
}
