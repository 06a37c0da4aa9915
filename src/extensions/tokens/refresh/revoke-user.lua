-- Ends all families of a user, but for one.
-- KEYS[1]  the families, see family.lua
-- ARGV[1]  handle of the family that lives on; '': none
-- Reply: how many were alive
local count = 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local family = parse(all[i + 1])
  if all[i] ~= ARGV[1] then
    redis.call('HDEL', KEYS[1], all[i])
    if family and family.isAlive and family.ends > now then count = count + 1 end
  end
end
return count
