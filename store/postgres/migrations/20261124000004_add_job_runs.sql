-- +goose Up

-- How the runs of each job ended in the 24 hours until its last.
CREATE TABLE IF NOT EXISTS job_runs (
    name     text COLLATE "C" NOT NULL,
    ended_at timestamptz NOT NULL,
    failed   boolean NOT NULL,
    PRIMARY KEY (name, ended_at)
);

-- +goose Down

DROP TABLE job_runs;
