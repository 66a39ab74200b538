-- +goose Up

-- Batches that are counted and not folded, each a range of seq, by the group of
-- their licences, from 1 to 1024: a fold of a group takes rows that stand side by
-- side. Group 0 holds those of several groups.
DROP VIEW IF EXISTS license_usage_daily_aggregates;
ALTER TABLE pending_batches RENAME TO pending_batches_before;
CREATE TABLE pending_batches (
    license_group INTEGER NOT NULL,
    first_seq     INTEGER NOT NULL,
    last_seq      INTEGER NOT NULL,
    at            INTEGER NOT NULL,
    batch_id      BLOB NOT NULL,
    PRIMARY KEY (license_group, first_seq)
) STRICT, WITHOUT ROWID;
INSERT INTO pending_batches SELECT 0, first_seq, last_seq, at, batch_id FROM pending_batches_before;
DROP TABLE pending_batches_before;

-- As it was: SQLite ties a view to the tables that it names.
CREATE VIEW license_usage_daily_aggregates AS
SELECT
    date(day * 86400, 'unixepoch') AS date,
    license_id,
    sum(CASE usage_type WHEN 'view' THEN quantity ELSE 0 END) AS total_views,
    sum(CASE usage_type WHEN 'download' THEN quantity ELSE 0 END) AS total_downloads,
    sum(CASE usage_type WHEN 'impression' THEN quantity ELSE 0 END) AS total_impressions,
    sum(CASE usage_type WHEN 'click' THEN quantity ELSE 0 END) AS total_clicks,
    sum(CASE usage_type WHEN 'play' THEN quantity ELSE 0 END) AS total_plays,
    sum(CASE usage_type WHEN 'stream' THEN quantity ELSE 0 END) AS total_streams,
    sum(quantity) AS total_quantity,
    sum(revenue_cents) AS total_revenue_cents,
    coalesce((SELECT s.unique_sessions FROM license_usage_sessions s
              WHERE s.license_id = daily.license_id AND s.date = daily.day), 0) AS unique_sessions
FROM (
    SELECT license_id, date AS day, usage_type, quantity, revenue_cents FROM license_usage_rollups
    UNION ALL
    SELECT e.license_id, e.local_date, e.usage_type, e.quantity, e.revenue_cents
    FROM pending_batches p CROSS JOIN license_usage_events e NOT INDEXED
    WHERE e.seq BETWEEN p.first_seq AND p.last_seq
) AS daily
GROUP BY license_id, day;

-- +goose Down

-- Nothing of it need be there any more: a step that was resolved as rolled back is
-- taken back before those that came after it.
DROP VIEW IF EXISTS license_usage_daily_aggregates;
CREATE TABLE IF NOT EXISTS pending_batches (
    license_group INTEGER NOT NULL,
    first_seq     INTEGER NOT NULL,
    last_seq      INTEGER NOT NULL,
    at            INTEGER NOT NULL,
    batch_id      BLOB NOT NULL,
    PRIMARY KEY (license_group, first_seq)
) STRICT, WITHOUT ROWID;
ALTER TABLE pending_batches RENAME TO pending_batches_after;
CREATE TABLE pending_batches (
    batch_id  BLOB PRIMARY KEY,
    at        INTEGER NOT NULL,
    count     INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO pending_batches SELECT batch_id, at, last_seq - first_seq + 1, first_seq, last_seq FROM pending_batches_after;
DROP TABLE pending_batches_after;
CREATE INDEX pending_batches_seq ON pending_batches (first_seq, last_seq);

CREATE VIEW license_usage_daily_aggregates AS
SELECT
    date(day * 86400, 'unixepoch') AS date,
    license_id,
    sum(CASE usage_type WHEN 'view' THEN quantity ELSE 0 END) AS total_views,
    sum(CASE usage_type WHEN 'download' THEN quantity ELSE 0 END) AS total_downloads,
    sum(CASE usage_type WHEN 'impression' THEN quantity ELSE 0 END) AS total_impressions,
    sum(CASE usage_type WHEN 'click' THEN quantity ELSE 0 END) AS total_clicks,
    sum(CASE usage_type WHEN 'play' THEN quantity ELSE 0 END) AS total_plays,
    sum(CASE usage_type WHEN 'stream' THEN quantity ELSE 0 END) AS total_streams,
    sum(quantity) AS total_quantity,
    sum(revenue_cents) AS total_revenue_cents,
    coalesce((SELECT s.unique_sessions FROM license_usage_sessions s
              WHERE s.license_id = daily.license_id AND s.date = daily.day), 0) AS unique_sessions
FROM (
    SELECT license_id, date AS day, usage_type, quantity, revenue_cents FROM license_usage_rollups
    UNION ALL
    SELECT e.license_id, e.local_date, e.usage_type, e.quantity, e.revenue_cents
    FROM pending_batches p CROSS JOIN license_usage_events e NOT INDEXED
    WHERE e.seq BETWEEN p.first_seq AND p.last_seq
) AS daily
GROUP BY license_id, day;
