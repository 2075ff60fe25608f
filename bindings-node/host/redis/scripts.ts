/**
 * The directory's decisions as Redis scripts, each one atomic and one round trip.
 *
 * They say the same as the core's `directory` machine; a differential test holds them against it. Every key is
 * declared and all share one hash tag, so they run on a cluster as they are. Numbers are below 2^53, which
 * Lua's doubles hold exactly; they are written with `%.0f`, as Lua's own way keeps only 14 digits.
 *
 * | key | holds |
 * | --- | --- |
 * | `{prefix}:rows` | hash: host → `ends epoch incarnation machine address` of its owner |
 * | `{prefix}:ends` | sorted set: host by the time at which its row expires, or would have |
 * | `{prefix}:epochs` | hash: host → the last epoch that was granted or barred; outlives the row |
 * | `{prefix}:known` | sorted set: host by the time at which it was last given, or lost, an owner |
 * | `{prefix}:machine:NAME` | sorted set: hosts of one machine by the incarnation that registered them |
 *
 * Time is the store's. A row that has expired counts as absent from that millisecond on, and is swept by the
 * next few writes of anyone; the hash of rows as a whole expires with its last row. An entry in a machine's
 * set is a hint, checked against the row: a host that moved on leaves one behind, which goes with the
 * machine's next look at it, its next clear, or the set's own expiry.
 */

const COMMON = `
local rows, ends, epochs, known = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end

local function parse(value)
  if not value then return nil end
  local e, o, i, m, a = string.match(value, '^(%d+) (%d+) (%d+) (%S+) (%S*)$')
  if not e or tonumber(e) <= now then return nil end
  return { ends = e, epoch = tonumber(o), incarnation = i, machine = m, address = a }
end
local function last_epoch(host) return tonumber(redis.call('HGET', epochs, host) or '0') end
`

const WRITE = `
local machine_key = KEYS[5]
local machine, incarnation, ttl, remember = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

-- Takes a few rows that have expired out of the way, so that none outlives its time for long.
local expired = redis.call('ZRANGEBYSCORE', ends, '-inf', text(now), 'WITHSCORES', 'LIMIT', 0, 64)
for n = 1, #expired, 2 do
  redis.call('ZREM', ends, expired[n])
  if redis.call('HDEL', rows, expired[n]) == 1 then redis.call('ZADD', known, expired[n + 1], expired[n]) end
end
-- The same for hosts that have been without an owner for so long that no message about them can be under way.
local forgotten = redis.call('ZRANGEBYSCORE', known, '-inf', text(now - remember), 'LIMIT', 0, 16)
for _, old in ipairs(forgotten) do
  if redis.call('HEXISTS', rows, old) == 1 then
    redis.call('ZADD', known, text(now), old)
  else
    redis.call('HDEL', epochs, old)
    redis.call('ZREM', known, old)
  end
end

local function keep(key, milliseconds)
  if redis.call('PTTL', key) < milliseconds then redis.call('PEXPIRE', key, text(milliseconds)) end
end
local has_owned, has_raised = false, false
local function own(host, epoch, address)
  has_owned = true
  local until_then = text(now + ttl)
  redis.call('HSET', rows, host, table.concat({ until_then, text(epoch), incarnation, machine, address }, ' '))
  redis.call('ZADD', ends, until_then, host)
  redis.call('ZADD', machine_key, incarnation, host)
end
local function raise(host, epoch)
  has_raised = true
  redis.call('HSET', epochs, host, text(epoch))
  redis.call('ZADD', known, text(now), host)
end
local function refuse(host, why, last)
  -- Not this machine's (any more): its set need not name it.
  local current = parse(redis.call('HGET', rows, host))
  if not current or current.machine ~= machine then redis.call('ZREM', machine_key, host) end
  return { 'refused', text(last), why }
end
local function is_mine(row) return row and row.machine == machine and row.incarnation == incarnation end
local function why_not_held(row, epoch)
  if not row then return 'no-row' end
  if epoch < row.epoch then return 'stale-epoch' end
  if not is_mine(row) then return 'other-owner' end
  if epoch > row.epoch then return 'no-row' end
  return nil
end
-- One command after another, each as if it had come alone.
local function each(decide)
  local answers = {}
  for n = 5, #ARGV, 3 do
    local host, carried, address = ARGV[n], tonumber(ARGV[n + 1]), ARGV[n + 2]
    local row = parse(redis.call('HGET', rows, host))
    local last = last_epoch(host)
    if row and row.epoch > last then last = row.epoch end
    answers[#answers + 1] = decide(host, carried, address, row, last)
  end
  if has_owned then
    keep(rows, ttl)
    keep(ends, ttl + remember)
    keep(machine_key, ttl + remember)
  end
  if has_owned or has_raised then
    keep(epochs, ttl + remember)
    keep(known, ttl + remember)
  end
  return answers
end
`

