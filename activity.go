package usance

// Activity is what an operator asks about a deployment: whether usage comes in,
// whether its days have aggregates, whether thresholds warn, what overages cost.
// It answers the verification queries of the deployment guide.
type Activity struct {
	Licenses         int64        `json:"licenses"`        // not deleted
	TrackingEnabled  int64        `json:"trackingEnabled"` // of those
	EventsLastDay    int64        `json:"eventsLastDay"`   // received within 24 hours
	LicensesLastDay  int64        `json:"licensesLastDay"` // that those are of
	Days             []ActiveDay  `json:"days"`            // newest first, back to seven days ago, those with anything
	ActiveThresholds int64        `json:"activeThresholds"`
	WarningsLastDay  int64        `json:"warningsLastDay"` // active thresholds that warned within 24 hours
	Overages         []OverageSum `json:"overages"`        // in the order of their status
}

// ActiveDay is a date twice: the UTC day on which events occurred, and the
// local day that licences have aggregates of.
type ActiveDay struct {
	Date       Date  `json:"date"`
	Events     int64 `json:"events"`             // raw events of the UTC day, voids among them
	Licenses   int64 `json:"licenses"`           // that those are of
	Used       int64 `json:"licensesUsed"`       // licences with raw events of the local day
	Aggregated int64 `json:"licensesAggregated"` // licences with an aggregate of it
	Quantity   int64 `json:"quantity"`           // sum of those aggregates
}

// OverageSum is the overages of one status.
type OverageSum struct {
	Status         OverageStatus `json:"status"`
	Count          int64         `json:"count"`
	TotalFeesCents int64         `json:"totalFeesCents"`
}

// ActivityDays is how far back Activity looks.
const ActivityDays = 7
