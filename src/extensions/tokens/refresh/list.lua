-- Lists the families of a user.
-- KEYS[1]  the families, see family.lua
-- Reply: { handle, begin, last use, end (ms since the epoch), data, ... }, for each that is alive, the last used first
local alive = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local family = parse(all[i + 1])
  if family and family.isAlive and family.ends > now then
    family.handle = all[i]
    alive[#alive + 1] = family
  end
end
table.sort(alive, function(a, b) return a.used > b.used or (a.used == b.used and a.handle < b.handle) end)
local reply = {}
for _, each in ipairs(alive) do
  for _, value in ipairs({ each.handle, each.began, each.used, each.ends, each.data }) do reply[#reply + 1] = value end
end
return reply
