-- Finds entries in which some value has a text, without sending the others.
--
-- KEYS[1]  stream
-- ARGV     'up' or 'down', ids to begin and to end at, most entries to look at, text
-- Returns  entries looked at, id of the last of them or '', ids of those found
local command = ARGV[1] == 'up' and 'XRANGE' or 'XREVRANGE'
local entries = redis.call(command, KEYS[1], ARGV[2], ARGV[3], 'COUNT', ARGV[4])
local found = {}
for _, entry in ipairs(entries) do
  local fields = entry[2]
  for i = 2, #fields, 2 do
    if string.find(fields[i], ARGV[5], 1, true) then
      found[#found + 1] = entry[1]
      break
    end
  end
end
return {#entries, #entries > 0 and entries[#entries][1] or '', found}
