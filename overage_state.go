package usance

import "strings"

// OverageStatus is where an overage stands on its way to being paid.
type OverageStatus string

// The states of an overage; see OverageStatus.Next for the moves between them.
const (
	OverageDetected        OverageStatus = "DETECTED"         // its period is open, it grows
	OveragePendingApproval OverageStatus = "PENDING_APPROVAL" // final, a person decides
	OverageApproved        OverageStatus = "APPROVED"         // goes into the next invoice
	OverageBilled          OverageStatus = "BILLED"           // on an invoice
	OveragePaid            OverageStatus = "PAID"             // its invoice was paid
	OverageDisputed        OverageStatus = "DISPUTED"         // the brand objects
	OverageWaived          OverageStatus = "WAIVED"           // never to be paid
)

// OverageStatuses are all of them.
var OverageStatuses = []OverageStatus{
	OverageDetected, OveragePendingApproval, OverageApproved, OverageBilled, OveragePaid, OverageDisputed, OverageWaived,
}

// OverageAction is what moves an overage from one state to another.
type OverageAction string

// The actions. Who may take them and when (a brand disputes within 30 days) is
// the caller's to check.
const (
	ActionSettle      OverageAction = "settle"       // its period was closed
	ActionAutoApprove OverageAction = "auto_approve" // so small a fee needs no person
	ActionApprove     OverageAction = "approve"
	ActionBill        OverageAction = "bill"
	ActionPay         OverageAction = "pay"
	ActionDispute     OverageAction = "dispute"
	ActionResolve     OverageAction = "resolve" // the dispute ends, the overage stands
	ActionWaive       OverageAction = "waive"   // a credit follows if it was billed
)

// overageMoves lists every legal move but resolve, whose target depends on the
// state that was disputed.
var overageMoves = map[OverageAction]map[OverageStatus]OverageStatus{
	ActionSettle:      {OverageDetected: OveragePendingApproval},
	ActionAutoApprove: {OverageDetected: OverageApproved},
	ActionApprove:     {OveragePendingApproval: OverageApproved},
	ActionBill:        {OverageApproved: OverageBilled},
	ActionPay:         {OverageBilled: OveragePaid},
	ActionDispute: {
		OveragePendingApproval: OverageDisputed,
		OverageApproved:        OverageDisputed,
		OverageBilled:          OverageDisputed,
		OveragePaid:            OverageDisputed,
	},
	ActionWaive: {
		OveragePendingApproval: OverageWaived,
		OverageApproved:        OverageWaived,
		OverageDisputed:        OverageWaived,
	},
}

// Next gives the state that action a leads to from s, or INVALID_STATE. It is
// the only code that moves an overage. For resolve, from is the state that the
// disputed overage left; otherwise it is ignored.
//
//	    ┌────────────────auto_approve──────────────────┐
//	    │                                              ▼
//	DETECTED ──settle──► PENDING_APPROVAL ──approve──► APPROVED ──bill──► BILLED ──pay──► PAID
//
//	PENDING_APPROVAL, APPROVED, BILLED, PAID ──dispute──► DISPUTED ──resolve──► the state it left
//
//	PENDING_APPROVAL, APPROVED, DISPUTED ──waive──► WAIVED
//
// What is billed or paid must be disputed before it can be waived. WAIVED is
// final, PAID but for a dispute.
func (s OverageStatus) Next(a OverageAction, from OverageStatus) (OverageStatus, error) {
	if a == ActionResolve {
		_, disputable := overageMoves[ActionDispute][from]
		if s == OverageDisputed && disputable {
			return from, nil
		}
	} else if to, ok := overageMoves[a][s]; ok {
		return to, nil
	}
	possible := s.byHand()
	if possible == "" {
		return s, NewError(CodeInvalidState, "an overage that is %s cannot be changed by hand", s)
	}
	return s, NewError(CodeInvalidState, "of an overage that is %s these can be asked: %s", s, possible)
}

// byHand names what people may do with an overage in the state.
func (s OverageStatus) byHand() string {
	var out []string
	for _, a := range []OverageAction{ActionApprove, ActionDispute, ActionWaive} {
		if _, ok := overageMoves[a][s]; ok {
			out = append(out, string(a))
		}
	}
	if s == OverageDisputed {
		out = append(out, string(ActionResolve))
	}
	return strings.Join(out, ", ")
}
