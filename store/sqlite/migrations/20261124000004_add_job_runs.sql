-- +goose Up

-- How the runs of each job ended in the 24 hours until its last.
CREATE TABLE IF NOT EXISTS job_runs (
    name     TEXT NOT NULL,
    ended_at INTEGER NOT NULL,
    failed   INTEGER NOT NULL,
    PRIMARY KEY (name, ended_at)
) STRICT, WITHOUT ROWID;

-- +goose Down

DROP TABLE job_runs;