/**
 * KEYS: rows, ends, epochs, known, machine. ARGV: machine, incarnation, ttl, remember, then for each command
 * host, epoch, address. Answers for each `registered` and the epoch, or `refused`, the last epoch and why.
 */
export const REGISTER = `${COMMON}${WRITE}
return each(function(host, carried, address, row, last)
  if carried >= last then
    raise(host, carried + 1)
    own(host, carried + 1, address)
    return { 'registered', text(carried + 1) }
  end
  -- The same registration once more, as its answer was lost or the message came twice.
  if is_mine(row) and row.epoch == carried + 1 then
    own(host, row.epoch, row.address)
    return { 'registered', text(row.epoch) }
  end
  if row then return refuse(host, 'stale-epoch', last) end
  return refuse(host, 'no-row', last)
end)
`

/** KEYS and ARGV as {@link REGISTER}; the epoch is the registration's, the address is not used. */
export const RENEW = `${COMMON}${WRITE}
return each(function(host, carried, _, row, last)
  local why = why_not_held(row, carried)
  if why then return refuse(host, why, last) end
  own(host, row.epoch, row.address)
  return { 'renewed', text(row.epoch) }
end)
`

/** KEYS and ARGV as {@link RENEW}. */
export const UNREGISTER = `${COMMON}${WRITE}
return each(function(host, carried, _, row, last)
  -- A registration that has not landed yet is barred from landing.
  if carried > last then
    raise(host, carried)
    return { 'removed', text(carried) }
  end
  local why = why_not_held(row, carried)
  if why then return refuse(host, why, last) end
  redis.call('HDEL', rows, host)
  redis.call('ZREM', ends, host)
  redis.call('ZREM', machine_key, host)
  redis.call('ZADD', known, text(now), host)
  return { 'removed', text(row.epoch) }
end)
`

/**
 * KEYS: rows, ends, epochs, known, machine. ARGV: machine, lowest and highest incarnation in Redis' notation
 * of ranges. Answers how many rows it cleared. In pieces, as `unpack` fails near 8,000.
 */
export const CLEAR = `${COMMON}
local machine_key, machine = KEYS[5], ARGV[1]
-- A row of this machine has the incarnation that its set says: whoever writes the one writes the other.
local hosts = redis.call('ZRANGEBYSCORE', machine_key, ARGV[2], ARGV[3])
local cleared, size = 0, 1000
for first = 1, #hosts, size do
  local names = { unpack(hosts, first, math.min(first + size - 1, #hosts)) }
  local gone, seen = {}, {}
  for n, value in ipairs(redis.call('HMGET', rows, unpack(names))) do
    local e, m
    if value then e, m = string.match(value, '^(%d+) %d+ %d+ (%S+)') end
    if m == machine and tonumber(e) > now then
      gone[#gone + 1] = names[n]
      seen[#seen + 1] = text(now)
      seen[#seen + 1] = names[n]
    end
  end
  if #gone > 0 then
    redis.call('HDEL', rows, unpack(gone))
    redis.call('ZADD', known, unpack(seen))
    cleared = cleared + #gone
  end
end
if #hosts > 0 then redis.call('ZREMRANGEBYSCORE', machine_key, ARGV[2], ARGV[3]) end
return cleared
`

/**
 * KEYS: rows, ends, epochs, known. ARGV: hosts, at most 1,000. Answers for each the last epoch, then its owner
 * (held epoch, incarnation, machine, address) or, when it has none, for how long (or nothing).
 */
export const LOOK = `${COMMON}
local answers = {}
for _, host in ipairs(ARGV) do
  local row, last = parse(redis.call('HGET', rows, host)), last_epoch(host)
  if row then
    answers[#answers + 1] = { text(math.max(last, row.epoch)), text(row.epoch), row.incarnation, row.machine, row.address }
  else
    -- A row that expired and is not swept yet lost its owner when it ended. An end that is still to come was
    -- left behind by a clear.
    local at = redis.call('ZSCORE', ends, host)
    if not at or tonumber(at) > now then at = redis.call('ZSCORE', known, host) end
    if at and last > 0 then
      answers[#answers + 1] = { text(last), text(math.max(0, now - tonumber(at))) }
    else
      answers[#answers + 1] = { text(last) }
    end
  end
end
return answers
`
