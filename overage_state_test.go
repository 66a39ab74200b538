package usance

import "testing"

func TestOverageMoves(t *testing.T) {
	states := []OverageStatus{
		OverageDetected, OveragePendingApproval, OverageApproved, OverageBilled, OveragePaid, OverageDisputed, OverageWaived,
	}
	actions := []OverageAction{
		ActionSettle, ActionAutoApprove, ActionApprove, ActionBill, ActionPay, ActionDispute, ActionResolve, ActionWaive,
	}
	type move struct {
		state OverageStatus
		by    OverageAction
	}
	legal := map[move]OverageStatus{
		{"DETECTED", "settle"}:          "PENDING_APPROVAL",
		{"DETECTED", "auto_approve"}:    "APPROVED",
		{"PENDING_APPROVAL", "approve"}: "APPROVED",
		{"APPROVED", "bill"}:            "BILLED",
		{"BILLED", "pay"}:               "PAID",
		{"PENDING_APPROVAL", "dispute"}: "DISPUTED",
		{"APPROVED", "dispute"}:         "DISPUTED",
		{"BILLED", "dispute"}:           "DISPUTED",
		{"PAID", "dispute"}:             "DISPUTED",
		{"PENDING_APPROVAL", "waive"}:   "WAIVED",
		{"APPROVED", "waive"}:           "WAIVED",
		{"DISPUTED", "waive"}:           "WAIVED",
	}
	check := func(s OverageStatus, a OverageAction, from, want OverageStatus) {
		t.Helper()
		got, err := s.Next(a, from)
		if want == "" {
			if ErrorCode(err) != CodeInvalidState || got != s {
				t.Errorf("%s by %s, left from %q: %s, %v; want to stay, INVALID_STATE", s, a, from, got, err)
			}
		} else if err != nil || got != want {
			t.Errorf("%s by %s, left from %q: %s, %v; want %s", s, a, from, got, err, want)
		}
	}
	for _, s := range append(states, "", "detected") {
		for _, a := range append(actions, "", "delete") {
			for _, from := range append(states, "") {
				want := legal[move{s, a}]
				if s == OverageDisputed && a == ActionResolve {
					switch from {
					case OveragePendingApproval, OverageApproved, OverageBilled, OveragePaid:
						want = from
					}
				}
				check(s, a, from, want)
			}
		}
	}
}
