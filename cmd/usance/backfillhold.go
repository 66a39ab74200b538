package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// holdCheckpoint keeps a second backfill from a checkpoint, and with it from its
// file of rejects: each would write over what the other one kept. release lets it
// go. The kernel drops the lock of a process that is killed; the file that it
// leaves is taken over by the next.
func holdCheckpoint(path string) (release func() error, err error) {
	name := path + ".lock"
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("the checkpoint cannot be written; name another place with --checkpoint: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("another backfill is at work with the checkpoint %s; wait for its end, or name other places with --checkpoint and --rejects", path)
			}
			return nil, fmt.Errorf("the checkpoint cannot be locked; name another place with --checkpoint: %w", err)
		}
		// One that ended just now took the file with it.
		mine, err := f.Stat()
		there, gone := os.Stat(name)
		if err == nil && gone == nil && os.SameFile(mine, there) {
			return func() error { return errors.Join(os.Remove(name), f.Close()) }, nil
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
}
