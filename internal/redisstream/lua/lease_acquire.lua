-- Takes a group's exclusive lease when it is free, or is the owner's already.
-- The token is kept apart from the lease, so that it grows for ever, and is
-- not below the server's clock, so that it does where that was lost: an owner
-- that has not noticed could else prolong another's lease by the same token.
--
-- KEYS[1]  lease
-- KEYS[2]  last token given out
-- ARGV     owner, ms to live
-- Returns  the token, or 0 when another owner has the lease
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner and owner ~= ARGV[1] then
  return 0
end
local token
if owner then
  token = tonumber(redis.call('HGET', KEYS[1], 'token'))
else
  local clock = redis.call('TIME')
  local last = tonumber(redis.call('GET', KEYS[2]) or 0)
  token = math.max(last + 1, clock[1] * 1000 + math.floor(clock[2] / 1000))
  local text = string.format('%.0f', token)
  redis.call('SET', KEYS[2], text)
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'token', text)
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return token
