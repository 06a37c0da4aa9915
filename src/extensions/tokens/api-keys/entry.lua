-- Stands in front of the scripts of API keys.
-- What is known of a key is a string:
--    1  'r': its record; 'n': there is no such key; 'x': it was revoked; 'l': a process is looking it up
--   13  end, ms since the epoch
--    *  the record as JSON; of 'l' the token of the process that looks it up
local function read(key)
  local text = redis.call('GET', key)
  local ends = text and tonumber(string.match(string.sub(text, 2, 14), '^' .. string.rep('%d', 13) .. '$'))
  if not ends or ends <= now then return '', '' end
  return string.sub(text, 1, 1), string.sub(text, 15)
end

local function write(key, kind, content, ms)
  redis.call('SET', key, kind .. string.format('%013.0f', now + ms) .. content)
  keep(key, ms)
end
