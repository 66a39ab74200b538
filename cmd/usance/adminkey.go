package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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

// rotateAdminKey replaces the key that is kept in the data folder, in a transaction of
// record's, which writes that it was.
func (s *server) rotateAdminKey(overlap time.Duration, record func(before, after any, replace func() error) error) (string, error) {
	if s.cfg.AdminKey != "" {
		return "", usance.NewError(usance.CodeConflict, "the key is USANCE_ADMIN_KEY: start the server with another; keys made with the role admin go on meanwhile")
	}
	s.rotating.Lock()
	defer s.rotating.Unlock()
	old, err := readAdminKey(s.cfg)
	if err != nil {
		return "", usance.WrapError(err, usance.CodeUnavailable, "the key in the data folder cannot be read; it goes on")
	}
	key, _ := access.NewSecret()
	replaced := false
	err = record(s.stateOf(old), s.stateOf(key), func() error {
		if replaced {
			return nil
		}
		if err := writeAdminKey(s.cfg, key); err != nil {
			return usance.WrapError(err, usance.CodeUnavailable, "the new key cannot be written to the data folder; the old one goes on")
		}
		replaced = true
		return nil
	})
	if err != nil {
		switch { // it was not recorded
		case replaced && old == "":
			err = errors.Join(err, os.Remove(filepath.Join(s.cfg.folder(), adminKeyFile)))
		case replaced:
			err = errors.Join(err, writeAdminKey(s.cfg, old))
		}
		return "", err
	}
	s.access.ReplaceAdminKey(key, overlap)
	return key, nil
}

// adminKeyState is what audit rows tell of the admin key that is in no table.
type adminKeyState struct {
	Role        usance.Role `json:"role"`
	Fingerprint string      `json:"fingerprint"` // another one of another key
}

// stateOf tells keys apart without telling anything of them: the store's own secret
// goes into the fingerprint, so that nobody can try keys against it.
func (s *server) stateOf(key string) adminKeyState {
	h := hmac.New(sha256.New, s.secret)
	h.Write([]byte("admin key\x00" + key))
	return adminKeyState{usance.RoleAdmin, hex.EncodeToString(h.Sum(nil)[:8])}
}

// start is the actor of what a start of the server brings about.
const start = "start"

// noteAdminKey records that the server starts with another admin key than the last
// one did.
func (s *server) noteAdminKey(ctx context.Context) error {
	return s.store.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		if err := tx.LockAPIKeys(ctx); err != nil { // of nodes that start together one writes it
			return err
		}
		rows, _, err := tx.Audit(ctx, usance.AuditFilter{Subject: access.BootstrapKeyID}, usance.Page{Limit: 100})
		if err != nil {
			return err
		}
		e := usance.NewAuditEntry(s.now(), start, "key.create", access.BootstrapKeyID)
		var before any
		for _, r := range rows { // newest first
			var was adminKeyState
			if json.Unmarshal(r.After, &was) != nil || was.Fingerprint == "" { // of a version that did not tell
				continue
			}
			if was == s.stateOf(s.adminKey) {
				return nil
			}
			before, e.Action = was, "key.rotate"
			break
		}
		e.Reason = "the key is kept in " + adminKeyFile
		if s.cfg.AdminKey != "" {
			e.Reason = "the key is USANCE_ADMIN_KEY"
		}
		if err := e.SetStates(before, s.stateOf(s.adminKey)); err != nil {
			return err
		}
		return tx.AddAudit(ctx, []usance.AuditEntry{e})
	})
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
