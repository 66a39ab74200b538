// Package forecast tells from daily use what is to come: the total of a period
// and how sure that is, day by day, and how likely a limit is passed, and when.
// It is pure and deterministic: no clock, no randomness, no I/O.
//
// # What comes in
//
// A Request has the days of one licence and usage type, from the first on which
// the licence was active: 0 where there was no use, NaN where nothing is known. A
// Forecaster answers it and reuses its memory for the next one, so that a program
// keeps one per goroutine. A Prior, which a Learner makes from many licences,
// lends young licences what the others show. Forecaster.Series forecasts any
// series at equal distances, and Answer questions about many series' totals.
//
// # How a forecast is made
//
// The series is measured by its own mean, so that multiples of a series forecast
// multiples. It is seen on two scales, as it is and as logarithms, and on each
// with no, some or all of its cycles taken out (seasons): the week, the month or what
// else comes again within it (calendar), the year. On each of these views
// methods run that follow a level: simple smoothing, damped Holt, theta, medians
// of windows, robust smoothing, and more. Each forecasts from some thirty origins
// in the past, with the cycles that were known there; by those errors the methods
// get their weights. Their weighted mean has errors of its own at the same
// origins: these, standardised by lead, are the law from which all intervals and
// probabilities come. That of a sum comes from the errors of sums, never from
// adding up the intervals of days.
//
// Beside it stand simple forecasts of the total, former totals and, where use comes in
// spells, renewals of those (rivals): each has the part that the backtest of the total
// gives it.
//
// What comes on the same dates each year is taken out of the series and put back into the
// days ahead (yearly). Gaps at the end, and days since use has stopped for longer than ever,
// are not looked at but forecast over (silence).
//
// A day far above all others counts as the largest that others bear out, in all of
// this: one slip, or one campaign, is not what the next days are like. Another one may
// come, which widens the tail, the less the further out it was.
//
// # What rests on what
//
// Under 14 days the answer is the prior's alone: the mean of the days so far,
// corrected by what the first days of others told of their later ones, times the
// weekdays' weights. From 14 to 42 days both answers are mixed. Without a single
// known day there is none: StatusInsufficientData.
//
// docs/forecast.md has the figures reached and the limits.
package forecast
