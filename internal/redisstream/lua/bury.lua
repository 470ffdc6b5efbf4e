-- Stores a dead letter and acknowledges the original, where the consumer
-- still owns it. XADD is the first write, so that a server out of memory
-- refuses the whole.
--
-- KEYS[1]  stream
-- KEYS[2]  stream of the group's dead letters
-- ARGV     group, consumer, id, 'delete' to delete the original then or 'keep',
--          then field and value of each field of the letter
-- Returns  1 when it was done, 0 when the entry is not owned
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2]) == 0 then
  return 0
end
redis.call('XADD', KEYS[2], '*', unpack(ARGV, 5))
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
if ARGV[4] == 'delete' then
  redis.call('XDEL', KEYS[1], ARGV[3])
end
return 1
