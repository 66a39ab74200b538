package main

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// urlFile names the server that has the data folder open.
const urlFile = "server.url"

// announcePause is how long a server waits before it writes its address again
// that could not be written, as on a full disk.
const announcePause = time.Second

// announceAgain writes the address once that can be done, unless ctx ends before.
func announceAgain(ctx context.Context, c config, url string) {
	again := time.NewTicker(announcePause)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
		if announce(c, url) == nil {
			return
		}
	}
}

// announce writes the address whole or not at all: commands go by the file. On
// PostgreSQL there may be many servers, and none is named.
func announce(c config, url string) error {
	if c.onPostgres() {
		return nil
	}
	path := filepath.Join(c.folder(), urlFile)
	err := os.WriteFile(path+".new", []byte(url+"\n"), 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		_ = os.Remove(path + ".new")
	}
	return err
}

func retract(c config) {
	if !c.onPostgres() {
		_ = os.Remove(filepath.Join(c.folder(), urlFile))
	}
}
