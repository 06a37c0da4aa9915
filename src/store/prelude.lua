-- Precedes every operation's script and defines `now`, Redis's clock in ms, and `micros`, the same in
-- microseconds.
-- ARGV[#ARGV]  <ms>   deadline: at this time or later the script must not run, since its caller has
--                     received an error
--              =<ms>  a test's clock, in place of Redis's
local now, micros
do
  local time = redis.call('TIME')
  local ms, us = time[1] * 1000, time[2] + 0
  now, micros = ms + (us - us % 1000) / 1000, ms * 1000 + us
  local deadline = tonumber(ARGV[#ARGV])
  if not deadline then
    now = tonumber(string.sub(ARGV[#ARGV], 2))
    micros = now * 1000
  elseif now >= deadline then
    return redis.error_reply('TPLATE the command came after its deadline')
  end
end
