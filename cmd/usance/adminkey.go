package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/access"
)

// adminKeyFile keeps the admin key that the first start makes, in the data folder.
const adminKeyFile = "admin.key"

// adminKey gives the admin's secret: USANCE_ADMIN_KEY, or the one kept in the
// data folder, which is made (and made true) when there is none.
func adminKey(c config) (key string, isNew bool, err error) {
	if c.AdminKey != "" {
		return string(c.AdminKey), false, nil
	}
	if err := dropUnfinishedKeys(c); err != nil {
		return "", false, err
	}
	key, err = readAdminKey(c)
	if err != nil || key != "" {
		return key, false, err
	}
	key, _ = access.NewSecret()
	return key, true, writeAdminKey(c, key)
}

// rotateAdminKey replaces the key that is kept in the data folder.
func (s *server) rotateAdminKey(overlap time.Duration) (string, error) {
	if s.cfg.AdminKey != "" {
		return "", usance.NewError(usance.CodeConflict, "the key is USANCE_ADMIN_KEY: start the server with another; keys made with the role admin go on meanwhile")
	}
	key, _ := access.NewSecret()
	if err := writeAdminKey(s.cfg, key); err != nil {
		return "", usance.WrapError(err, usance.CodeUnavailable, "the new key cannot be written to the data folder; the old one goes on")
	}
	s.access.ReplaceAdminKey(key, overlap)
	return key, nil
}

// writeAdminKey keeps the key in the data folder.
func writeAdminKey(c config, key string) error {
	if err := os.MkdirAll(c.folder(), 0o700); err != nil {
		return err
	}
	// Written whole or not at all: a crash in between must not leave a key that
	// nobody has seen.
	tmp, err := os.CreateTemp(c.folder(), adminKeyFile+unfinished+"*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(key + "\n")
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), filepath.Join(c.folder(), adminKeyFile))
}

// unfinished follows the name of a key that is not in force yet.
const unfinished = ".unfinished-"

// dropUnfinishedKeys removes the keys that a process wrote which was killed before
// it could put them in force. Only one has the data folder as it starts.
func dropUnfinishedKeys(c config) error {
	files, err := os.ReadDir(c.folder())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), adminKeyFile+unfinished) && f.Type().IsRegular() {
			err = errors.Join(err, os.Remove(filepath.Join(c.folder(), f.Name())))
		}
	}
	return err
}

// hasAdminKey tells whether a key is kept in the data folder.
func hasAdminKey(c config) bool {
	key, err := readAdminKey(c)
	return err == nil && key != ""
}

// readAdminKey gives the key kept in the data folder; empty when there is none.
func readAdminKey(c config) (string, error) {
	path := filepath.Join(c.folder(), adminKeyFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s can be read by others (mode %04o); run: chmod 600 %[1]s", path, info.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	key := strings.TrimSpace(string(b))
	if len(key) < 16 {
		return "", fmt.Errorf("%s holds no key; remove it, and the next start makes one", path)
	}
	return key, nil
}
