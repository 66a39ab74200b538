package redis

import (
	"context"
	"strconv"

	"github.com/redis/rueidis"
)

const opTake = "take"

// take keeps a bucket as the time at which it will be full again, in
// microseconds of the Redis's own clock, so that nodes need not agree on the
// time: a token is worth 1e6/rate of them. Beside it stands when that was
// written: should the clock be set back, as when another server takes over, the
// bucket lacks what it lacked then, and not what would come until the old time
// is reached again. It gives whether the tokens were taken and how many are
// left, as a text, since numbers lose their fraction.
var take = rueidis.NewLuaScript(`
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local token, burst, n = 1000000 / ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local full, at = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%d+)$')
full, at = tonumber(full or 0), tonumber(at or 0)
local back = at > now
if back then
	full = full - (at - now)
end
full = math.max(now, full)
local after = math.max(now, full + n * token)
local taken = 1
if n > 0 and ARGV[4] ~= '1' and after - now > burst * token then
	after, taken = full, 0
end
if back or n ~= 0 and taken == 1 then
	if after > now then
		redis.call('SET', KEYS[1], string.format('%.0f %.0f', after, now), 'PX', math.ceil((after - now) / 1000) + 1)
	else
		redis.call('DEL', KEYS[1])
	end
end
return {taken, string.format('%.3f', burst - (after - now) / token)}
`)

// Take takes n tokens from the bucket of the name, which all nodes share: it
// holds burst tokens when full, which it is at first, and rate more come each
// second. Unless it holds so many, none is taken; with debt they are taken all
// the same, and left is below 0 until they have come. A negative n puts tokens
// back. known is false when the Redis is away: then nobody knows, and whether any was
// taken neither.
func (r *Redis) Take(ctx context.Context, name string, rate float64, burst, n int, debt bool) (taken bool, left float64, known bool) {
	args := []string{strconv.FormatFloat(rate, 'g', -1, 64), strconv.Itoa(burst), strconv.Itoa(n), "0"}
	if debt {
		args[3] = "1"
	}
	answer, err := ask(ctx, r, opTake, func(ctx context.Context, c rueidis.Client) (bucket, error) {
		return takeFrom(ctx, c, r.key("tokens", name), args)
	})
	return answer.taken, answer.left, err == nil
}

// bucket is what the script answers.
type bucket struct {
	taken bool
	left  float64
}

func takeFrom(ctx context.Context, c rueidis.Client, key string, args []string) (out bucket, err error) {
	reply, err := take.Exec(ctx, c, []string{key}, args).ToArray()
	if err != nil {
		return out, err
	}
	one, err := reply[0].AsInt64()
	if err != nil {
		return out, err
	}
	text, err := reply[1].ToString()
	if err != nil {
		return out, err
	}
	out.taken = one == 1
	out.left, err = strconv.ParseFloat(text, 64)
	return out, err
}
