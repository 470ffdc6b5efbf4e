-- Takes over entries that have been idle for long, without counting a
-- delivery. Entries that the stream no longer has are removed from the
-- pending list: by XAUTOCLAIM from Redis 7 on, here before.
--
-- The server measures idle times by its wall clock. When that was set forward,
-- all entries look idle: where it is later than the caller expects, nothing is
-- taken over. When it was set back, entries that nobody renews look as if they
-- were delivered this moment until it has caught up: those of other consumers
-- begin their lease now, which for one delivered this moment changes nothing.
--
-- KEYS[1]  stream
-- ARGV     group, consumer, least idle ms, id to go on at, count, latest time in ms to expect
-- Returns  {{id, deliveries, {field, value, ...}}, ...}, {trimmed id, ...}, id to go on at, the server's time in ms
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if now > tonumber(ARGV[6]) then
  return {{}, {}, '0-0', now}
end

local claimed = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], 'COUNT', ARGV[5], 'JUSTID')
local ids, trimmed = claimed[2], claimed[3] or {}

-- Most lie side by side.
local fields = {}
if #ids > 0 then
  for _, e in ipairs(redis.call('XRANGE', KEYS[1], ids[1], ids[#ids], 'COUNT', #ids)) do
    fields[e[1]] = e[2]
  end
end

-- XAUTOCLAIM looked at ten times as many as it takes.
local deliveries = {}
local last = claimed[1] == '0-0' and '+' or '(' .. claimed[1]
for _, p in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[4], last, 10 * ARGV[5])) do
  local id, owner, idle = p[1], p[2], p[3]
  if owner == ARGV[2] then
    deliveries[id] = p[4]
  elseif idle == 0 and #redis.call('XRANGE', KEYS[1], id, id) > 0 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], owner, 0, id, 'RETRYCOUNT', p[4], 'JUSTID')
  end
end

local entries = {}
for _, id in ipairs(ids) do
  local found = fields[id] or (redis.call('XRANGE', KEYS[1], id, id)[1] or {})[2]
  if found then
    entries[#entries + 1] = {id, deliveries[id], found}
  else
    redis.call('XACK', KEYS[1], ARGV[1], id)
    trimmed[#trimmed + 1] = id
  end
end
return {entries, trimmed, claimed[1], now}
