package weblog

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/usance/usance"
)

// never is a horizon behind which every click lies.
const never = math.MaxInt64 / 2

const windowSeconds = int64(Window / time.Second)

// clicks holds the clicks of each user and item that a later line may still
// turn into double clicks.
type clicks struct {
	disorder int64 // seconds
	chains   map[[16]byte]*chain
	swept    int64 // the horizon of the last sweep
	begun    bool
}

// chain is the clicks of one user on one item.
type chain struct {
	license, usageType, item string
	client, agent, device    string
	clicks                   []click // by time, one per second
}

// click is what was clicked in one second.
type click struct {
	t        int64
	n        int64 // requests of that second
	rule     *rule
	referrer string
}

// verdict is what became of a click.
type verdict struct {
	click
	*chain
	session string
	doubles int64
	counts  bool
	ordinal int
}

func newClicks(disorder time.Duration) *clicks {
	return &clicks{disorder: int64(disorder / time.Second), chains: map[[16]byte]*chain{}}
}

// add takes a click. Of those of one second it keeps the smallest by rule and
// referrer, so that the payload does not depend on the order of the lines.
func (c *clicks) add(ru *rule, item, client, agent, device string, t int64, referrer string) {
	id := digest(ru.license, ru.usageType, item, client, agent)
	ch := c.chains[id]
	if ch == nil {
		// Cloned, so that what is held does not hold whole lines.
		ch = &chain{
			license: ru.license, usageType: ru.usageType, item: strings.Clone(item),
			client: strings.Clone(client), agent: strings.Clone(agent), device: device,
		}
		c.chains[id] = ch
	}
	k := click{t: t, n: 1, rule: ru, referrer: cleanReferrer(referrer)}
	i, same := slices.BinarySearchFunc(ch.clicks, t, func(k click, t int64) int { return cmp.Compare(k.t, t) })
	if !same {
		ch.clicks = slices.Insert(ch.clicks, i, k)
		return
	}
	old := &ch.clicks[i]
	k.n = old.n + 1
	if cmp.Or(cmp.Compare(old.rule.line, ru.line), strings.Compare(old.referrer, k.referrer)) <= 0 {
		k.rule, k.referrer = old.rule, old.referrer
	}
	*old = k
}

// due settles when the horizon has moved a window since the last time: each
// click is looked at a few times in all, whatever the traffic.
func (c *clicks) due(horizon int64) []verdict {
	if !c.begun {
		c.begun, c.swept = true, horizon
	}
	if horizon >= c.swept && horizon < c.swept+windowSeconds {
		return nil
	}
	c.swept = horizon
	return c.settle(horizon)
}

// settle judges and lets go of the clicks that no line at or after the horizon
// can turn into double clicks, in order of time. A click counts when no other
// follows within the window; the others of its second are doubles.
func (c *clicks) settle(horizon int64) []verdict {
	var out []verdict
	for id, ch := range c.chains {
		n := 0
		for ; n < len(ch.clicks) && ch.clicks[n].t+windowSeconds < horizon; n++ {
			v := verdict{click: ch.clicks[n], chain: ch}
			v.counts = n+1 == len(ch.clicks) || ch.clicks[n+1].t-v.t > windowSeconds
			v.doubles = v.n
			if v.counts {
				v.doubles--
				v.session = session(ch.client, ch.agent, v.t)
			}
			out = append(out, v)
		}
		if n == len(ch.clicks) {
			delete(c.chains, id)
		} else {
			ch.clicks = slices.Delete(ch.clicks, 0, n)
		}
	}
	slices.SortFunc(out, func(a, b verdict) int {
		return cmp.Or(cmp.Compare(a.t, b.t), strings.Compare(a.license, b.license), strings.Compare(a.usageType, b.usageType),
			strings.Compare(a.item, b.item), strings.Compare(a.session, b.session))
	})
	number := map[string]int{}
	for i := range out {
		v := &out[i]
		if i > 0 && out[i-1].t != v.t {
			clear(number)
		}
		if v.counts {
			k := v.license + " " + v.key(0)
			v.ordinal = number[k]
			number[k]++
		}
	}
	return out
}

// waiting lists what was not settled.
func (c *clicks) waiting(each func(*chain, click)) {
	for _, ch := range c.chains {
		for _, k := range ch.clicks {
			for range k.n {
				each(ch, k)
			}
		}
	}
}

// key is the idempotency key of a counted click, in the scope of its licence:
// its second, so that neighbours in time are neighbours in the index; 64 bits of
// a hash of usage type and item; and 24 bits of a hash of the session. No more of
// the latter, and no key that must be kept secret: 24 bits tell two users of one
// item and second apart, but leave some 256 addresses for a guess at the user
// agent of a session, so that the key gives no address away. Sessions that meet
// in all of it are numbered.
func (v *verdict) key(ordinal int) string {
	item := digest(v.usageType, v.item)
	user := digest(v.session)
	b := make([]byte, 0, 32)
	b = append(b, "w:"...)
	b = hex.AppendEncode(b, binary.BigEndian.AppendUint64(nil, uint64(v.t))[3:])
	b = base64.RawURLEncoding.AppendEncode(b, item[:8])
	b = base64.RawURLEncoding.AppendEncode(b, user[:3])
	if ordinal > 0 {
		b = fmt.Appendf(b, ".%d", ordinal)
	}
	return string(b)
}

// event is the usage that a counted click is.
func (v *verdict) event() usance.Event {
	e := usance.Event{
		LicenseID: v.license, UsageType: v.usageType, Quantity: 1,
		OccurredAt: time.Unix(v.t, 0).UTC(),
		Platform:   v.rule.platform, DeviceType: v.device,
		Referrer: v.referrer, SessionID: v.session,
		IdempotencyKey: v.key(v.ordinal),
	}
	if v.rule.device != "" {
		e.DeviceType = v.rule.device
	}
	return e
}

// session is COUNTER's stand-in for a session: address, user agent, date and
// hour. What does not fit into an event's session id is hashed.
func session(client, agent string, t int64) string {
	hour := time.Unix(t, 0).UTC().Format("2006-01-02|15")
	if s := client + "|" + agent + "|" + hour; len(s) <= 255 && clean(s) == s {
		return s
	}
	sum := digest(client, agent)
	return "sha256:" + hex.EncodeToString(sum[:]) + "|" + hour
}

// cleanReferrer makes a referrer that an event may carry.
func cleanReferrer(s string) string {
	if len(s) > 2048 {
		s = s[:2048]
	}
	return strings.Clone(clean(s))
}

// clean drops control characters and what is not UTF-8.
func clean(s string) string {
	bad := func(r rune) bool { return r < 0x20 || r == 0x7f }
	if utf8.ValidString(s) && !strings.ContainsFunc(s, bad) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if bad(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}

// digest hashes strings, each with its length, so that no two lists are one.
func digest(parts ...string) (sum [16]byte) {
	b := make([]byte, 0, 512)
	for _, p := range parts {
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	full := sha256.Sum256(b)
	copy(sum[:], full[:])
	return sum
}
