-- What several scripts need. It stands before their text.

-- map makes a table of a flat list of names and values.
local function map(flat)
  local m = {}
  for i = 1, #flat, 2 do
    m[flat[i]] = flat[i + 1]
  end
  return m
end

-- below compares ids, as text: Lua's numbers are not exact enough.
local function below(a, b)
  local ams, aseq = string.match(a, '^(%d+)-(%d+)$')
  local bms, bseq = string.match(b, '^(%d+)-(%d+)$')
  if ams == bms then
    ams, bms = aseq, bseq
  end
  if #ams ~= #bms then
    return #ams < #bms
  end
  return ams < bms
end
