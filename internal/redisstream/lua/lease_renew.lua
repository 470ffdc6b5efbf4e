-- Prolongs a group's exclusive lease, where the token is still its own.
--
-- KEYS[1]  lease
-- ARGV     token, ms to live
-- Returns  1 when it was prolonged, 0 when the lease is another's or ran out
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
