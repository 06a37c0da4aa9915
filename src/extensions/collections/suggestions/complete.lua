-- Finds the most popular terms with a prefix.
-- KEYS  see add.lua
-- ARGV[1]  folded prefix; '': all terms
-- ARGV[2]  how many
-- Reply: { term as written, ... }, the most popular first
local prefix, most = ARGV[1], tonumber(ARGV[2])
local found = {}
-- No byte of UTF-8 is 255.
local first, last = '[' .. prefix, '(' .. prefix .. '\255'
if prefix ~= '' and redis.call('ZLEXCOUNT', KEYS[2], first, last) <= 1000 then
  local terms = redis.call('ZRANGEBYLEX', KEYS[2], first, last)
  if #terms == 0 then return {} end
  local scores = redis.call('ZMSCORE', KEYS[1], unpack(terms))
  local order = {}
  for i = 1, #terms do order[i] = i end
  for i = 1, #terms do scores[i] = tonumber(scores[i] or '0') or 0 end
  table.sort(order, function(a, b) return scores[a] > scores[b] or (scores[a] == scores[b] and a > b) end)
  for i = 1, math.min(most, #order) do found[i] = terms[order[i]] end
else
  -- So many terms have the prefix that the most popular ones are found soon.
  local from = 0
  repeat
    local terms = redis.call('ZREVRANGE', KEYS[1], from, from + 499)
    for _, each in ipairs(terms) do
      if #found < most and string.sub(each, 1, #prefix) == prefix then found[#found + 1] = each end
    end
    from = from + 500
  until #terms < 500 or #found >= most
end
if #found == 0 then return {} end
local written = redis.call('HMGET', KEYS[3], unpack(found))
for i = 1, #found do found[i] = written[i] or found[i] end
return found
