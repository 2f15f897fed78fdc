-- +goose Up

-- What each user has and has used, for the limits.
CREATE TABLE usage (
    owner_id       uuid PRIMARY KEY REFERENCES users,
    open_uploads   bigint NOT NULL DEFAULT 0,
    stored_bytes   bigint NOT NULL DEFAULT 0,
    -- The counts of one day, in UTC; those of an older day are over.
    day            date NOT NULL,
    day_bytes      bigint NOT NULL DEFAULT 0,
    day_decoded_ms bigint NOT NULL DEFAULT 0
);

-- What an upload counts. A declared length counts from the creation on, so that
-- uploads at the same time can't go beyond a limit together, and a commit changes
-- nothing; without one, what has been committed counts. A final upload has the bytes
-- of its partial ones, which count already.

CREATE FUNCTION usage_open(u uploads) RETURNS integer IMMUTABLE LANGUAGE sql AS
$$ SELECT (u.state = 'receiving' OR u.partial AND u.state = 'received' AND u.final_id IS NULL)::integer $$;

CREATE FUNCTION usage_stored(u uploads) RETURNS bigint IMMUTABLE LANGUAGE sql AS
$$ SELECT CASE WHEN u.partial_ids IS NULL AND u.state IN ('receiving', 'received', 'stored', 'joined')
               THEN coalesce(u.length, u.committed_offset) ELSE 0 END $$;

-- Of the day: what was sent stays counted when the upload has ended.
CREATE FUNCTION usage_sent(u uploads) RETURNS bigint IMMUTABLE LANGUAGE sql AS
$$ SELECT CASE WHEN u.partial_ids IS NOT NULL THEN 0
               WHEN u.state IN ('receiving', 'received', 'stored', 'joined') THEN coalesce(u.length, u.committed_offset)
               ELSE u.committed_offset END $$;

-- Counting is a trigger's, so that no transaction can forget it, not even one of the
-- version before or of somebody's hand. It locks the owner's row of usage behind that
-- of the upload.
-- +goose StatementBegin
CREATE FUNCTION count_usage() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    today date := (NEW.updated_at AT TIME ZONE 'UTC')::date;
    open_by integer := usage_open(NEW);
    stored_by bigint := usage_stored(NEW);
    sent_by bigint := usage_sent(NEW);
BEGIN
    IF TG_OP = 'UPDATE' THEN
        open_by := open_by - usage_open(OLD);
        stored_by := stored_by - usage_stored(OLD);
        sent_by := sent_by - usage_sent(OLD);
        IF sent_by < 0 AND (NEW.created_at AT TIME ZONE 'UTC')::date <> today THEN
            sent_by := 0; -- it counted on a day that is over
        END IF;
    END IF;
    IF open_by <> 0 OR stored_by <> 0 OR sent_by <> 0 THEN
        -- Clocks differ: a day that is over doesn't come back.
        INSERT INTO usage AS was (owner_id, open_uploads, stored_bytes, day, day_bytes)
        VALUES (NEW.owner_id, open_by, stored_by, today, sent_by)
        ON CONFLICT (owner_id) DO UPDATE SET
            open_uploads = was.open_uploads + open_by,
            stored_bytes = was.stored_bytes + stored_by,
            day = greatest(was.day, today),
            day_bytes = CASE WHEN today > was.day THEN sent_by ELSE was.day_bytes + sent_by END,
            day_decoded_ms = CASE WHEN today > was.day THEN 0 ELSE was.day_decoded_ms END;
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd

-- Refuses a transaction in which an owner's use has grown beyond a limit, 0 being
-- none. What has grown is locked by that transaction, so nobody else can use the
-- same room.
-- +goose StatementBegin
CREATE FUNCTION check_usage(who uuid, today date, max_open bigint, max_stored bigint, max_day_bytes bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    u usage;
BEGIN
    SELECT * INTO u FROM usage WHERE owner_id = who;
    IF max_open > 0 AND u.open_uploads > max_open THEN
        RAISE EXCEPTION USING ERRCODE = 'RP001', MESSAGE = 'open_uploads', DETAIL = u.open_uploads;
    ELSIF max_stored > 0 AND u.stored_bytes > max_stored THEN
        RAISE EXCEPTION USING ERRCODE = 'RP001', MESSAGE = 'stored_bytes', DETAIL = u.stored_bytes;
    ELSIF max_day_bytes > 0 AND u.day_bytes > max_day_bytes AND u.day >= today THEN
        RAISE EXCEPTION USING ERRCODE = 'RP001', MESSAGE = 'daily_bytes', DETAIL = u.day_bytes;
    END IF;
END $$;
-- +goose StatementEnd

-- The condition of the second keeps it away from the commits of uploads whose length
-- is known.
CREATE TRIGGER count_usage_insert AFTER INSERT ON uploads FOR EACH ROW EXECUTE FUNCTION count_usage();
CREATE TRIGGER count_usage_update AFTER UPDATE ON uploads FOR EACH ROW
    WHEN (OLD.state <> NEW.state OR OLD.length IS DISTINCT FROM NEW.length OR OLD.final_id IS DISTINCT FROM NEW.final_id
        OR NEW.length IS NULL AND OLD.committed_offset <> NEW.committed_offset)
    EXECUTE FUNCTION count_usage();

-- The triggers' locks keep writers out until this is counted.
INSERT INTO usage (owner_id, open_uploads, stored_bytes, day)
    SELECT owner_id, sum(usage_open(u)), sum(usage_stored(u)), (now() AT TIME ZONE 'UTC')::date FROM uploads u GROUP BY owner_id;

-- +goose Down
DROP TRIGGER count_usage_insert ON uploads;
DROP TRIGGER count_usage_update ON uploads;
DROP FUNCTION check_usage, count_usage, usage_open, usage_stored, usage_sent;
DROP TABLE usage;
