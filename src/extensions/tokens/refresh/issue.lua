-- Begins a family. Ended ones make room for it, then dead ones, then the one longest unused.
-- KEYS[1]  the user's families, see family.lua
-- ARGV[1]  handle of the family
-- ARGV[2]  digest of its first token
-- ARGV[3]  time to live of a token, ms
-- ARGV[4]  time to live of the family, ms
-- ARGV[5]  most families of a user
-- ARGV[6]  the user
-- ARGV[7]  data
-- Reply: ms until the token ends
local most = tonumber(ARGV[5])
if redis.call('HLEN', KEYS[1]) >= most then
  local all = redis.call('HGETALL', KEYS[1])
  local left = {}
  for i = 1, #all, 2 do
    local family = parse(all[i + 1])
    if family and family.ends > now then
      left[#left + 1] = { handle = all[i], used = family.isAlive and family.used or 0 }
    else
      redis.call('HDEL', KEYS[1], all[i])
    end
  end
  table.sort(left, function(a, b) return a.used < b.used or (a.used == b.used and a.handle < b.handle) end)
  for i = 1, #left - most + 1 do redis.call('HDEL', KEYS[1], left[i].handle) end
end
local last = now + tonumber(ARGV[4])
local ends = math.min(now + tonumber(ARGV[3]), last)
store(KEYS[1], ARGV[1], {
  isAlive = true, began = now, last = last, ends = ends, used = now, token = ARGV[2], earlier = {}, user = ARGV[6], data = ARGV[7]
})
return ends - now
