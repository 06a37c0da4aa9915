-- Stands in front of every operation's script: `now`, in ms, is Redis's own clock, and `micros` the
-- same in microseconds.
-- ARGV[#ARGV]  ''        the usual case
--              '=<ms>'   a test's clock, in its place
--              '<<ms>'   refuse the command when it arrives after this time (nothing that was given up may run late)
local now, micros
do
  local clock = ARGV[#ARGV]
  local time = redis.call('TIME')
  local ms, us = time[1] * 1000, time[2] + 0
  now, micros = ms + (us - us % 1000) / 1000, ms * 1000 + us
  if clock ~= '' then
    local value = tonumber(string.sub(clock, 2))
    if string.sub(clock, 1, 1) == '=' then
      now, micros = value, value * 1000
    elseif now > value then
      return redis.error_reply('TPLATE the command came after its deadline')
    end
  end
end
