-- Returns how much a counter of the server has grown within the last one or two windows, for all processes.
-- KEYS[1]  when the window began, the counter then, and at the beginning of the window before
-- ARGV[1]  the counter
-- ARGV[2]  window, ms
-- ARGV[3]  time to live, ms
-- Reply: the increase, 0 at the first call
local value = tonumber(ARGV[1])
local function field(name) return tonumber(redis.call('HGET', KEYS[1], name) or '') end
local began, first, before = field('began'), field('value'), field('before')
if not (began and first and before) then
  began, first, before = now, value, value
elseif value < first then
  -- The server was restarted, and counts from 0.
  began, first, before = now, 0, 0
elseif now - began >= tonumber(ARGV[2]) or began > now then
  began, first, before = now, value, first
end
redis.call('HSET', KEYS[1], 'began', whole(began), 'value', whole(first), 'before', whole(before))
keep(KEYS[1], ARGV[3])
return whole(value - before)
