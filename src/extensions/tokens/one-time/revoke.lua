-- Makes the issued token void. Another one may be issued at once, unless too many were wrong.
-- KEYS[1]  the record, see record.lua
-- Reply: 1 if there was one, else 0
local record = parse(redis.call('GET', KEYS[1]))
if not record then return 0 end
local wasLive = isLive(record)
void(record)
if record.failures == 0 then
  redis.call('UNLINK', KEYS[1])
else
  redis.call('SET', KEYS[1], format(record))
  keep(KEYS[1], lifeOf(record))
end
return wasLive and 1 or 0
