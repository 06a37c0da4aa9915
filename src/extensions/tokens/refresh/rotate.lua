-- Exchanges a token for its successor. A token that was used is exchanged for the same successor while its grace lasts;
-- afterwards another party has it, and its family ends.
-- KEYS[1]  the user's families, see family.lua
-- ARGV[1]  handle of the family
-- ARGV[2]  digest of the token
-- ARGV[3]  digest of its successor
-- ARGV[4]  salt by which that was made
-- ARGV[5]  time to live of a token, ms
-- ARGV[6]  grace, ms
-- ARGV[7]  data in place of the former; left out: as it is
-- Reply: { 1, salt, ms until the successor ends, user, data }  exchanged
--        { 2, salt, ms, user, data }  exchanged before, by this salt
--        { 3, user }  used again: the family is dead now
--        { 4, user }  the family is dead
--        { 0 }  there is no such family
local family = find(KEYS[1], ARGV[1])
if not family then return { 0 } end
if not family.isAlive then return { 4, family.user } end
if family.token == ARGV[2] then
  if #ARGV > 7 then family.data = ARGV[7] end
  local grace, earlier = tonumber(ARGV[6]), {}
  if grace > 0 then earlier[1] = { token = ARGV[2], salt = ARGV[4], used = now } end
  for _, each in ipairs(family.earlier) do
    if each.used + grace > now and #earlier < MOST then earlier[#earlier + 1] = each end
  end
  family.token, family.earlier, family.used = ARGV[3], earlier, now
  family.ends = math.min(now + tonumber(ARGV[5]), family.last)
  store(KEYS[1], ARGV[1], family)
  return { 1, ARGV[4], family.ends - now, family.user, family.data }
end
for _, each in ipairs(family.earlier) do
  if each.token == ARGV[2] and each.used + tonumber(ARGV[6]) > now then
    return { 2, each.salt, family.ends - now, family.user, family.data }
  end
end
family.isAlive, family.earlier, family.data = false, {}, 'null'
store(KEYS[1], ARGV[1], family)
return { 3, family.user }
