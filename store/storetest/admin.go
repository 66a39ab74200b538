package storetest

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/usance/usance"
)

func testStatus(t *testing.T, s usance.Store) {
	ctx := t.Context()
	status := func() (st usance.StoreStatus) {
		view(t, s, func(v usance.View) (err error) {
			st, err = v.Status(ctx)
			return err
		})
		return st
	}
	last := func() (at time.Time) {
		view(t, s, func(v usance.View) (err error) {
			at, err = v.LastReceived(ctx)
			return err
		})
		return at
	}
	equal(t, "Status of an empty store", status(), usance.StoreStatus{})
	equal(t, "LastReceived of an empty store", last(), time.Time{})
	putLicenses(t, s, "l1", "l2", "l3", "l4")
	update(t, s, func(tx usance.Tx) error {
		off, draft, deleted := license("l2", "brand", "asset"), license("l3", "brand", "asset"), license("l4", "brand", "asset")
		off.UsageTrackingEnabled, draft.Status, deleted.DeletedAt = false, usance.LicenseDraft, ptr(now)
		for _, l := range []usance.License{off, draft, deleted} {
			if err := tx.PutLicense(ctx, l); err != nil {
				return err
			}
		}
		o1, o2, o3 := overage(1, "l1", "t1", 1), overage(2, "l1", "t1", 2), overage(3, "l1", "t1", 3)
		o3.Status = usance.OverageWaived
		return tx.PutOverages(ctx, []usance.Overage{o1, o2, o3})
	})
	yesterday := event("l1", 1, today)
	yesterday.ReceivedAt = now.Add(-13 * time.Hour) // before UTC midnight
	addEvents(t, s, 99, yesterday)
	equal(t, "LastReceived", last(), yesterday.ReceivedAt)
	addEvents(t, s, 100, event("l1", 2, today))
	update(t, s, func(tx usance.Tx) error {
		return tx.AddEvents(ctx, []usance.Batch{{ID: id(101), At: now.Add(-time.Minute), Events: []usance.Event{event("l1", 3, today-5), event("l1", 4, today)}}})
	})
	want := usance.StoreStatus{PendingBatches: 3, PendingEvents: 4, OldestPending: now.Add(-time.Minute), TrackedActive: 1, EventsLatestDay: 3,
		Overages: map[usance.OverageStatus]int64{usance.OverageDetected: 2, usance.OverageWaived: 1}}
	equal(t, "Status", status(), want)
	equal(t, "LastReceived of many", last(), event("l1", 4, today).ReceivedAt)
	update(t, s, func(tx usance.Tx) error { return fold(ctx, tx, id(101)) })
	want.PendingBatches, want.PendingEvents, want.OldestPending = 2, 2, now
	equal(t, "Status after a fold", status(), want)
}

func testActivity(t *testing.T, s usance.Store) {
	ctx := t.Context()
	activity := func() (a usance.Activity) {
		view(t, s, func(v usance.View) (err error) {
			a, err = v.Activity(ctx, now)
			return err
		})
		return a
	}
	equal(t, "Activity of an empty store", activity(), usance.Activity{})
	putLicenses(t, s, "l1", "l2", "l3", "l4")
	update(t, s, func(tx usance.Tx) error {
		off, deleted := license("l2", "brand", "asset"), license("l4", "brand", "asset")
		off.UsageTrackingEnabled, deleted.DeletedAt = false, ptr(now)
		for _, l := range []usance.License{off, deleted} {
			if err := tx.PutLicense(ctx, l); err != nil {
				return err
			}
		}
		warned, before, retired := threshold("h1", "l1"), threshold("h2", "l2"), threshold("h3", "l3")
		warned.LastWarningAt, before.LastWarningAt = ptr(now.Add(-23*time.Hour)), ptr(now.Add(-25*time.Hour))
		retired.LastWarningAt, retired.IsActive = ptr(now), false
		for _, h := range []usance.Threshold{warned, before, retired} {
			if err := tx.PutThreshold(ctx, h); err != nil {
				return err
			}
		}
		o1, o2, o3 := overage(1, "l1", "t1", 1), overage(2, "l1", "t1", 2), overage(3, "l1", "t1", 3)
		o2.CalculatedFeeCents, o3.Status = -20, usance.OverageWaived
		return tx.PutOverages(ctx, []usance.Overage{o1, o2, o3})
	})
	at := func(licenseID string, n int, day usance.Date, occurred, received time.Time) usance.Event {
		e := event(licenseID, n, day)
		e.Quantity, e.OccurredAt, e.ReceivedAt = 10, occurred, received
		return e
	}
	const day = 24 * time.Hour
	update(t, s, func(tx usance.Tx) error {
		return tx.AddEvents(ctx, []usance.Batch{{ID: id(100), At: now.Add(-30 * time.Hour), Events: []usance.Event{
			at("l1", 1, today-9, now.Add(-9*day), now.Add(-30*time.Hour)),
			at("l1", 2, today-7, now.Add(-7*day-time.Second), now.Add(-30*time.Hour)), // the day counts, the time not
			at("l1", 3, today-7, now.Add(-7*day+time.Second), now.Add(-29*time.Hour)),
			at("l3", 4, today+1, now, now.Add(-28*time.Hour)), // a zone ahead: tomorrow there
		}}})
	})
	update(t, s, func(tx usance.Tx) error { return fold(ctx, tx, id(100)) })
	update(t, s, func(tx usance.Tx) error {
		return tx.AddEvents(ctx, []usance.Batch{{ID: id(101), At: now, Events: []usance.Event{
			at("l1", 5, today, now, now.Add(-23*time.Hour)), at("l1", 6, today, now, now), at("l2", 7, today, now, now),
		}}})
	})
	want := usance.Activity{
		Licenses: 3, TrackingEnabled: 2, EventsLastDay: 3, LicensesLastDay: 2, ActiveThresholds: 2, WarningsLastDay: 1,
		Overages: []usance.OverageSum{{Status: usance.OverageDetected, Count: 2, TotalFeesCents: 30}, {Status: usance.OverageWaived, Count: 1, TotalFeesCents: 50}},
		Days: []usance.ActiveDay{
			{Date: today + 1, Used: 1, Aggregated: 1, Quantity: 10},
			{Date: today, Events: 4, Licenses: 3, Used: 2, Aggregated: 2, Quantity: 30},
			{Date: today - 7, Events: 1, Licenses: 1, Used: 1, Aggregated: 1, Quantity: 20},
		},
	}
	equal(t, "Activity", activity(), want)
}

