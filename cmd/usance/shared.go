package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/redis"
)

// openRedis opens what nodes share beside the database; nil when they share
// nothing. Its keys bear a name that the database's nodes alone know, and what is
// kept there their signature.
func openRedis(ctx context.Context, c config, log *slog.Logger, store usance.Store) (*redis.Redis, error) {
	if c.RedisURL == "" {
		return nil, nil
	}
	secret, err := store.Secret(ctx, "shared-space")
	if err != nil {
		return nil, err
	}
	space := sha256.Sum256(secret)
	return redis.Open(ctx, string(c.RedisURL), redis.Options{
		Space: hex.EncodeToString(space[:8]), Secret: secret, TTL: time.Duration(c.CacheTTLSeconds) * time.Second, Logger: log,
	})
}

// checkRedis tells what is wrong with REDIS_URL.
func (c *config) checkRedis() error {
	if c.RedisURL == "" {
		return nil
	}
	_, err := redis.Where(string(c.RedisURL))
	return err
}

// redis checks that the Redis that is set does what it is used for.
func (c *checklist) redis(ctx context.Context, cfg config) {
	if cfg.RedisURL == "" {
		c.ok("cache", "in process, %d s", cfg.CacheTTLSeconds)
		return
	}
	where, err := redis.Where(string(cfg.RedisURL))
	if !c.judge("cache", err, "in process and shared, %d s", cfg.CacheTTLSeconds) {
		return
	}
	r, err := redis.Open(ctx, string(cfg.RedisURL), redis.Options{Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		defer r.Close()
		err = r.Check(ctx)
	}
	c.judge("redis", err, "%s answers, keeps and counts", where)
}
