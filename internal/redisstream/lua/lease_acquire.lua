-- Takes a group's exclusive lease when it is free, or is the owner's already.
-- The token is kept apart from the lease, so that it grows for ever.
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
  token = redis.call('INCR', KEYS[2])
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'token', token)
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return token