func testKeys(t *testing.T, s usance.Store) {
	ctx := t.Context()
	whole := usance.APIKey{ID: "k1", Name: "Key", Role: usance.RoleIngest, PartyID: "p", BrandIDs: []string{"b2", "b1"}, LicenseIDs: []string{"l1"},
		Scopes: []string{usance.ScopeBackdate}, Hash: bytes.Repeat([]byte{0, 255}, 16), CreatedAt: now, ExpiresAt: ptr(now.Add(time.Hour)), RevokedAt: ptr(now.Add(time.Minute)), ReplacedBy: "k3", LastUsedAt: ptr(now.Add(time.Second))}
	full(t, whole)
	bare := usance.APIKey{ID: "k2", Role: usance.RoleAdmin, Hash: bytes.Repeat([]byte{1}, 32), CreatedAt: now}
	version := func() int64 {
		n, err := s.KeysVersion(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	use := func(id string, at time.Time) {
		if err := s.UseAPIKeys(ctx, map[string]time.Time{id: at}); err != nil {
			t.Fatal(err)
		}
	}
	use("k1", *whole.LastUsedAt)
	use("k1", now)
	last := version()
	// What is left out of a key is taken out, but for its use.
	changed := usance.APIKey{ID: "k1", Role: bare.Role, Hash: whole.Hash, CreatedAt: now, LastUsedAt: whole.LastUsedAt}
	for _, k := range []usance.APIKey{whole, bare, changed} {
		update(t, s, func(tx usance.Tx) error { return tx.PutAPIKey(ctx, k) })
		if v := version(); v == last {
			t.Errorf("the version of keys stayed %d after a change", v)
		} else {
			last = v
		}
		got, err := s.APIKeyByHash(ctx, k.Hash)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "APIKeyByHash", got, k)
		view(t, s, func(v usance.View) error {
			got, err := v.APIKey(ctx, k.ID)
			equal(t, "APIKey", got, k)
			return err
		})
	}
	use("k2", now.Add(time.Hour))
	use("k2", now.Add(2*time.Hour))
	list, _, err := s.APIKeys(ctx, usance.Page{Limit: 10})
	if err != nil || len(list) != 2 {
		t.Fatalf("APIKeys: %+v, %v", list, err)
	}
	bare.LastUsedAt = ptr(now.Add(2 * time.Hour))
	equal(t, "APIKeys", list, []usance.APIKey{changed, bare})
	if version() != last {
		t.Error("the version of keys moved without a change")
	}
}

func testSecret(t *testing.T, s usance.Store) {
	secrets := make([][]byte, 8)
	var wg sync.WaitGroup
	for i := range secrets {
		wg.Go(func() {
			var err error
			if secrets[i], err = s.Secret(t.Context(), "sessions"); err != nil {
				t.Errorf("Secret: %v", err)
			}
		})
	}
	wg.Wait()
	for _, secret := range secrets {
		if len(secret) < 32 || !bytes.Equal(secret, secrets[0]) {
			t.Errorf("secrets %x and %x of one name", secret, secrets[0])
		}
	}
	other, err := s.Secret(t.Context(), "other")
	if err != nil || bytes.Equal(other, secrets[0]) {
		t.Errorf("secret of another name: %x, %v", other, err)
	}
}

func testJobs(t *testing.T, s usance.Store) {
	ctx := t.Context()
	list := func() []usance.Job {
		jobs, err := s.Jobs(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return jobs
	}
	b := usance.Job{Name: "b", Schedule: []string{"0 * * * *", "0 2 * * *"}, NextRunAt: now}
	a := usance.Job{Name: "a", Schedule: []string{"30 * * * *"}, NextRunAt: now.Add(time.Hour)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.SyncJobs(ctx, []usance.Job{b, a}))
	equal(t, "Jobs", list(), []usance.Job{a, b})

	must(s.PauseJob(ctx, "b", true))
	b.Paused = true
	must(s.SyncJobs(ctx, []usance.Job{{Name: "b", Schedule: []string{"5 * * * *"}, NextRunAt: now.Add(9 * time.Hour)}}))
	b.Schedule = []string{"5 * * * *"}
	equal(t, "Jobs after another schedule", list(), []usance.Job{a, b})
	must(s.PauseJob(ctx, "b", false))
	wantCode(t, "PauseJob", s.PauseJob(ctx, "none", true), usance.CodeNotFound)
}

func testJobLeases(t *testing.T, s usance.Store) {
	ctx := t.Context()
	at := func(minutes int) time.Time { return now.Add(time.Duration(minutes) * time.Minute) }
	job := func() usance.Job {
		jobs, err := s.Jobs(ctx)
		if err != nil || len(jobs) != 1 {
			t.Fatalf("Jobs: %v, %v", jobs, err)
		}
		return jobs[0]
	}
	claim := func(what, owner string, minute int, force, want bool) {
		t.Helper()
		ok, err := s.ClaimJob(ctx, "j", owner, at(minute), at(60), at(minute+5), force)
		if err != nil || ok != want {
			t.Errorf("%s: %t, %v", what, ok, err)
		}
	}
	renew := func(what, owner string, minute int, want bool) {
		t.Helper()
		ok, err := s.RenewJob(ctx, "j", owner, at(minute))
		if err != nil || ok != want {
			t.Errorf("%s: %t, %v", what, ok, err)
		}
	}
	finish := func(owner string, minute int, runErr string) {
		t.Helper()
		if err := s.FinishJob(ctx, "j", owner, at(minute), time.Second, runErr); err != nil {
			t.Errorf("FinishJob: %v", err)
		}
	}
	pause := func(paused bool) {
		t.Helper()
		if err := s.PauseJob(ctx, "j", paused); err != nil {
			t.Error(err)
		}
	}
	claim("a job that does not exist", "one", 0, true, false)
	want := usance.Job{Name: "j", Schedule: []string{"* * * * *"}, NextRunAt: at(10)}
	if err := s.SyncJobs(ctx, []usance.Job{want}); err != nil {
		t.Fatal(err)
	}
	claim("before it is due", "one", 9, false, false)
	claim("when it is due", "one", 10, false, true)
	want.NextRunAt, want.LeaseOwner, want.LeaseUntil = at(60), "one", at(15)
	equal(t, "a job under way", job(), want)
	claim("while leased", "two", 14, true, false)
	renew("by its owner", "one", 20, true)
	renew("by another", "two", 30, false)
	claim("while renewed", "two", 19, true, false)
	finish("two", 16, "not mine")
	want.LeaseUntil = at(20)
	equal(t, "a job that another wanted to finish", job(), want)
	finish("one", 17, "failed")
	want.LeaseOwner, want.LeaseUntil, want.LastRunAt, want.LastDuration = "", time.Time{}, at(17), time.Second
	want.LastError, want.Runs, want.Failures, want.DayRuns, want.DayFailures = "failed", 1, 1, 1, 1
	equal(t, "a job that failed", job(), want)
	renew("after its end", "one", 30, false)

	claim("until the next time", "two", 18, false, false)
	pause(true)
	claim("paused, by force", "two", 18, true, false)
	claim("paused, when due", "two", 61, false, false)
	pause(false)
	claim("by force", "two", 18, true, true)
	claim("after the lease ran out", "one", 23, true, true)
	renew("a lost lease", "two", 40, false)
	finish("two", 24, "lost")
	finish("one", 25, "")
	want.LastRunAt, want.LastError, want.Runs, want.DayRuns = at(25), "", 2, 2
	equal(t, "a job that went well", job(), want)

	// A day later the failure is remembered in the sums of all runs alone.
	claim("a day later", "one", 17+24*60-6, true, true)
	finish("one", 17+24*60, "")
	want.LastRunAt, want.Runs, want.DayFailures = at(17+24*60), 3, 0
	equal(t, "a job of which a run failed yesterday", job(), want)

	// Of many that come at once, one gets it.
	var wg sync.WaitGroup
	var mu sync.Mutex
	winners := 0
	for i := range 8 {
		wg.Go(func() {
			ok, err := s.ClaimJob(ctx, "j", string(rune('a'+i)), at(60), at(120), at(70), false)
			if err != nil {
				t.Errorf("ClaimJob: %v", err)
			}
			if ok {
				mu.Lock()
				winners++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if winners != 1 {
		t.Errorf("%d owners hold one lease", winners)
	}
}
